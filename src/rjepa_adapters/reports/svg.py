"""Draw charts as SVG: bars with ranges, levels over time, curves over epochs, a scatter.

Colours come from the page's style sheet, by class. A chart is so narrow that its text can be read
on a phone, where it is drawn smaller than it says here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeGuard

import attrs
import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from rjepa_core.text import rate, visible

WIDTH = 480
# Lines and positions that the style sheet has colours for.
CURVES, POSITIONS = 6, 8
_TICKS = 4
# Values that differ by a smaller share are drawn as equal: labels have four digits.
_LEAST_SPREAD = 0.01
# Of `bars`: width of values, height of a label, of a bar, gap between two.
_VALUE, _LABEL, _BAR, _GAP = 200, 20, 16, 12
# Height of a plot with axes, and its margins: left, right, top, bottom.
_LEVELS = (170, 56, 10, 12, 26)
_CURVES = (240, 64, 14, 12, 30)
_LEGEND = 140
# About the width of a character, and the height of a line of a legend.
_CHARACTER, _LINE = 7.6, 20


@attrs.frozen
class Bar:
    """A bar of `bars`.

    Attributes:
        label: before the bar.
        value: its length.
        text: after the bar.
        least, most: ends of the range drawn over it; None for none.
        chosen: whether it is highlighted.
        bad: whether it marks something unusable.
    """

    label: str
    value: float
    text: str
    least: float | None = None
    most: float | None = None
    chosen: bool = False
    bad: bool = False


def bars(title: str, rows: Sequence[Bar], mark: float | None = None) -> Markup:
    """Draw horizontal bars from 0, each below its label.

    Args:
        title: what is plotted, as the image's accessible name.
        rows: the bars.
        mark: a value at which a line is drawn from top to bottom.
    """
    each = _LABEL + _BAR + _GAP
    height = len(rows) * each
    top = max([max(row.value, row.most or 0.0) for row in rows] + [mark or 0.0], default=0.0) or 1.0
    left = 1
    scale = (WIDTH - left - _VALUE) / top
    parts = []
    for i, row in enumerate(rows):
        y, middle = i * each + _LABEL, i * each + _LABEL + _BAR / 2
        kind = "bar bad" if row.bad else "bar chosen" if row.chosen else "bar"
        width = max(1.0, row.value * scale)
        parts.append(
            text(left + 4, y - _LABEL / 2, row.label, "start", "chosen" if row.chosen else "")
        )
        parts.append(
            f'<rect class="{kind}" x="{left}" y="{y}" width="{width:.1f}" height="{_BAR}" rx="2"/>'
        )
        end = width
        if row.least is not None and row.most is not None and row.most > row.least:
            a, b = left + row.least * scale, left + row.most * scale
            end = max(end, row.most * scale)
            parts.append(
                f'<path class="range" d="M{a:.1f} {middle}H{b:.1f}M{a:.1f} {middle - 5}v10'
                f'M{b:.1f} {middle - 5}v10"/>'
            )
        parts.append(text(left + end + 8, middle, row.text, "start", "bad" if row.bad else ""))
    parts.append(f'<path class="axis" d="M{left} 0V{height}"/>')
    if mark is not None:
        parts.append(f'<path class="mark" d="M{left + mark * scale:.1f} 0V{height}"/>')
    return svg(title, WIDTH, height, parts)


def levels(
    title: str, ends: Sequence[float], values: Sequence[float], marks: Sequence[float]
) -> Markup:
    """Draw a quantity over time, constant in each interval.

    Args:
        title: what is plotted, as the image's accessible name.
        ends: seconds at which each interval ends, ascending.
        values: of each interval.
        marks: seconds at which a line is drawn from top to bottom.
    """
    height, left, right, top, bottom = _LEVELS
    inner, floor = WIDTH - left - right, height - bottom
    across = inner / (ends[-1] or 1.0)
    ticks = _ticks(0.0, max(values) if max(values) > 0 else 1.0)
    up = (floor - top) / ticks[-1]
    parts = []
    for tick in ticks:
        y = floor - tick * up
        parts.append(f'<path class="grid" d="M{left} {y:.1f}h{inner}"/>')
        parts.append(text(left - 8, y, rate(tick), "end"))
    for mark in marks:
        parts.append(f'<path class="mark" d="M{left + mark * across:.1f} {top}V{floor}"/>')
    path, begin = "", 0.0
    for i, (end, value) in enumerate(zip(ends, values, strict=True)):
        y = floor - value * up
        path += f"{'M' if i == 0 else 'L'}{left + begin * across:.1f} {y:.1f}"
        path += f"H{left + end * across:.1f}"
        begin = end
    parts.append(f'<path class="line" d="{path}"/>')
    for tick in _ticks(0.0, ends[-1] if ends[-1] > 0 else 1.0):
        if tick <= ends[-1]:
            parts.append(text(left + tick * across, height - 10, f"{rate(tick)} s", "middle"))
    return svg(title, WIDTH, height, parts)


def curves(
    title: str, across: Sequence[float], series: Mapping[str, Sequence[float | None]]
) -> Markup:
    """Draw several quantities over the epochs; a line skips an epoch without a value.

    Args:
        title: what is plotted, as the image's accessible name.
        across: position of each value, ascending.
        series: at most six, each as long as `across`; None and non-finite values are left out.
    """
    height, left, right, top, bottom = _CURVES
    legend = _legend(list(series), left)
    lines = 1 + max((line for _, line in legend), default=0)
    top, height = top + lines * _LINE, height + lines * _LINE
    values = [v for line in series.values() for v in line if _finite(v)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    # Begin at 0 if that is near.
    ticks = _ticks(0.0 if 0 < low < 0.5 * high else low, high)
    inner, floor = WIDTH - left - right, height - bottom
    first, last = (across[0], across[-1]) if across else (0.0, 1.0)
    scale_x = inner / ((last - first) or 1.0)
    scale_y = (floor - top) / (ticks[-1] - ticks[0])

    def at(x: float, y: float) -> tuple[float, float]:
        return left + (x - first) * scale_x, floor - (y - ticks[0]) * scale_y

    parts = []
    for tick in ticks:
        y = at(first, tick)[1]
        parts.append(f'<path class="grid" d="M{left} {y:.1f}h{inner}"/>')
        parts.append(text(left - 8, y, f"{tick:.4g}", "end"))
    for x in sorted({first, (first + last) // 2, last}):
        parts.append(text(at(x, ticks[0])[0], height - 12, f"{x:g}", "middle"))
    for i, (name, line) in enumerate(series.items()):
        points = [at(x, v) for x, v in zip(across, line, strict=True) if _finite(v)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        if path:
            parts.append(f'<path class="line c{i % CURVES}" d="M{path}"/>')
        if len(points) == 1:
            x, y = points[0]
            parts.append(f'<circle class="dot c{i % CURVES}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
        offset, y = legend[i][0], 10 + _LINE * legend[i][1]
        parts.append(f'<path class="line c{i % CURVES}" d="M{offset:.0f} {y}h16"/>')
        parts.append(text(offset + 22, y, name, "start"))
    return svg(title, WIDTH, height, parts)


def _legend(names: Sequence[str], left: float) -> list[tuple[float, int]]:
    """Return where each name of a legend begins, and in which of its lines."""
    found, offset, line = [], left, 0
    for name in names:
        width = 40 + _CHARACTER * len(name)
        if offset > left and offset + width > WIDTH:
            offset, line = left, line + 1
        found.append((offset, line))
        offset += width
    return found


def shares(title: str, points: Sequence[tuple[float, float, int]]) -> Markup:
    """Draw observed against predicted shares, with the number of observations at each point; on the
    diagonal they agree."""
    side, left, top = 320, 56, 14
    inner = side - left - top

    def at(x: float, y: float) -> tuple[float, float]:
        return left + x * inner, top + (1.0 - y) * inner

    parts = []
    for tick in _ticks(0.0, 1.0):
        x, y = at(tick, tick)
        parts.append(f'<path class="grid" d="M{left} {y:.1f}h{inner}"/>')
        parts.append(text(left - 8, y, f"{tick:g}", "end"))
        parts.append(text(x, top + inner + 16, f"{tick:g}", "middle"))
    parts.append(f'<path class="axis" d="M{left} {top + inner}L{left + inner} {top}"/>')
    placed = [at(predicted, observed) for predicted, observed, _ in points]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
    if path:
        parts.append(f'<path class="line c0" d="M{path}"/>')
    for (x, y), (_, _, number) in zip(placed, points, strict=True):
        parts.append(f'<circle class="dot c0" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
        parts.append(text(x + 7, y, f"{number:,}", "start"))
    return svg(title, side + 40, side + 10, parts)


def scatter(title: str, points: NDArray[np.float64], positions: NDArray[np.int64]) -> Markup:
    """Draw points [N, 2], coloured by position [N] from 0; late positions share the last colour."""
    side = WIDTH - _LEGEND
    low, high = points.min(0), points.max(0)
    span = max(float((high - low).max()), 1e-12)
    middle = (low + high) / 2
    placed = (points - middle) / span * (side - 24) + side / 2
    parts = []
    for (x, y), position in zip(placed.tolist(), positions.tolist(), strict=True):
        kind = min(position, POSITIONS - 1)
        parts.append(f'<circle class="p{kind}" cx="{x:.1f}" cy="{side - y:.1f}" r="2.5"/>')
    most = int(positions.max())
    for kind in range(min(most, POSITIONS - 1) + 1):
        y = 20 + 22 * kind
        more = " and later" if kind == POSITIONS - 1 and most >= POSITIONS else ""
        parts.append(f'<circle class="p{kind}" cx="{side + 10}" cy="{y}" r="5"/>')
        parts.append(text(side + 22, y, f"step {kind + 1}{more}", "start"))
    return svg(title, WIDTH, side, parts)


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    """Return an escaped line of text as SVG, centred vertically on `y`."""
    of_kind = f' class="{kind}"' if kind else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" dominant-baseline="central"'
        f"{of_kind}>{escape(visible(words, keep=''))}</text>"
    )


def svg(title: str, width: float, height: float, parts: Iterable[str], style: str = "") -> Markup:
    """Return an SVG of its parts; with a `style` it is a file of its own, with a size in pixels."""
    size = f' width="{width:g}" height="{height:g}"' if style else ""
    own = f"<style>{style}</style>\n" if style else ""
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"{size} '
        f'role="img" aria-label="{escape(visible(title, keep=""))}">\n{own}'
        + "\n".join(parts)
        + "\n</svg>"
    )


def _finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _ticks(low: float, high: float) -> list[float]:
    """Return ticks around the values, in steps of 1, 2 or 5 times a power of ten."""
    largest = max(abs(low), abs(high))
    spread = max(high - low, _LEAST_SPREAD * largest) or 1.0
    rough = spread / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough * 0.999)
    begin, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(begin, max(end, begin + 1) + 1)]
