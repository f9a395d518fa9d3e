"""A scored solution as a picture of text: its steps, each with a bar."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator

from rjepa_core.domain.floors import FEWEST_COMPARED
from rjepa_core.scoring import HIGH_PERCENTILE, ScoredTrace, wrong_step

from .bars import bar
from .record import percent, wrong_line

WIDTH = 78
STANDS_OUT, LARGEST = "stands out", "largest of its solution"


def picture(
    one: ScoredTrace, width: int = WIDTH, statement: bool = True, full: float | None = None
) -> Iterator[str]:
    """Yield the problem and its steps, each with a bar of its surprise.

    The largest of the solution is marked, and each step that stands out: from the percentile on
    from which the page says so, too. `full` is the surprise of a full bar, by default that of the
    largest.
    """
    if statement:
        yield from wrapped(one.trace.problem.statement, width, "  ")
    largest = float(one.surprise.max())
    full = largest if full is None else full
    alone = len(one.surprise) == 1
    worst = None if one.verdict is None else wrong_step(one.verdict)
    texts = one.trace.step_texts or ("",) * len(one.surprise)
    for step, (text, value) in enumerate(zip(texts, one.surprise, strict=True)):
        yield from wrapped(text, width, "     ", f"  {step + 1}. ")
        shown = bar(min(1.0, float(value) / full) if full > 0 else 0.0)
        place = "" if one.percentiles is None else f"  {above(one.percentiles[step])}"
        marks = [STANDS_OUT] if stands_out(one, step) else []
        marks += [LARGEST] if value == largest and not alone else []
        mark = f"  <- {marks[0]}{' (largest)' if len(marks) > 1 else ''}" if marks else ""
        yield f"     {shown} {value:.2f}{place}{mark}"
        if one.verdict is not None:
            yield "     " + wrong_line(float(one.verdict.wrong[step]), step == worst)
    if one.verdict is not None:
        yield f"     right {percent(one.verdict.right)}: the probability that the answer is right"
    if one.compared is not None:
        yield from wrapped(f"(per cent {one.compared})", width, "     ")
    else:
        few = f"validation had fewer than {FEWEST_COMPARED} solutions to compare with"
        yield from wrapped(f"(no per cent: {few})", width, "     ")


def stands_out(one: ScoredTrace, step: int) -> bool:
    """Return whether a step's surprise is high among those of validation."""
    return one.percentiles is not None and one.percentiles[step] >= HIGH_PERCENTILE


def above(percentile: float) -> str:
    """Return a percentile in words, as the page has it: never more than it is."""
    return "above none" if percentile <= 0 else f"above {max(1, math.floor(percentile))} %"


def wrapped(
    text: str, width: int, indent: str = "", first: str | None = None, most: int = 9
) -> Iterator[str]:
    """Yield a text in lines of a width, at most so many."""
    yield from textwrap.wrap(
        " ".join(text.split()),
        width,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        max_lines=most,
        placeholder=" …",
        break_on_hyphens=False,
    )
