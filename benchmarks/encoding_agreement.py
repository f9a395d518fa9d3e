"""Do batched vectors agree with an unbatched `output_hidden_states=True` forward?

python benchmarks/encoding_agreement.py [--model smollm2] [--traces 20]
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from common import backend, generate, problems, trace
from reporting import table, write_section
from rjepa_core.domain.latents import Encoding
from rjepa_core.settings import EncodingSettings, SamplingSettings

LAYERS = (0, -2, -1)
BATCHES = (1, 8, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--traces", type=int, default=20)
    parser.add_argument("--max-new-tokens", type=int, default=120)
    args = parser.parse_args()
    model = backend(args.model)
    some = problems(args.traces)
    answers = generate(model, some, SamplingSettings(max_new_tokens=args.max_new_tokens), 20)
    traces = [t for t in map(trace, some, answers) if t.spans]
    wanted = []
    for item in traces:
        ids = np.concatenate([item.prompt_ids, item.completion_ids]).astype(np.int64)
        with torch.no_grad():
            states = model.model(
                torch.from_numpy(ids)[None].to(model.model.device), output_hidden_states=True
            ).hidden_states
        at = len(item.prompt_ids)
        ranges = [slice(*item.statement_span)]
        ranges += [slice(at + s.start, at + s.stop) for s in item.spans]
        wanted.append(
            [
                [states[layer][0, r].float().mean(0).cpu().numpy() for r in ranges]
                for layer in LAYERS
            ]
        )
    absolute = tuple(layer % model.info.hidden_states for layer in LAYERS)
    rows = []
    for batch in BATCHES:
        errors: list[list[float]] = [[] for _ in LAYERS]
        for begin in range(0, len(traces), batch):
            part = traces[begin : begin + batch]
            for k, got in enumerate(model.encode(part, EncodingSettings(layers=absolute))):
                assert isinstance(got, Encoding)
                for i in range(len(LAYERS)):
                    vectors = [got.prompt_latent[i], *got.latents[i]]
                    for a, b in zip(vectors, wanted[begin + k][i], strict=True):
                        errors[i].append(float(np.linalg.norm(a - b) / np.linalg.norm(b)))
        rows.append([batch, *(f"{max(e):.1e}" for e in errors)])
    count = sum(len(t.spans) + 1 for t in traces)
    text = (
        f"Largest ‖a−b‖/‖b‖ over {count} vectors of {len(traces)} traces ({model.info.name}, "
        f"{model.info.compute_dtype}), before storage. The last layer is transformers' "
        "`hidden_states[-1]`: behind the final norm.\n\n"
        + table(["batch", *(f"layer {layer}" for layer in LAYERS)], rows)
    )
    write_section(
        "encoding agreement",
        "Batched vectors against transformers' own",
        text,
        "python benchmarks/encoding_agreement.py",
        model.info.device,
    )


def mean(states: torch.Tensor) -> np.ndarray:
    return states.float().mean(0).cpu().numpy()


if __name__ == "__main__":
    main()
