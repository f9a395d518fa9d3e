"""A small plot of a quantity over time, in characters."""

from __future__ import annotations

from collections.abc import Sequence

from .words import duration, rate

_BLOCKS = " ▁▂▃▄▅▆▇█"
_WIDTH, _HEIGHT = 60, 3


def chart(
    title: str, ends: Sequence[float], values: Sequence[float], width: int = _WIDTH
) -> list[str]:
    """Lines of a bar chart from 0 to the largest value.

    Args:
        title: what is plotted.
        ends: seconds at which each stretch of time ends, ascending; it begins where the one
            before it ends.
        values: of each stretch.
        width: in characters.
    """
    # As shares of the largest value: the smallest numbers would vanish in the means.
    largest = max(values)
    columns = _resampled(ends, [v / largest if largest > 0 else 0.0 for v in values], width)
    highest = max(columns)
    top = highest * largest
    levels = [round(v / highest * _HEIGHT * 8) if highest > 0 else 0 for v in columns]
    lines = []
    for row in reversed(range(_HEIGHT)):
        bars = "".join(_BLOCKS[min(8, max(0, level - 8 * row))] for level in levels)
        label = rate(top) if row == _HEIGHT - 1 else ""
        lines.append(f"{label:>8} ┤{bars}")
    lines.append(f"{0:>8} └{'─' * width} {title} over {duration(ends[-1])}")
    return lines


def _resampled(ends: Sequence[float], values: Sequence[float], width: int) -> list[float]:
    """The mean, weighted by time, in each of `width` equal parts of the time."""
    step = ends[-1] / width
    sums = [0.0] * width
    before = 0.0
    for end, value in zip(ends, values, strict=True):
        first, last = int(before / step), min(width - 1, int(end / step))
        for column in range(min(first, width - 1), last + 1):
            begins, stops = max(before, column * step), min(end, (column + 1) * step)
            sums[column] += value * max(0.0, stops - begins)
        before = end
    return [total / step for total in sums]
