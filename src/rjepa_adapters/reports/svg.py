"""Charts as SVG text: curves and a scatter. Colours come from the page's CSS."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from rjepa_core.text import visible

WIDTH = 720
CURVES, POSITIONS = 6, 8
_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 220, 64, 12, 30, 30
_TICKS = 4
_LEGEND = 160


def escaped(text: object) -> str:
    """Text for HTML and SVG: no markup, nothing that a reader obeys rather than shows."""
    return html.escape(visible(str(text), keep=""))


def curves(
    title: str, across: Sequence[float], series: Mapping[str, Sequence[float | None]]
) -> str:
    """Several quantities over the epochs; where one has no value, its line goes on without.

    Args:
        title: what is plotted, for those who cannot see it.
        across: position of each value, ascending.
        series: at most six, each as long as `across`; None and what is not finite are left out.
    """
    values = [v for line in series.values() for v in line if _finite(v)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    ticks = _ticks(low, high)
    inner, floor = WIDTH - _LEFT - _RIGHT, _HEIGHT - _BOTTOM
    first, last = (across[0], across[-1]) if across else (0.0, 1.0)
    scale_x = inner / ((last - first) or 1.0)
    scale_y = (floor - _TOP) / (ticks[-1] - ticks[0])

    def at(x: float, y: float) -> tuple[float, float]:
        return _LEFT + (x - first) * scale_x, floor - (y - ticks[0]) * scale_y

    parts = []
    for tick in ticks:
        y = at(first, tick)[1]
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}h{inner}"/>')
        parts.append(text(_LEFT - 8, y, f"{tick:.4g}", "end"))
    for x in sorted({first, (first + last) // 2, last}):
        parts.append(text(at(x, ticks[0])[0], _HEIGHT - 12, f"{x:g}", "middle"))
    offset = float(_LEFT)
    for i, (name, line) in enumerate(series.items()):
        points = [at(x, v) for x, v in zip(across, line, strict=True) if _finite(v)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        if path:
            parts.append(f'<path class="line c{i % CURVES}" d="M{path}"/>')
        if len(points) == 1:
            x, y = points[0]
            parts.append(f'<circle class="dot c{i % CURVES}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
        parts.append(f'<path class="line c{i % CURVES}" d="M{offset:.0f} 12h16"/>')
        parts.append(text(offset + 22, 12, name, "start"))
        offset += 40 + 7.2 * len(name)
    return svg(title, _HEIGHT, parts)


def scatter(title: str, points: NDArray[np.float64], positions: NDArray[np.int64]) -> str:
    """Points [N, 2] with a colour for each position [N] from 0; the last colour has the rest."""
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
    return svg(title, side, parts)


def text(x: float, y: float, words: str, anchor: str) -> str:
    """Words in an SVG."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" dominant-baseline="central">'
        f"{escaped(words)}</text>"
    )


def svg(title: str, height: float, parts: Sequence[str]) -> str:
    """A picture as wide as the page."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" '
        f'role="img" aria-label="{escaped(title)}">\n' + "\n".join(parts) + "\n</svg>"
    )


def _finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _ticks(low: float, high: float) -> list[float]:
    """Around the values, in steps of 1, 2 or 5 times a power of ten; from 0 if that is near."""
    if 0 < low < 0.5 * high:
        low = 0.0
    spread = (high - low) or abs(high) or 1.0
    rough = spread / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough * 0.999)
    begin, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(begin, max(end, begin + 1) + 1)]
