"""Steps of several solutions as a picture: a row a solution, a cell a step."""

from __future__ import annotations

import html
from collections.abc import Sequence

from rjepa_core.scoring import ScoredTrace
from rjepa_core.text import visible

_CELL, _ROW, _LABEL, _TOP = 58, 26, 190, 54
# Above these shares of validation's steps, in percent, a darker shade.
_EDGES = (50, 75, 90, 97)
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1b1b1b; }
.soft { fill: #5a5a5a; } rect { stroke: #c9c9c9; } .worst { stroke: #a33b00; stroke-width: 3; }
.l0 { fill: #f4f4f4; } .l1 { fill: #fdf0d5; } .l2 { fill: #fbdba7; } .l3 { fill: #f6b273; }
.l4 { fill: #ee8650; } .bold { font-weight: 700; } .paper { fill: #fff; stroke: none; }
"""


def picture(scored: Sequence[ScoredTrace]) -> str:
    """An SVG file. Shades tell the percentile, or the share of the largest surprise where the
    world model keeps none; the number in a cell is the surprise, and ▲ marks the worst step."""
    longest = max((len(one.surprise) for one in scored), default=1)
    width, height = _LABEL + longest * _CELL + 12, _TOP + len(scored) * _ROW + 12
    largest = max((float(one.surprise.max()) for one in scored), default=0.0)
    known = all(one.percentiles is not None for one in scored)
    shades = "share of validation’s steps below" if known else "share of the largest surprise"
    parts = [
        f'<rect class="paper" width="{width}" height="{height}"/>',
        _text(12, 18, f"Surprise a step; shade: {shades} (50, 75, 90, 97 %); ▲ the worst", "soft"),
    ]
    for step in range(longest):
        parts.append(_text(_LABEL + (step + 0.5) * _CELL, 42, str(step + 1), "soft", "middle"))
    for row, one in enumerate(scored):
        y = _TOP + row * _ROW
        parts.append(_text(12, y + 17, _clipped(str(one.trace.key)), ""))
        worst = int(one.surprise.argmax())
        for step, value in enumerate(one.surprise.tolist()):
            place = one.percentiles[step] if known and one.percentiles else None
            share = place if place is not None else 100 * value / (largest or 1.0)
            parts.append(_cell(_LABEL + step * _CELL, y, share, value, step == worst))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="Surprise of the steps of {len(scored)} '
        f'solutions">\n<style>{_STYLE}</style>\n{body}\n</svg>\n'
    )


def _cell(x: float, y: float, share: float, value: float, worst: bool) -> str:
    level = sum(share >= edge for edge in _EDGES)
    mark, weight = ("▲ ", " bold") if worst else ("", "")
    words = _text(x + _CELL / 2, y + 17, f"{mark}{value:.3g}", weight.strip(), "middle")
    edge = " worst" if worst else ""
    inner = f'width="{_CELL - 4}" height="{_ROW - 4}" rx="3"'
    return f'<rect class="l{level}{edge}" x="{x + 2}" y="{y + 2}" {inner}/>{words}'


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    escaped = html.escape(visible(words, keep=""))
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escaped}</text>'


def _clipped(words: str) -> str:
    return words if len(words) <= 26 else f"{words[:25]}…"
