"""Stores with latents whose problems and steps a test chooses."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from rjepa_core.domain.identity import Identity
from rjepa_core.plugins.locate import open_store
from rjepa_core.testing.samples import sample_identity, sample_record


def make_store(
    path: Path | str,
    steps: Iterable[int] = (2, 3, 4),
    identity: Identity | None = None,
    prefix: str = "p",
    domain: str = "math",
    correct: str | None = None,
    **record: Any,
) -> str:
    """A store with a problem of each number of steps; its location."""
    identity = identity or sample_identity()
    with open_store(str(path), "write") as store:
        store.begin(identity)
        for i, count in enumerate(steps):
            made = sample_record(identity, f"{prefix}-{i}", steps=count, **record)
            trace = made.trace
            metadata = {} if correct is None else {"correct": correct}
            problem = attrs.evolve(trace.problem, domain=domain)
            trace = attrs.evolve(trace, problem=problem, metadata=metadata)
            store.write([attrs.evolve(made, trace=trace)])
    return str(path)
