"""The experiments of the verifier: cheap methods that learn, choices among samples, figures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from rjepa_core.ports.world_model import LatentSequence

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """The modules of the experiments, which import each other by their bare names."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        names = ("verifier_data", "verifier_baselines", "verifier_damage", "verifier_best_of")
        yield {name: __import__(name) for name in names}
    finally:
        sys.path.remove(str(BENCHMARKS))


def solution(data: ModuleType, problem: str, good: bool, **more: Any) -> Any:
    """A solution of two steps; a wrong one says so in words, in its second step."""
    steps = ["three and four", "are seven" if good else "are twelve"]
    given = {
        "problem": problem,
        "kind": "clean" if good else "result",
        "writer": "",
        "steps": steps,
        "tokens": np.array([3.0, 2.0]),
        "logprobs": np.array([-0.1, -0.2 if good else -2.0]),
        "lexical": np.zeros(2),
        "equations": np.zeros(2),
        "wrong": np.array([0.0, 0.0 if good else 1.0]),
        "right": good,
        "answer": "7" if good else "12",
        "sequence": LatentSequence(np.zeros((2, 3), np.float32), np.zeros(3, np.float32)),
    }
    return data.Solution(**{**given, **more})


def test_cheap_methods_learn_what_their_inputs_tell(scripts: dict[str, ModuleType]) -> None:
    data, baselines = scripts["verifier_data"], scripts["verifier_baselines"]
    train = [solution(data, str(n), n % 2 == 0) for n in range(40)]
    judged = [solution(data, str(n), n % 2 == 0) for n in range(100, 110)]
    for said in baselines.trained_on(train, train[:10], judged).values():
        whole = said.wholes["whole"]
        wrong = np.array([not one.right for one in judged])
        assert whole[wrong].min() > whole[~wrong].max()
        assert all(steps.argmax() == 1 for steps, bad in zip(said.steps, wrong, strict=True) if bad)


def test_shuffled_labels_teach_them_nothing(scripts: dict[str, ModuleType]) -> None:
    data, baselines = scripts["verifier_data"], scripts["verifier_baselines"]
    chance = np.random.default_rng(0)

    def dealt(count: int) -> list[Any]:
        return [
            solution(data, str(n), n % 2 == 0, right=bool(chance.integers(2))) for n in range(count)
        ]

    said = baselines.trained_on(dealt(400), dealt(200), judged := dealt(400))
    wrong = np.array([not one.right for one in judged])
    for one in said.values():
        apart = one.wholes["whole"][wrong].mean() - one.wholes["whole"][~wrong].mean()
        assert abs(apart) < 0.2


def samples(scripts: dict[str, ModuleType], answers: str) -> Any:
    """One problem; `7` is right, `-` is no answer."""
    data = scripts["verifier_data"]
    made = [solution(data, "a", one == "7", answer=None if one == "-" else one) for one in answers]
    return scripts["verifier_best_of"].Samples.of(made)


@pytest.mark.parametrize(
    ("answers", "number", "accuracy"),
    [
        ("77711111", 8, 0.0),
        ("77777111", 8, 1.0),
        ("77771111", 8, 0.5),
        ("77--1---", 8, 1.0),
        ("--------", 8, 0.0),
        # Of two that differ a majority is chance.
        ("71717171", 2, 0.5),
        ("77111111", 2, 0.25),
        ("77711111", 4, 0.5),
    ],
)
def test_a_majority(
    scripts: dict[str, ModuleType], answers: str, number: int, accuracy: float
) -> None:
    one = samples(scripts, answers)
    share = one.accuracy(one.vote(np.ones(8)), number)
    assert share.of(np.ones((1, 1)))[0] == pytest.approx(accuracy)


def test_weights_and_the_least_score(scripts: dict[str, ModuleType]) -> None:
    one = samples(scripts, "7-111111")
    weights = np.array([0.9, 1.0, *[0.1] * 6])
    assert one.accuracy(one.vote(weights), 8).of(np.ones((1, 1)))[0] == 1.0
    # Whoever prefers the one without an answer is wrong; ties count their mean.
    assert one.accuracy(one.least(-weights), 8).of(np.ones((1, 1)))[0] == 0.0
    assert one.accuracy(one.least(np.zeros(8)), 8).of(np.ones((1, 1)))[0] == 0.125


def test_damage_is_held_against_the_clean_ones_of_the_same_problems(
    scripts: dict[str, ModuleType],
) -> None:
    data = scripts["verifier_data"]
    made = [
        *(solution(data, name, False) for name in "ab"),
        *(solution(data, name, True) for name in "abc"),
        solution(data, "b", True, kind="renamed"),
    ]
    judged = scripts["verifier_damage"].Judged.of(made)
    damaged, correct = judged.against("result", edited=False)
    assert [made[at].problem for at in damaged] == ["a", "b"]
    assert [made[at].problem for at in correct] == ["a", "b"]
    assert [made[at].kind for at in judged.against("result", edited=True)[1]] == ["renamed"]
    scores = np.array([2.0, 2.0, 1.0, 1.0, 9.0, 9.0])
    ones = np.ones((1, judged.problems))
    assert judged.separation("result", scores).of(ones)[0] == 1.0
    steps = [np.array([0.0, 1.0]), np.array([1.0, 0.0]), *[np.zeros(2)] * 4]
    assert judged.named("result", steps).of(ones)[0] == 0.5
