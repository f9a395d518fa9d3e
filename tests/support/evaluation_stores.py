"""Solutions, stores and world models to evaluate, made in moments from the seeded backend."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import ridge_world_model

from rjepa_core.extraction.run import run_extraction
from rjepa_core.plugins.hooks import GROUP
from rjepa_core.plugins.locate import open_store
from rjepa_core.plugins.registry import Registry
from rjepa_core.settings.extraction import (
    AdapterSettings,
    EncodingSettings,
    ExtractionSettings,
    ModelSettings,
    ProblemSettings,
    StoreSettings,
)

RIDGE = EntryPoint("ridge", "ridge_world_model", GROUP)


def entries() -> list[EntryPoint]:
    """Those that are installed, and the ridge world model's."""
    return [*entry_points(group=GROUP), RIDGE]


def registry() -> Registry:
    return Registry(entries())


def solution(number: int, slips: int = 0) -> str:
    """A worked solution of two to five lines; `slips` makes the result another."""
    lines = [f"Two rows of {number} seats have {number} * 2 = {number * 2} seats"]
    for i in range(2, 6):
        lines.append(f"With {number} more there are {number * i} + {number} = {number * (i + 1)}")
    kept = lines[: 2 + number % 4]
    return "\n".join([*kept, f"#### {number + slips}"])


def statement(number: int) -> str:
    """The problem of `solution(number + 2)`."""
    return f"How many seats are in rows of {number + 2}, case {number}?"


def write_solutions(path: Path, count: int, first: int = 0) -> None:
    rows = [
        {
            "id": f"q{i}",
            "question": statement(i),
            "solution": solution(i + 2),
        }
        for i in range(first, first + count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_labelled(path: Path, count: int) -> None:
    """Two solutions a question, nested by model, one of them wrong."""
    rows: list[dict[str, Any]] = []
    for i in range(count):
        rows.append(
            {
                "question": f"A labelled question {i}?",
                "ground_truth": solution(i + 2),
                "small": {"solution": solution(i + 2), "is_correct": True},
                "large": {"solution": solution(i + 3, 1), "is_correct": False},
            }
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_store(home: Path, name: str = "s", count: int = 120, **encoding: Any) -> str:
    """A store of given solutions with log-probabilities; its path."""
    write_solutions(home / f"{name}.jsonl", count)
    return encode_solutions(home / f"{name}.jsonl", home / name, **encoding)


def encode_solutions(solutions: Path, store: Path, **encoding: Any) -> str:
    """The store of a file of solutions; its path."""
    settings = ExtractionSettings(
        model=ModelSettings(name="m"),
        store=StoreSettings(path=str(store)),
        problems=ProblemSettings(traces=(str(solutions),)),
        encoding=EncodingSettings(**{"logprobs": True, **encoding}),
        backend=AdapterSettings(name="seeded"),
    )
    run_extraction(settings, registry())
    return str(store)


def make_run(store: str, run: Path, noise: float = 0.0, **options: int) -> str:
    """A ridge world model trained on all of a store; its path."""
    opened = open_store(store)
    try:
        # Hardly regularised: it knows the store by heart.
        ridge_world_model.train_ridge(opened, run, noise, strength=1.0, **options)
    finally:
        opened.close()
    return str(run)
