"""Does another batch size or another order give the same completions?

python benchmarks/same_completions.py [--problems 32] [--max-new-tokens 160]
"""

from __future__ import annotations

import argparse
import random

import numpy as np
import torch

from common import backend, generate, problems, prompts
from reporting import table, write_section
from rjepa_adapters.huggingface.backend import HuggingFaceBackend
from rjepa_adapters.huggingface.generate import draw_uniforms
from rjepa_core.domain.problem import Problem
from rjepa_core.settings import SamplingSettings

BATCHES = (1, 4, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--problems", type=int, default=32)
    parser.add_argument("--max-new-tokens", type=int, default=160)
    args = parser.parse_args()
    model = backend(args.model)
    sampling = SamplingSettings(max_new_tokens=args.max_new_tokens)
    some = problems(args.problems)
    results: dict[int, dict[str, np.ndarray]] = {}
    for batch in BATCHES:
        order = some[:]
        if batch > 1:
            random.Random(batch).shuffle(order)
        answers = generate(model, order, sampling, batch)
        results[batch] = {p.id: a.ids for p, a in zip(order, answers, strict=True)}
    rows, notes = [], []
    for batch in BATCHES[1:]:
        same = [p for p in some if np.array_equal(results[1][p.id], results[batch][p.id])]
        rows.append(
            [f"{batch}, shuffled", f"{len(same)} of {len(some)}", f"{len(same) / len(some):.1%}"]
        )
        for problem in some:
            if problem not in same:
                notes.append(
                    explain(
                        model,
                        problem,
                        results[1][problem.id],
                        results[batch][problem.id],
                        sampling,
                        batch,
                    )
                )
    text = (
        f"Problems whose generated ids equal those made one at a time in file order "
        f"({model.info.name}, {model.info.compute_dtype}, temperature {sampling.temperature}, "
        f"up to {sampling.max_new_tokens} tokens, "
        f"{sum(len(i) for i in results[1].values()):,} tokens in all).\n\n"
        + table(["batch size", "same ids", "share"], rows)
        + "\n\n"
        + ("\n".join(f"- {note}" for note in notes) if notes else "None differed.")
    )
    write_section(
        "same completions",
        "The same completions in another batch and order",
        text,
        "python benchmarks/same_completions.py",
        model.info.device,
    )


def explain(
    model: HuggingFaceBackend,
    problem: Problem,
    alone: np.ndarray,
    other: np.ndarray,
    sampling: SamplingSettings,
    batch: int,
) -> str:
    """How close the drawn number was to the border between the two tokens where they part."""
    shortest = min(len(alone), len(other))
    differs = np.flatnonzero(alone[:shortest] != other[:shortest])
    at = int(differs[0]) if len(differs) else shortest
    [prompt] = prompts([problem])
    _, prompt_ids, _ = model.codec.render(prompt)
    ids = np.concatenate([prompt_ids, alone[:at]]).astype(np.int64)
    with torch.no_grad():
        logits = model.model(torch.from_numpy(ids)[None].to(model.model.device)).logits[0, -1]
    cumulative = torch.softmax(logits.double() / sampling.temperature, -1).cumsum(-1)
    number = float(draw_uniforms([prompt.key], sampling)[0, at])
    border = float((cumulative - number).abs().min())
    return (
        f"batch {batch}, `{problem.id}`: parted at token {at}, where the drawn number {number:.6f} "
        f"is {border:.1e} from a border between two tokens: rounding decided"
    )


if __name__ == "__main__":
    main()
