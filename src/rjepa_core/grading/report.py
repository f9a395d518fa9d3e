"""What the grades of a store come to: accuracy, pass@k and majority vote, with intervals.

pass@k is the unbiased estimate of Chen et al. 2021 (arXiv:2107.03374): the probability that at
least one of k samples is right, told from the n that there are. Intervals are 95 %, by a bootstrap
over problems.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import comb
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from numpy.typing import NDArray

from ..domain.grade import NO_ANSWER, RIGHT, UNGRADED, WRONG, Grade
from ..plugins import given_store
from ..ports.store import KeepsGrades, LatentStore
from ..text import brief, count
from .normalise import said

if TYPE_CHECKING:
    from os import PathLike

Doubles = NDArray[np.float64]

_DRAWS, _AT_ONCE, _SEED = 1000, 50, 0
_TAILS = (2.5, 97.5)


@attrs.frozen
class Rate:
    """A share, and its 95 % interval over problems.

    Attributes:
        value: on the problems as they are.
        low, high: of the draws. Where all problems are right, or all wrong, draws know no other:
            then the end that could be elsewhere is that of the exact binomial interval (Clopper and
            Pearson 1934) of as many problems.
        problems: how many it is told from.
    """

    value: float
    low: float
    high: float
    problems: int


@attrs.frozen
class GradeSummary:
    """What the grades of a store come to.

    Attributes:
        graders: who graded, and how many records: one of each name and version.
        records: of the store.
        right, wrong: how many are.
        no_answer: how many of the wrong ones gave no answer.
        ungraded: how many could not be graded, by reason.
        missing: records without a grade.
        accuracy: share of the right among the right and wrong.
        pass_at: by k, of the problems with at least k graded samples.
        majority: share of problems whose most frequent answer is right; of several as frequent
            ones each counts its part. None where no problem has several graded samples.
    """

    __repr__ = brief

    graders: Mapping[str, int]
    records: int
    right: int
    wrong: int
    no_answer: int
    ungraded: Mapping[str, int]
    missing: int
    accuracy: Rate | None
    pass_at: Mapping[int, Rate]
    majority: Rate | None


@attrs.define
class _Samples:
    """The graded samples of a problem."""

    right: int = 0
    wrong: int = 0
    # Wrong answers by what they say; one that gives none has no vote.
    votes: Counter[str] = attrs.field(factory=Counter)

    @property
    def count(self) -> int:
        return self.right + self.wrong


def summarise(store: LatentStore | str | PathLike[str], draws: int = _DRAWS) -> GradeSummary | None:
    """What the grades of a store come to; None where it has none.

    Args:
        store: whose committed grades are counted, or its location.
        draws: of the bootstrap over problems, for the 95 % intervals.

    Raises:
        StoreClosedError: the store is closed.
        ArgumentError: it is neither a store nor a location.
    """
    with given_store(store) as opened:
        if not isinstance(opened, KeepsGrades):
            return None
        found = summarise_grades(opened.grades(), len(opened), draws)
    return found if found.graders else None


def summarise_grades(grades: Iterable[Grade], records: int, draws: int = _DRAWS) -> GradeSummary:
    """What grades come to.

    Args:
        grades: of records of one store.
        records: how many that has.
        draws: of the bootstrap.
    """
    graders: Counter[str] = Counter()
    ungraded: Counter[str] = Counter()
    problems: dict[str, _Samples] = {}
    no_answer = 0
    for grade in grades:
        graders[f"{grade.grader} {grade.version}"] += 1
        if grade.mark == UNGRADED:
            ungraded[grade.reason] += 1
            continue
        samples = problems.setdefault(grade.key.problem_id, _Samples())
        if grade.mark == RIGHT:
            samples.right += 1
        else:
            samples.wrong += 1
            no_answer += grade.reason == NO_ANSWER
            if grade.answer is not None:
                samples.votes[said(grade.answer)] += 1
    # In an order of their own, so that the draws depend on the grades alone.
    each = [problems[name] for name in sorted(problems)]
    most = max((samples.count for samples in each), default=0)
    return GradeSummary(
        dict(sorted(graders.items())),
        records,
        sum(samples.right for samples in each),
        sum(samples.wrong for samples in each),
        no_answer,
        dict(sorted(ungraded.items(), key=lambda item: (-item[1], item[0]))),
        max(0, records - graders.total()),
        _rate([s.right for s in each], [s.count for s in each], draws),
        _pass_at(each, most, draws),
        _rate([_majority(s) for s in each], [1.0] * len(each), draws) if most > 1 else None,
    )


def pass_at_k(samples: int, right: int, k: int) -> float:
    """The probability that one of k samples is right, given how many of all samples are."""
    if samples - right < k:
        return 1.0
    return 1.0 - comb(samples - right, k) / comb(samples, k)


def _pass_at(each: Sequence[_Samples], most: int, draws: int) -> dict[int, Rate]:
    found: dict[int, Rate] = {}
    for k in sorted({2**i for i in range(most.bit_length())} | {most}):
        enough = [s for s in each if s.count >= k > 0]
        rate = _rate([pass_at_k(s.count, s.right, k) for s in enough], [1.0] * len(enough), draws)
        if rate is not None:
            found[k] = rate
    return found


def _majority(samples: _Samples) -> float:
    """1 where the right answer is the most frequent, its part where it is one of several."""
    most = max(samples.votes.values(), default=0)
    if samples.right == 0 or samples.right < most:
        return 0.0
    return 1.0 / (1 + sum(votes == samples.right for votes in samples.votes.values()))


def _rate(hits: Sequence[float], counts: Sequence[float], draws: int) -> Rate | None:
    """The sum of hits over the sum of counts; None without any."""
    tops, bottoms = np.asarray(hits, np.float64), np.asarray(counts, np.float64)
    if not bottoms.sum():
        return None
    value = float(tops.sum() / bottoms.sum())
    random = np.random.default_rng([_SEED, len(tops)])
    drawn: list[Doubles] = []
    for start in range(0, draws, _AT_ONCE):
        size = (min(_AT_ONCE, draws - start), len(tops))
        taken = random.integers(0, len(tops), size)
        drawn.append(tops[taken].sum(1) / np.maximum(bottoms[taken].sum(1), 1e-12))
    low, high = np.percentile(np.concatenate(drawn), _TAILS) if drawn else (value, value)
    tail = (_TAILS[0] / 100) ** (1 / len(tops))
    if not tops.any():
        high = max(high, 1 - tail)
    elif (tops == bottoms).all():
        low = min(low, tail)
    return Rate(value, float(low), float(high), len(tops))


def summary_facts(summary: GradeSummary) -> dict[str, Any]:
    """JSON values: all of a summary."""
    return {
        "graders": dict(summary.graders),
        "records": summary.records,
        RIGHT: summary.right,
        WRONG: summary.wrong,
        "no_answer": summary.no_answer,
        UNGRADED: sum(summary.ungraded.values()),
        "ungraded_by_reason": dict(summary.ungraded),
        "missing": summary.missing,
        "accuracy": _rate_facts(summary.accuracy),
        "pass_at": {str(k): _rate_facts(rate) for k, rate in summary.pass_at.items()},
        "majority": _rate_facts(summary.majority),
    }


def summary_lines(summary: GradeSummary) -> list[str]:
    """A summary for people."""
    by = ", ".join(summary.graders)
    none = f", {summary.no_answer:,} of them without an answer" if summary.no_answer else ""
    lines = [f"grades      {summary.right:,} right, {summary.wrong:,} wrong{none} (by {by})"]
    if summary.ungraded:
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in summary.ungraded.items())
        lines.append(f"ungraded    {sum(summary.ungraded.values()):,}: {reasons}")
    if summary.missing:
        lines.append(f"no grade    {count(summary.missing, 'record')}: grade again")
    if summary.accuracy is not None:
        over = f" over {count(summary.accuracy.problems, 'problem')}"
        lines.append(f"accuracy    {_percent(summary.accuracy)}{over}")
    lines += [
        f"{f'pass@{k}':<12}{_percent(rate)}{_fewer(rate, summary)}"
        for k, rate in summary.pass_at.items()
        if k > 1
    ]
    if summary.majority is not None:
        lines.append(f"majority    {_percent(summary.majority)}")
    return lines


def _percent(rate: Rate) -> str:
    return f"{100 * rate.value:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def _fewer(rate: Rate, summary: GradeSummary) -> str:
    """Where fewer problems have so many samples."""
    if summary.accuracy is None or rate.problems == summary.accuracy.problems:
        return ""
    return f" over {count(rate.problems, 'problem')}"


def _rate_facts(rate: Rate | None) -> dict[str, Any] | None:
    if rate is None:
        return None
    return {key: round(value, 6) for key, value in attrs.asdict(rate).items()}
