"""Train the verifiers of the experiments, and ask them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np

from rjepa_core import open_world_model
from rjepa_core.ports.world_model import Context
from verifier_data import Array, Solution

SEEDS = (0, 1, 2)
_AT_ONCE = 256


@attrs.frozen(eq=False)
class Said:
    """What a method says of solutions; higher is more probably wrong.

    Attributes:
        steps: of each solution, [S]; none where it says nothing of steps.
        wholes: [N] each, by name: what it says of the whole, or what its steps amount to.
    """

    steps: list[Array] | None
    wholes: dict[str, Array]


def of_steps(steps: Sequence[Array], more: dict[str, Array] | None = None) -> Said:
    """A method that says something of each step, and perhaps of the whole."""
    wholes = {
        "largest": np.array([one.max() for one in steps]),
        "mean": np.array([one.mean() for one in steps]),
    }
    return Said(list(steps), {**wholes, **(more or {})})


def train(run: Path, stores: Sequence[Path], seed: int, *settings: str) -> Path:
    """A verifier; the one that is there, if it is finished."""
    if not (run / "report.html").exists():
        command = [sys.executable, "-m", "rjepa_cli", "train", "--objective", "verifier"]
        for store in stores:
            command += ["--store", str(store)]
        for one in settings:
            command += ["--set", one]
        command += ["--seed", str(seed), "--out", str(run)]
        command += ["--resume"] if (run / "config.yaml").exists() else []
        print("training", run, file=sys.stderr, flush=True)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{done.stderr}\n{run} was not trained")
    return run


def ask(run: Path, solutions: Sequence[Solution]) -> Said:
    """A verifier's verdicts."""
    model = open_world_model(str(run))
    try:
        found = []
        for begin in range(0, len(solutions), _AT_ONCE):
            found += model.verify([one.sequence for one in solutions[begin : begin + _AT_ONCE]])
    finally:
        model.close()
    whole = {"whole": np.array([1.0 - one.right for one in found])}
    return of_steps([np.asarray(one.wrong, float) for one in found], whole)


def surprises(run: str, solutions: Sequence[Solution]) -> dict[str, Said]:
    """A world model's surprise, from the past and from the others."""
    model = open_world_model(run)
    found = {}
    try:
        for context in (Context.PAST, Context.OTHERS):
            rows: list[Array] = []
            for begin in range(0, len(solutions), _AT_ONCE):
                some = [one.sequence for one in solutions[begin : begin + _AT_ONCE]]
                rows += [np.asarray(row, float) for row in model.surprise(some, context)]
            found[f"surprise, {context.value}"] = of_steps(rows)
    finally:
        model.close()
    return found
