"""Draw scored solutions: one row per solution, one cell per step."""

from __future__ import annotations

from collections.abc import Sequence

from rjepa_core.ports.world_model import Verification
from rjepa_core.scoring import ScoredTrace, wrong_step
from rjepa_core.text import count

from .svg import svg, text

_CELL, _ROW, _LABEL, _TOP = 58, 26, 190, 54
# More of a row with verdicts, and above the first; and the width of the legend.
_VERDICT, _LINE, _LEGEND = 24, 18, 620
# The shade darkens at these percentiles of validation's steps, as on the service's page.
_EDGES = (50, 75, 90, 97)
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1b1b1b; }
.soft { fill: #5a5a5a; } rect { stroke: #c9c9c9; } .worst { stroke: #a33b00; stroke-width: 3; }
.l0 { fill: #f4f4f4; } .l1 { fill: #fdf0d5; } .l2 { fill: #fbdba7; } .l3 { fill: #f6b273; }
.l4 { fill: #ee8650; } .bar { fill: #174ea6; stroke: none; }
.bold { font-weight: 700; } .paper { fill: #fff; stroke: none; }
"""


def picture(scored: Sequence[ScoredTrace]) -> str:
    """Return an SVG file of the surprise of each step.

    Shades show the percentile, or the share of the largest surprise if the world model has no
    quantiles; the number in a cell is the surprise, and ▲ marks the worst step. With a verifier,
    below it stands how probably the step is wrong, and below the solution's name how probably its
    answer is right; ✗ marks the step that is probably wrong.
    """
    longest = max((len(one.surprise) for one in scored), default=1)
    verified = any(one.verdict is not None for one in scored)
    each, top = (_ROW + _VERDICT, _TOP + _LINE) if verified else (_ROW, _TOP)
    width = max(_LABEL + longest * _CELL + 12, _LEGEND)
    height = top + len(scored) * each + 12
    largest = max((float(one.surprise.max()) for one in scored), default=0.0)
    known = all(one.percentiles is not None for one in scored)
    shades = "share of validation’s steps below" if known else "share of the largest surprise"
    edges = ", ".join(map(str, _EDGES))
    legend = f"Surprise of each step; shade: {shades} ({edges} %); ▲ the worst"
    parts = [
        f'<rect class="paper" width="{width}" height="{height}"/>',
        text(12, 14, legend, kind="soft"),
    ]
    if verified:
        legend = "Below: the probability that it is wrong; ✗ the likeliest, if above 50 %"
        parts.append(text(12, 14 + _LINE, legend, kind="soft"))
    for step in range(longest):
        parts.append(text(_LABEL + (step + 0.5) * _CELL, top - 16, str(step + 1), "middle", "soft"))
    for row, one in enumerate(scored):
        y = top + row * each
        parts.append(text(12, y + 13, _shorten(str(one.trace.key))))
        worst = int(one.surprise.argmax())
        for step, value in enumerate(one.surprise.tolist()):
            place = one.percentiles[step] if known and one.percentiles else None
            share = place if place is not None else 100 * value / (largest or 1.0)
            parts.append(_cell(_LABEL + step * _CELL, y, share, value, step == worst))
        if one.verdict is not None:
            parts += _verdict(one.verdict, y + _ROW)
    title = f"Surprise of the steps of {count(len(scored), 'solution')}"
    return f"{svg(title, width, height, parts, _STYLE)}\n"


def _cell(x: float, y: float, share: float, value: float, worst: bool) -> str:
    level = sum(share >= edge for edge in _EDGES)
    mark, weight = ("▲ ", "bold") if worst else ("", "")
    words = text(x + _CELL / 2, y + 13, f"{mark}{value:.3g}", "middle", weight)
    edge = " worst" if worst else ""
    inner = f'width="{_CELL - 4}" height="{_ROW - 4}" rx="3"'
    return f'<rect class="l{level}{edge}" x="{x + 2}" y="{y + 2}" {inner}/>{words}'


def _verdict(verdict: Verification, y: float) -> list[str]:
    right = f"answer right: {100 * verdict.right:.0f} %"
    parts, marked = [text(12, y + 4, right, kind="soft")], wrong_step(verdict)
    for step, wrong in enumerate(verdict.wrong.tolist()):
        x, mark = _LABEL + step * _CELL, "✗ " if step == marked else ""
        inner = f'width="{(_CELL - 4) * wrong:.1f}" height="4"'
        parts.append(f'<rect class="bar" x="{x + 2}" y="{y - 1}" {inner}/>')
        words = f"{mark}{100 * wrong:.0f} %"
        parts.append(text(x + _CELL / 2, y + 11, words, "middle", "bold" if mark else "soft"))
    return parts


def _shorten(words: str) -> str:
    return words if len(words) <= 26 else f"{words[:25]}…"
