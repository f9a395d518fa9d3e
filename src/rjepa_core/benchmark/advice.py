"""Turn a measurement into one sentence of advice, whose reasons are the measured figures."""

from __future__ import annotations

import attrs

from ..text import count
from .results import BenchResult, Measured

# Two figures that differ by no more than this share count as equal.
CLOSE = 0.05
# Rounds that differ by more than this share of their median raise a doubt.
_UNSTEADY = 0.1
# Fewer batches than this are too few for a scheduler to learn from.
_FEW_BATCHES = 20


@attrs.frozen
class Advice:
    """What to do on this machine.

    Attributes:
        name: of the recommended contender; None where nothing can be recommended.
        sentence: the advice and its reasons.
        doubts: reasons to doubt the figures, one sentence each.
    """

    name: str | None
    sentence: str
    doubts: tuple[str, ...] = ()


def advise(result: BenchResult) -> Advice:
    """Recommend the smallest size that is about as fast as the fastest that fits, or the adaptive
    scheduler if it is as fast."""
    if len(result.measured) == 1:
        only = f"Nothing can be recommended: there are figures only for {_rows(result.measured[0])}"
        return Advice(None, f"{only}.", _doubts(result, None))
    useful = [c for c in result.measured if c.failed < c.problems]
    fixed = [c for c in useful if c.size is not None]
    deciding = next((c for c in useful if c.size is None), None)
    fitting = [c for c in fixed if not c.out_of_memory]
    chosen = _smallest_of_the_fastest(fitting)
    if chosen is None:
        return _nothing_fits(result, deciding)
    if deciding is not None and _seconds(deciding) <= _seconds(chosen) * (1 + CLOSE):
        return _decides(result, deciding, min(fitting, key=_seconds))
    reasons = [_gain(result, chosen), _why_no_larger(result, chosen)]
    if deciding is not None:
        reasons.append(
            f"{deciding.name} took {_longer(deciding, chosen)} over so few problems, "
            "the search for a size included"
        )
    sentence = f"Use scheduler.name=fixed scheduler.batch_size={chosen.size}: {_joined(reasons)}."
    return Advice(chosen.name, sentence, _doubts(result, chosen))


def _smallest_of_the_fastest(fitting: list[Measured]) -> Measured | None:
    if not fitting:
        return None
    least = min(map(_seconds, fitting))
    # A smaller size takes less memory at nearly the same speed.
    close = (c for c in fitting if _seconds(c) <= least * (1 + CLOSE))
    return min(close, key=lambda c: c.size or 0)


def _decides(result: BenchResult, deciding: Measured, best: Measured) -> Advice:
    less = _seconds(best) / _seconds(deciding) - 1
    if abs(less) < 0.005:
        against = f"as fast as the best fixed size, {_rows(best)}"
    elif less > 0:
        against = f"{_percent(less)} faster than the best fixed size, {_rows(best)}"
    else:
        against = f"within {_percent(1 / (1 + less) - 1)} of the best fixed size, {_rows(best)}"
    reasons = [_gain(result, deciding), f"{against}, and it keeps adapting during the run"]
    if deciding.out_of_memory:
        batches = _count(deciding.out_of_memory, "batch", "batches")
        reasons.append(f"out of memory in {batches}, tried again smaller")
    sentence = f"Leave the size to scheduler.name={deciding.name}: {_joined(reasons)}."
    return Advice(deciding.name, sentence, _doubts(result, deciding))


def _nothing_fits(result: BenchResult, deciding: Measured | None) -> Advice:
    if deciding is not None and not deciding.failed:
        return Advice(
            deciding.name,
            f"Leave the size to scheduler.name={deciding.name}: every fixed size ran out of "
            "memory, and it finished all problems.",
            _doubts(result, deciding),
        )
    return Advice(
        None,
        "Nothing can be recommended: no size that was measured fits into memory. Use a smaller "
        "or quantised model, fewer sampling.max_new_tokens, or another model.device.",
        _doubts(result, None),
    )


def _gain(result: BenchResult, contender: Measured) -> str:
    base = result.baseline
    assert base is not None
    if contender is base:
        return ""
    against = "one at a time" if base.size == 1 else f"{base.size} at a time"
    return f"{result.speed_up(contender):.1f} times as fast as {against}"


def _why_no_larger(result: BenchResult, chosen: Measured) -> str:
    larger = next(
        (o for o in result.measured if o.size is not None and o.size > (chosen.size or 0)), None
    )
    if larger is None:
        more = 2 * (chosen.size or 1)
        return (
            "it is the largest size that was measured: "
            f"try bench.sizes={chosen.size},{more},{2 * more} problems.limit={4 * more}, too"
        )
    if larger.out_of_memory:
        return f"{_rows(larger)} ran out of memory"
    gain = _seconds(chosen) / max(_seconds(larger), 1e-9) - 1
    if gain < -CLOSE:
        return f"{_rows(larger)} took {_longer(larger, chosen)}"
    if gain < 0.005:
        return f"{_rows(larger)} were no faster"
    return f"{_rows(larger)} were only {_percent(gain)} faster"


def _doubts(result: BenchResult, chosen: Measured | None) -> tuple[str, ...]:
    doubts = []
    if result.settings.bench.rounds == 1:
        doubts.append("There was only one round: how much its figures vary is not known.")
    unsteady = max(result.measured, key=_unsteadiness, default=None)
    if unsteady is not None and _unsteadiness(unsteady) > _UNSTEADY:
        doubts.append(
            f"The rounds of {_rows(unsteady)} differ by {_percent(_unsteadiness(unsteady))}: "
            "measure again on a quiet machine, or with more bench.rounds."
        )
    for contender in result.measured:
        if contender.size is None and contender.batches < _FEW_BATCHES:
            batches = _count(contender.batches, "batch", "batches")
            doubts.append(
                f"{contender.name} had {batches} to find its size in; over a whole run the search "
                "weighs less. A larger problems.limit shows it."
            )
        if contender.failed and not contender.out_of_memory:
            failed = f"{contender.failed} of {count(contender.problems, 'problem')} failed"
            doubts.append(f"With {_rows(contender)} {failed}.")
    if result.left_out:
        sizes = ", ".join(map(str, result.left_out))
        doubts.append(
            f"{sizes} rows were left out: {count(result.survey.work, 'problem')} never fill them."
        )
    return tuple(doubts)


def _unsteadiness(contender: Measured) -> float:
    spread = contender.seconds_per_problem
    return (spread.most - spread.least) / max(spread.median, 1e-9)


def _seconds(contender: Measured) -> float:
    return contender.seconds_per_problem.median


def _longer(contender: Measured, other: Measured) -> str:
    ratio = _seconds(contender) / max(_seconds(other), 1e-9)
    return f"{ratio:.1f} times as long" if ratio >= 1.5 else f"{_percent(ratio - 1)} longer"


def _percent(share: float) -> str:
    return f"{max(1, round(share * 100))} %"


def _rows(contender: Measured) -> str:
    if contender.size is None:
        return contender.name
    return f"{contender.size} row{'' if contender.size == 1 else 's'}"


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"


def _joined(reasons: list[str]) -> str:
    return "; ".join(reason for reason in reasons if reason)
