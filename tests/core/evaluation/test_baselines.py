"""The baselines: their figures on real latents, and the sums that ridge is solved from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from rjepa_core.evaluation.baselines import CopyOfPrevious, MeanOfContext
from rjepa_core.evaluation.ranks import ALL, Ranker, Steps
from rjepa_core.evaluation.ridge import NormalEquations, Ridge, features
from rjepa_core.evaluation.targets import measure
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


LOOKS = [(Context.OTHERS, 1), (Context.PAST, 1), (Context.PAST, 2), (Context.PAST, 3)]


@pytest.mark.parametrize(("context", "ahead"), LOOKS)
def test_no_baseline_sees_what_it_is_not_given(context: Context, ahead: int) -> None:
    standards = measure([SEQUENCES])
    equations = NormalEquations(standards, context, ahead)
    equations.add(SEQUENCES)
    ridge = Ridge(standards, {(context, ahead): equations.solve(1.0)})
    one = sequence(5, seed=99)
    for method in (ridge, MeanOfContext(standards), CopyOfPrevious(standards)):
        before = method.predict([one], context, ahead)[0]
        for step in range(5):
            changed = one.latents.copy()
            changed[step] += 3.0
            after = method.predict([LatentSequence(changed, one.prompt)], context, ahead)[0]
            np.testing.assert_allclose(after[step], before[step], atol=1e-5)
            if context is Context.PAST:
                seen = step + ahead
                np.testing.assert_allclose(after[:seen], before[:seen], atol=1e-5)
                if seen < 5:
                    assert np.abs(after[seen] - before[seen]).max() > 1e-3


def test_far_ahead_the_prompt_alone_is_left() -> None:
    standards = measure([SEQUENCES])
    one = sequence(3, seed=5)
    steps = standards.steps_of(one)
    mean, copy = MeanOfContext(standards), CopyOfPrevious(standards)
    far = mean.predict([one], Context.PAST, 2)[0]
    np.testing.assert_allclose(far, [0 * steps[0], 0 * steps[0], steps[0]], atol=1e-6)
    np.testing.assert_allclose(copy.predict([one], Context.PAST, 2)[0], far, atol=1e-6)
    assert (copy.predict([one], Context.PAST, 4)[0] == 0).all()


def test_ridge_is_fitted_on_the_steps_that_have_so_many_before_them() -> None:
    standards = measure([SEQUENCES])
    far = NormalEquations(standards, Context.PAST, 3)
    far.add([one for one in SEQUENCES if len(one.latents) < 3])
    assert not far.solve(1.0).any(), "there was no such step"
    far.add(SEQUENCES)
    assert far.solve(1.0).any()


def test_ridge_of_another_space_is_fitted_to_its_targets() -> None:
    standards = measure([SEQUENCES])
    equations = NormalEquations(standards, Context.PAST, size=2)
    outputs = [np.stack([2 * s[:, 0], -s[:, 1]], axis=1) for s in standards.of(SEQUENCES)]
    equations.add(SEQUENCES, outputs)
    plain = NormalEquations(standards, Context.PAST)
    plain.add(SEQUENCES)
    expected = plain.solve(1.0)[:, :2] * [2, -1]
    np.testing.assert_allclose(equations.solve(1.0), expected, atol=1e-5)


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


@pytest.mark.slow
def test_ridge_regression_on_real_latents(
    shards: tuple[list[LatentSequence], list[LatentSequence]],
) -> None:
    """What it found when this was written, on the validation part, traces of one step included."""
    train, validation = shards
    batches = [train[i : i + 500] for i in range(0, len(train), 500)]
    standards = measure(batches)
    equations = NormalEquations(standards, Context.PAST)
    for batch in batches:
        equations.add(batch)
    ridge = Ridge(standards, {(Context.PAST, 1): equations.solve(1000.0)})
    steps = Steps.of(ridge.targets(validation), np.arange(len(validation)))
    made = np.concatenate(ridge.predict(validation, Context.PAST))
    assert len(made) == 2600
    ranks = Ranker(steps).rank(made, slice(0, len(made)), Context.PAST, 1)[ALL].ranks
    assert (ranks == 1).mean() == pytest.approx(0.774, abs=0.005)
    assert ((made - steps.targets) ** 2).mean() == pytest.approx(0.378, abs=0.005)
