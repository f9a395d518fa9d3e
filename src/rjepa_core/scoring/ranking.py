"""Which of several solutions is the best: by surprise, by a verifier's verdicts, or by a vote."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..errors import ArgumentError, UsageError
from ..grading import said
from ..ports.world_model import Floats, Verification, WorldModelInfo
from ..text import brief
from .surprise import MAX, MEAN, order, whole

# What solutions are ordered by; the latter two need a verifier.
RIGHT, VOTE = "right", "vote"
MEASURES = (MEAN, MAX, RIGHT, VOTE)


@attrs.frozen
class Vote:
    """An answer, and how much speaks for it.

    Attributes:
        answer: as the first of its solutions gives it.
        weight: sum of the probabilities that its solutions' answers are right.
        solutions: places of the solutions that give it.
    """

    __repr__ = brief

    answer: str
    weight: float
    solutions: tuple[int, ...]


@attrs.frozen
class Order:
    """Solutions in order.

    Attributes:
        places: of the solutions, the best first.
        scores: of each solution, in the order they were given.
        votes: for `vote`, the answers, the one with the largest weight first.
    """

    __repr__ = brief

    places: tuple[int, ...]
    scores: tuple[float, ...]
    votes: tuple[Vote, ...] = ()


def measure_for(info: WorldModelInfo, by: str | None, name: str = "by") -> str:
    """Return what solutions are ordered by; by default `right` for a verifier, else `mean`.

    Args:
        info: of the world model.
        by: what was asked for.
        name: of the argument or setting, for the message.

    Raises:
        UsageError: there is no such measure, or it needs a verifier.
    """
    if by is None:
        return RIGHT if info.verifies else MEAN
    if by not in MEASURES:
        raise ArgumentError(f"{name}: got {by!r}, expected one of {', '.join(MEASURES)}")
    if by in (RIGHT, VOTE) and not info.verifies:
        raise UsageError(
            f"{name}: {by} needs a verifier, and {info.location} is none (objective "
            f"{info.objective}); name a verifier, or take {MEAN} or {MAX}"
        )
    return by


def order_by(
    by: str,
    surprises: Sequence[Floats],
    verdicts: Sequence[Verification | None],
    answers: Sequence[str | None],
) -> Order:
    """Return solutions in order.

    Args:
        by: `mean` or `max` of the surprise, the least first; `right`, the probability that the
            answer is right, the highest first; or `vote`: the solutions whose answer has the
            largest sum of these probabilities first, among them the highest probability.
        surprises: [S] of each solution.
        verdicts: of each solution.
        answers: of each solution, None if it gives none; it then has no vote.

    Raises:
        ArgumentError: there is no such measure, or it needs verdicts that are not there.
    """
    if by not in (RIGHT, VOTE):
        scores = [whole(surprise, by) for surprise in surprises]
        return Order(tuple(order(scores)), tuple(scores))
    rights = []
    for verdict in verdicts:
        if verdict is None:
            raise ArgumentError(f"by: {by} needs the verdicts of a verifier")
        rights.append(verdict.right)
    scores, votes = rights, list[Vote]()
    if by == VOTE:
        votes = vote(answers, rights)
        weights = {place: one.weight for one in votes for place in one.solutions}
        scores = [weights.get(place, 0.0) for place in range(len(rights))]
    places = sorted(range(len(rights)), key=lambda place: (-scores[place], -rights[place]))
    return Order(tuple(places), tuple(scores), tuple(votes))


def vote(answers: Sequence[str | None], weights: Sequence[float]) -> list[Vote]:
    """Return the answers of several solutions, the one with the largest sum of weights first.

    Answers are one if they say the same, however they are written; of equal sums, the answer that
    comes first stays first.
    """
    groups: dict[str, list[int]] = {}
    for place, answer in enumerate(answers):
        if answer is not None:
            groups.setdefault(said(answer), []).append(place)
    votes = [
        Vote(answers[places[0]] or "", float(sum(weights[i] for i in places)), tuple(places))
        for places in groups.values()
    ]
    return sorted(votes, key=lambda one: -one.weight)
