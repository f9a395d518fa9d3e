"""Solutions in order: by surprise, by verdicts, and by a vote that verdicts weigh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import pytest

from rjepa_core.errors import ArgumentError, UsageError
from rjepa_core.ports.world_model import TargetSpace, Verification, WorldModelInfo
from rjepa_core.scoring import ScoredTrace, measure_for, order_by, rank_all, vote, wrong_step
from rjepa_core.testing.samples import sample_identity, sample_record

SPACE = sample_identity().space
INFO = WorldModelInfo("run", SPACE, 4, 4, TargetSpace.LLM, "frozen")
SURPRISES = [np.array(row, np.float32) for row in ([3, 3], [1, 9], [2, 2])]


def verdict(right: float, *wrong: float) -> Verification:
    return Verification(np.array(wrong or (0.5,), np.float32), right)


def test_the_most_probably_right_comes_first() -> None:
    verdicts = [verdict(0.2), verdict(0.9), verdict(0.5)]
    found = order_by("right", SURPRISES, verdicts, [])
    assert found.places == (1, 2, 0)
    assert found.scores == (0.2, 0.9, 0.5)
    assert order_by("mean", SURPRISES, verdicts, []).places == (2, 0, 1)
    assert order_by("max", SURPRISES, [None] * 3, []).places == (2, 0, 1)


def test_several_that_agree_outvote_one() -> None:
    answers = ["$1,000", "12", "#### 1000".removeprefix("#### "), None, "1000.0"]
    rights = [0.3, 0.8, 0.4, 0.99, 0.2]
    surprises = [SURPRISES[0]] * 5
    found = order_by("vote", surprises, [verdict(right) for right in rights], answers)
    assert [one.answer for one in found.votes] == ["$1,000", "12"]
    assert found.votes[0].weight == pytest.approx(0.9)
    assert found.votes[0].solutions == (0, 2, 4)
    # The answer's solutions come first, the best of them before the others; none has no vote.
    assert found.places == (2, 0, 4, 1, 3)
    assert found.scores[3] == 0.0


@pytest.mark.parametrize(
    ("answers", "groups"),
    [
        (["18 eggs", "18", "$18"], 1),
        ([r"\frac12", r"\frac{1}{2}", "1/2"], 2),
        (["(B)", "(b)", "C"], 2),
        (["", "7"], 2),
        ([None, None], 0),
    ],
)
def test_answers_that_say_the_same_are_one(answers: list[str | None], groups: int) -> None:
    assert len(vote(answers, [0.5] * len(answers))) == groups


def test_of_equal_weights_the_first_stays_first() -> None:
    assert [one.answer for one in vote(["7", "8"], [0.5, 0.5])] == ["7", "8"]


def test_the_measure_is_the_verifier_s_where_there_is_one() -> None:
    verifier = attrs.evolve(INFO, verifies=True)
    assert (measure_for(INFO, None), measure_for(verifier, None)) == ("mean", "right")
    assert measure_for(verifier, "max") == "max"
    for by in ("right", "vote"):
        assert measure_for(verifier, by) == by
        with pytest.raises(
            UsageError, match=rf"{by} needs a verifier, and run is none \(objective"
        ):
            measure_for(INFO, by)
    with pytest.raises(ArgumentError, match="got 'best'"):
        measure_for(INFO, "best")


def test_verdicts_that_are_not_there() -> None:
    with pytest.raises(ArgumentError, match="right needs the verdicts of a verifier"):
        order_by("right", SURPRISES[:1], [None], [])
    with pytest.raises(ArgumentError, match="got 'best'"):
        order_by("best", SURPRISES[:1], [None], [])


def test_a_step_is_named_if_it_is_probably_wrong() -> None:
    assert wrong_step(verdict(0.5, 0.1, 0.83, 0.6)) == 1
    assert wrong_step(verdict(0.5, 0.1, 0.5)) is None


def scored(problem: str, rights: Sequence[float | None], answers: Sequence[str]) -> list[Any]:
    found = []
    for sample, (right, answer) in enumerate(zip(rights, answers, strict=True)):
        trace = sample_record(sample_identity(), problem, steps=2).trace
        trace = attrs.evolve(trace, sample=sample, answer=answer, completion=f"so.\n#### {answer}")
        judged = None if right is None else verdict(right)
        found.append(ScoredTrace(trace, SURPRISES[sample], None, judged))
    return found


def test_problems_are_ranked_by_verdicts_by_default() -> None:
    made = [*scored("a", [0.2, 0.9], ["5", "6"]), *scored("b", [0.4, 0.3, 0.3], ["1", "2", "2"])]
    first, second = rank_all(made)
    assert first.by == "right"
    assert [one.trace.sample for one in first.solutions] == [1, 0]
    assert [one.trace.sample for one in second.solutions] == [0, 1, 2]
    assert second.votes == ()
    _, voted = rank_all(made, "vote")
    assert [one.trace.sample for one in voted.solutions] == [1, 2, 0]
    assert [(one.answer, one.solutions) for one in voted.votes] == [("2", (0, 1)), ("1", (2,))]
    [plain] = rank_all(scored("a", [None, None], ["5", "6"]))
    assert plain.by == "mean"
