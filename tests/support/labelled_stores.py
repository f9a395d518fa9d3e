"""Stores of damaged and unchanged solutions, in which the wrong step can be told, or cannot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np

from rjepa_core.domain.provenance import KIND, OF, OF_PROBLEM, WRONG_STEP
from rjepa_core.plugins.locate import open_store
from rjepa_core.testing.samples import sample_identity, sample_record


def make_labelled(
    path: Path | str,
    problems: int = 150,
    kinds: Sequence[str] = ("result",),
    logprobs: bool = True,
    planted: bool = True,
    told: bool = True,
    width: int = 8,
) -> str:
    """A store of each problem's unchanged solution, and one of each kind of damage; its location.

    Args:
        path: of the store.
        problems: how many.
        kinds: of damage.
        logprobs: whether log-probabilities are kept.
        planted: whether the first dimension tells the wrong step; else nothing does.
        told: whether the records say whose problem they are of, as those of today do.
        width: of the latents.
    """
    identity = sample_identity(width=width, logprobs=logprobs)
    random = np.random.default_rng(0)
    with open_store(str(path), "write") as store:
        store.begin(identity)
        for i in range(problems):
            for kind in ("clean", *kinds):
                record = sample_record(
                    identity, f"p{i}~{kind}", steps=3 + i % 3, statement=f"Problem {i}?"
                )
                steps = record.latents.shape[1]
                wrong = int(random.integers(steps))
                metadata = {KIND: kind, OF: f"p{i}"}
                if kind != "clean":
                    metadata[WRONG_STEP] = str(wrong)
                if told:
                    metadata[OF_PROBLEM] = record.trace.problem.statement_hash
                latents = record.latents.copy()
                latents[0, :, 0] = 0.3 * random.standard_normal(steps)
                if planted and kind != "clean":
                    latents[0, wrong, 0] += 4.0
                trace = attrs.evolve(record.trace, metadata=metadata)
                store.write([attrs.evolve(record, trace=trace, latents=latents)])
    return str(path)
