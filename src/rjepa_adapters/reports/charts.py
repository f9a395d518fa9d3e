"""Charts as SVG text: bars with ranges, and steps over time. Colours come from the page's CSS."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import attrs

from rjepa_core.text import rate, visible

_WIDTH = 720
_LABEL, _VALUE = 90, 190
_BAR, _GAP = 22, 10
_HEIGHT, _LEFT, _TOP, _BOTTOM = 150, 56, 12, 26
_TICKS = 4


def escaped(text: object) -> str:
    """Text for HTML and SVG: no markup, nothing that a reader obeys rather than shows."""
    return html.escape(visible(str(text), keep=""))


@attrs.frozen
class Bar:
    """One bar.

    Attributes:
        label: in front of it.
        value: its length.
        text: behind it.
        least, most: ends of the range drawn over it; None for none.
        chosen: stands out.
        bad: cannot be used.
    """

    label: str
    value: float
    text: str
    least: float | None = None
    most: float | None = None
    chosen: bool = False
    bad: bool = False


def bars(title: str, rows: Sequence[Bar], label: int = _LABEL, mark: float | None = None) -> str:
    """A horizontal bar chart from 0.

    Args:
        title: what is plotted.
        rows: the bars.
        label: room for the labels, of a width of 720.
        mark: a value at which a line is drawn from top to bottom.
    """
    height = _GAP + len(rows) * (_BAR + _GAP)
    top = max([max(row.value, row.most or 0.0) for row in rows] + [mark or 0.0], default=0.0) or 1.0
    scale = (_WIDTH - label - _VALUE) / top
    parts = []
    for i, row in enumerate(rows):
        y, middle = _GAP + i * (_BAR + _GAP), _GAP + i * (_BAR + _GAP) + _BAR / 2
        kind = "bar bad" if row.bad else "bar chosen" if row.chosen else "bar"
        width = max(1.0, row.value * scale)
        parts.append(_text(label - 10, middle, row.label, "end", "chosen" if row.chosen else ""))
        parts.append(
            f'<rect class="{kind}" x="{label}" y="{y}" width="{width:.1f}" height="{_BAR}" rx="2"/>'
        )
        end = width
        if row.least is not None and row.most is not None and row.most > row.least:
            a, b = label + row.least * scale, label + row.most * scale
            end = max(end, row.most * scale)
            parts.append(
                f'<path class="range" d="M{a:.1f} {middle}H{b:.1f}M{a:.1f} {middle - 5}v10'
                f'M{b:.1f} {middle - 5}v10"/>'
            )
        parts.append(_text(label + end + 8, middle, row.text, "start", "bad" if row.bad else ""))
    parts.append(f'<path class="axis" d="M{label} 0V{height}"/>')
    if mark is not None:
        parts.append(f'<path class="mark" d="M{label + mark * scale:.1f} 0V{height}"/>')
    return _svg(title, height, parts)


def steps(
    title: str, ends: Sequence[float], values: Sequence[float], marks: Sequence[float]
) -> str:
    """A quantity over time, one level a stretch.

    Args:
        title: what is plotted.
        ends: seconds at which each stretch ends, ascending.
        values: of each stretch.
        marks: seconds at which a line is drawn from top to bottom.
    """
    inner = _WIDTH - _LEFT - 10
    across = inner / (ends[-1] or 1.0)
    ticks = _nice_ticks(max(values))
    up = (_HEIGHT - _TOP - _BOTTOM) / ticks[-1]
    floor = _HEIGHT - _BOTTOM
    parts = []
    for tick in ticks:
        y = floor - tick * up
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}h{inner}"/>')
        parts.append(_text(_LEFT - 8, y, rate(tick), "end"))
    for mark in marks:
        x = _LEFT + mark * across
        parts.append(f'<path class="mark" d="M{x:.1f} {_TOP}V{floor}"/>')
    path, begin = "", 0.0
    for i, (end, value) in enumerate(zip(ends, values, strict=True)):
        y = floor - value * up
        path += f"{'M' if i == 0 else 'L'}{_LEFT + begin * across:.1f} {y:.1f}"
        path += f"H{_LEFT + end * across:.1f}"
        begin = end
    parts.append(f'<path class="line" d="{path}"/>')
    for tick in _nice_ticks(ends[-1]):
        if tick <= ends[-1]:
            parts.append(_text(_LEFT + tick * across, _HEIGHT - 10, f"{rate(tick)} s", "middle"))
    return _svg(title, _HEIGHT, parts)


def _nice_ticks(top: float) -> list[float]:
    """From 0 to at least `top`, in steps of 1, 2 or 5 times a power of ten."""
    top = top if top > 0 else 1.0
    rough = top / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough * 0.999)
    return [step * i for i in range(math.ceil(top / step * 0.999) + 1)]


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    of_kind = f' class="{kind}"' if kind else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" dominant-baseline="central"'
        f"{of_kind}>{escaped(text)}</text>"
    )


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" '
        f'role="img" aria-label="{escaped(title)}">\n' + "\n".join(parts) + "\n</svg>"
    )
