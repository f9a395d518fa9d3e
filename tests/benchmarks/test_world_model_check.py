"""The check of the evaluation's prediction tables, on latents of a few made-up problems."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "world_model_check.py"
DIMS, LENGTH = 6, 4
Arrays = dict[str, np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], Arrays]:
    """A folder of one shard with its statements, the names of validation, and all latents."""
    folder = tmp_path_factory.mktemp("latents")
    chance = np.random.default_rng(0)
    statements, tensors, validation = [], {}, []
    for number in range(400):
        statement = f"What is {number} and one?"
        statements.append(json.dumps({"question": statement}))
        name = f"problem-{number:05}"
        walk = np.cumsum(chance.standard_normal((LENGTH, DIMS)), 0)
        tensors[name] = (3 + 2 * walk).astype(np.float32)
        tensors[f"{name}/prompt"] = chance.standard_normal(DIMS).astype(np.float32)
        if int(hashlib.sha256(statement.encode()).hexdigest()[:32], 16) % 10 == 8:
            validation.append(name)
    save_file(tensors, folder / "shard-0000.safetensors")
    (folder / "statements.jsonl").write_text("\n".join(statements))
    return folder, validation, tensors


def predictions(latents: tuple[Path, list[str], Arrays], to: Path, **changed: Any) -> int:
    """A file of a model that knows the targets and one that knows others; how many steps."""
    folder, validation, tensors = latents
    statements = [json.loads(s) for s in (folder / "statements.jsonl").read_text().splitlines()]
    digits = [
        int(hashlib.sha256(s["question"].encode()).hexdigest()[:32], 16) % 10 for s in statements
    ]
    train = np.concatenate([tensors[f"problem-{n:05}"] for n, d in enumerate(digits) if d < 8])
    steps = np.concatenate([tensors[name] for name in validation])
    targets = ((steps - train.mean(0)) / train.std(0)).astype(np.float32)
    shuffled = targets[np.random.default_rng(1).permutation(len(targets))]
    file = {
        "targets": targets,
        "world model/past/1": targets,
        "perceptron/past/1": shuffled,
        "ridge regression/past/1": np.zeros_like(targets),
        "ridge regression for ranks/past/1": shuffled,
        **changed,
    }
    traces = json.dumps([[name, 0, LENGTH] for name in validation])
    save_file(file, to, {"format": "rjepa-predictions 1", "traces": traces})
    return len(targets)


def run(folder: Path, file: Path, *more: str, ridge: bool = False) -> tuple[int, str]:
    statements = ["--statements", str(folder / "statements.jsonl")]
    if not ridge:
        statements.append("--no-ridge")
    command = [sys.executable, str(SCRIPT), str(folder), str(file), *statements, *more]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def figures(said: str, method: str) -> list[float]:
    row = next(line for line in said.splitlines() if line.startswith(f"| past | 1 | {method} |"))
    return [float(cell) for cell in row.strip("| ").split("|")[3:]]


def test_targets_are_found_and_shuffled_ones_are_chance(
    latents: tuple[Path, list[str], Arrays], tmp_path: Path
) -> None:
    many = predictions(latents, tmp_path / "kept.safetensors")
    code, said = run(latents[0], tmp_path / "kept.safetensors")
    assert code == 0, said
    error, explained, *found = figures(said, "world model")
    assert (error, explained, found) == (0, 1, [1, 1, 1, 1])
    error, explained, first, reciprocal, *_ = figures(said, "perceptron")
    assert error == pytest.approx(2, abs=0.4)
    assert explained == pytest.approx(-1, abs=0.4)
    # A step in a pool of n by chance: one in n, and the sum of 1 / i over n.
    assert first < 5 / many
    assert reciprocal == pytest.approx(np.sum(1 / np.arange(1, many + 1)) / many, abs=0.03)


def test_wrong_targets_and_baselines_are_told(
    latents: tuple[Path, list[str], Arrays], tmp_path: Path
) -> None:
    file = tmp_path / "kept.safetensors"
    ones = np.ones((len(latents[1]) * LENGTH, DIMS), np.float32)
    predictions(latents, file, **{"targets": ones, "copy of the previous step/past/1": ones * 2})
    code, said = run(latents[0], file)
    assert code == 1
    assert ": targets" in said
    assert ": copy of the previous step/past/1" in said


def test_a_ridge_regression_that_could_be_better_is_told(
    latents: tuple[Path, list[str], Arrays], tmp_path: Path
) -> None:
    predictions(latents, tmp_path / "kept.safetensors")
    code, said = run(latents[0], tmp_path / "kept.safetensors", ridge=True)
    assert code == 1
    assert ": error of ridge regression, past, 1 ahead, is worse than ours" in said
    assert ": top-1, all of ridge regression, past, 1 ahead, is worse than ours" in said


@pytest.mark.parametrize(("top1", "code"), [(1.0, 0), (0.98, 1)])
def test_figures_of_an_evaluation_are_held_against_its_own(
    latents: tuple[Path, list[str], Arrays], tmp_path: Path, top1: float, code: int
) -> None:
    predictions(latents, tmp_path / "kept.safetensors")
    figure = {"value": top1, "low": 1.0, "high": 1.0}
    line = {"method": "world model", "figures": {"top-1": figure}}
    worst = {
        "method": "world model frozen, the worst of 1 seeds",
        "of": [line["method"]],
        "figures": {"top-1": figure},
    }
    tables = {
        "world_models": {"world model": {"objective": "frozen"}},
        "tables": [{"name": "prediction/past/1", "lines": [line, worst]}],
    }
    (tmp_path / "evaluation.json").write_text(json.dumps(tables))
    more = "--json", str(tmp_path / "evaluation.json")
    got, said = run(latents[0], tmp_path / "kept.safetensors", *more)
    assert got == code, said
    for method in line["method"], worst["method"]:
        told = f"WRONG by 0.02: prediction/past/1, {method}, top-1" in said
        assert told == bool(code), said
