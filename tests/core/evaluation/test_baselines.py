"""The baselines: their figures on real latents, and the sums that ridge is solved from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from rjepa_core.evaluation.baselines import (
    CopyOfPrevious,
    MeanOfContext,
    NormalEquations,
    Ridge,
    features,
    measure,
)
from rjepa_core.evaluation.metrics import true_ranks
from rjepa_core.ports.world_model import Context, LatentSequence


def sequence(steps: int, width: int = 4, seed: int = 0) -> LatentSequence:
    random = np.random.default_rng([seed, steps])
    return LatentSequence(
        (10.0 + random.standard_normal((steps, width)) * [1, 5, 0.1, 2]).astype(np.float32),
        random.standard_normal(width).astype(np.float32),
    )


SEQUENCES = [sequence(steps, seed=seed) for seed in range(20) for steps in (1, 2, 3, 6)]


def test_standards_are_those_of_the_whole_however_it_is_cut() -> None:
    steps = np.concatenate([one.latents for one in SEQUENCES]).astype(np.float64)
    for size in (1, 7, 100):
        batches = [SEQUENCES[i : i + size] for i in range(0, len(SEQUENCES), size)]
        found = measure(batches)
        np.testing.assert_allclose(found.mean, steps.mean(0), rtol=1e-5)
        np.testing.assert_allclose(found.scale, steps.std(0), rtol=1e-4)
        assert (found.sequences, found.steps) == (len(SEQUENCES), len(steps))


def test_a_dimension_that_never_varies_is_left_as_it_is() -> None:
    one = LatentSequence(np.full((3, 2), 7.0, np.float32), np.zeros(2, np.float32))
    standards = measure([[one]])
    assert standards.scale.tolist() == [1.0, 1.0]
    assert np.abs(standards.steps_of(one)).max() == 0.0


def test_nothing_to_measure() -> None:
    with pytest.raises(ValueError, match="nothing"):
        measure([])


@pytest.mark.parametrize("context", Context)
def test_no_baseline_sees_the_step_it_predicts(context: Context) -> None:
    standards = measure([SEQUENCES])
    equations = NormalEquations(standards, context)
    equations.add(SEQUENCES)
    ridge = Ridge(standards, {context: equations.solve(1.0)}, {context: 1.0})
    one = sequence(5, seed=99)
    for method in (ridge, MeanOfContext(standards), CopyOfPrevious(standards)):
        before = method.predict([one], context)[0]
        for step in range(5):
            changed = one.latents.copy()
            changed[step] += 3.0
            after = method.predict([LatentSequence(changed, one.prompt)], context)[0]
            np.testing.assert_allclose(after[step], before[step], atol=1e-5)
            if context is Context.PAST:
                np.testing.assert_allclose(after[:step], before[:step], atol=1e-5)


def test_context_of_the_simple_ones() -> None:
    standards = measure([SEQUENCES])
    one = sequence(3, seed=5)
    steps = standards.steps_of(one)
    mean, copy = MeanOfContext(standards), CopyOfPrevious(standards)
    others, past = mean.predict([one])[0], mean.predict([one], Context.PAST)[0]
    np.testing.assert_allclose(others[0], (steps[1] + steps[2]) / 2, atol=1e-5)
    np.testing.assert_allclose(past[2], (steps[0] + steps[1]) / 2, atol=1e-5)
    assert (past[0] == 0).all()
    np.testing.assert_allclose(copy.predict([one])[0][1:], steps[:-1])
    single = sequence(1)
    assert (mean.predict([single])[0] == 0).all()
    surprise = copy.surprise([one])[0]
    np.testing.assert_allclose(surprise[1], ((steps[0] - steps[1]) ** 2).mean(), rtol=1e-5)


@pytest.mark.parametrize("context", Context)
def test_the_normal_equations_are_ridge_regression(context: Context) -> None:
    standards = measure([SEQUENCES])
    equations = NormalEquations(standards, context)
    for start in range(0, len(SEQUENCES), 9):
        equations.add(SEQUENCES[start : start + 9])
    solved = equations.solve(3.0)
    inputs = np.concatenate([features(standards, one, context) for one in SEQUENCES])
    outputs = np.concatenate([standards.steps_of(one) for one in SEQUENCES])
    inputs, constant = inputs[:, :-1].astype(np.float64), len(inputs[0]) - 1
    scale = inputs.std(0)
    moved = (inputs - inputs.mean(0)) / scale
    slopes = np.linalg.solve(
        moved.T @ moved + 3.0 * np.eye(constant), moved.T @ (outputs - outputs.mean(0))
    )
    slopes /= scale[:, None]
    expected = np.vstack([slopes, outputs.mean(0) - inputs.mean(0) @ slopes])
    np.testing.assert_allclose(solved, expected, atol=2e-3)


@pytest.fixture(scope="module")
def shards(shared_data: Path) -> tuple[list[LatentSequence], list[LatentSequence]]:
    """Training and validation part of the real latents, as their README splits them."""
    safetensors = pytest.importorskip("safetensors.numpy")
    folder = shared_data / "gsm8k_train_smollm2"
    if not folder.is_dir():
        pytest.skip(f"the real latents are not there: {folder}")
    lines = (shared_data / "gsm8k_train.jsonl").read_text("utf-8").splitlines()
    parts: tuple[list[LatentSequence], list[LatentSequence]] = ([], [])
    for shard in sorted(folder.glob("*.safetensors")):
        tensors = safetensors.load_file(shard)
        for name, steps in tensors.items():
            if name.endswith("/prompt"):
                continue
            question = json.loads(lines[int(name.rsplit("-", 1)[1])])["question"]
            part = int(hashlib.sha256(question.encode()).hexdigest(), 16) % 10
            if part < 9:
                prompt = tensors[f"{name}/prompt"].astype(np.float32)
                parts[part == 8].append(LatentSequence(steps.astype(np.float32), prompt))
    return parts


def test_ridge_regression_on_real_latents_is_what_their_readme_says(
    shards: tuple[list[LatentSequence], list[LatentSequence]],
) -> None:
    train, validation = shards
    batches = [train[i : i + 500] for i in range(0, len(train), 500)]
    standards = measure(batches)
    equations = NormalEquations(standards, Context.OTHERS)
    for batch in batches:
        equations.add(batch)
    ridge = Ridge(standards, {Context.OTHERS: equations.solve(100.0)}, {})
    candidates = np.concatenate(ridge.targets(validation))
    assert len(candidates) == 2600
    ranks = true_ranks(
        np.concatenate(ridge.predict(validation)), candidates, np.arange(len(candidates))
    )
    assert (ranks == 1).mean() == pytest.approx(0.468, abs=0.01)
    assert (1 / ranks).mean() == pytest.approx(0.696, abs=0.01)
