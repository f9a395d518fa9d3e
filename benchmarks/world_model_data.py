"""How much a prediction gains by more problems: ridge regression on shares of the train part.

    python benchmarks/world_model_data.py LATENTS [--statements FILE]

Each share is the problems with the smallest hashes, so that a larger one holds the smaller ones;
all are judged on the whole validation part, each figure with the strength that is best for it.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np

from prediction_figures import STRENGTHS, Latents, ranks, read_latents, ridges, standardise
from prediction_figures import squared_errors as errors_of
from reporting import table, write_section
from world_model_check import GSM8K

SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)


def share_of(latents: Latents, share: float) -> Latents:
    """The first so many traces by the hash of their problem's name."""
    steps = latents.steps
    digests = [hashlib.sha256(name.encode()).hexdigest() for name, _, _ in steps.traces]
    chosen = np.zeros(len(digests), bool)
    chosen[np.argsort(digests)[: round(share * len(digests))]] = True
    rows = chosen[steps.trace]
    mine = type(steps)([t for t, keep in zip(steps.traces, chosen, strict=True) if keep])
    return Latents(mine, latents.targets[rows], latents.prompts[rows])


def figures(train: Latents, validation: Latents) -> tuple[float, float, float]:
    """Top-1 and error from the past, error from the others; each the best of all strengths."""
    pool, every = validation.steps.pool("all", "past", 1), validation.steps.asked(1)
    top, past, others = 0.0, np.inf, np.inf
    for (one,) in ridges(train, [validation], "past", 1):
        top = max(top, float((ranks(one, validation.targets, pool, every) == 1).mean()))
        past = min(past, float(errors_of(one, validation.targets).mean()))
    for (one,) in ridges(train, [validation], "others", 1):
        others = min(others, float(errors_of(one, validation.targets).mean()))
    return top, past, others


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("latents", type=Path, help="folder of safetensors shards")
    parser.add_argument("--statements", type=Path, default=GSM8K)
    args = parser.parse_args()
    parts = read_latents(args.latents, args.statements)
    train = standardise(parts["train"], parts["train"])
    validation = standardise(parts["validation"], parts["train"])
    rows = []
    for share in SHARES:
        some = share_of(train, share)
        found = figures(some, validation)
        rows.append(
            [f"{len(some.steps.traces):,}", f"{len(some.targets):,}", *(f"{x:.3f}" for x in found)]
        )
        print(*rows[-1], flush=True)
    columns = ["problems", "steps", "past: top-1", "past: error", "others: error"]
    write_section(
        "world-model-data",
        "What more problems are worth to the prediction of steps",
        f"Ridge regression ({len(STRENGTHS)} strengths) on shares of the train part, judged on all "
        f"{len(validation.targets):,} steps of validation; each figure with the strength that is "
        "best for it. One choice of problems a share, no intervals.\n\n" + table(columns, rows),
        "python benchmarks/world_model_data.py LATENTS",
    )


if __name__ == "__main__":
    main()
