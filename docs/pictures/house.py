"""Draws `house.svg` beside it from the code's own imports: `python docs/pictures/house.py`."""

from __future__ import annotations

import html
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
PICTURE = Path(__file__).with_suffix(".svg")
# Each line of the core's rooms imports only what stands below it.
CORE = (
    ("evaluation",),
    ("scoring", "benchmark"),
    ("extraction", "training", "grading"),
    ("stores",),
    ("plugins",),
    ("ports",),
    ("domain",),
    ("settings", "config", "text", "errors"),
)
WIDTH, LEFT, ROW, GAP = 900, 150, 34, 14
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1b1f24; } .name { font-weight: 600; }
.faint { fill: #68707a; font-size: 11px; } .paper { fill: #fff; }
.core { fill: #e3ecf8; stroke: #1f5fbf; } .adapters { fill: #eaf5ec; stroke: #2b8a3e; }
.cli { fill: #fdf0e0; stroke: #d1730f; } .arrow { stroke: #68707a; stroke-width: 1.5; fill: none; }
"""


def main() -> None:
    """Measure the graph and write the picture."""
    graph = grimp.build_graph(
        "rjepa_core", "rjepa_adapters", "rjepa_cli", exclude_type_checking_imports=True
    )
    parts: list[str] = []
    y = 16
    commands = _rooms(graph, "rjepa_cli.commands")
    y = _band(parts, graph, "rjepa_cli", "cli", [commands[:7], commands[7:]], y, "commands.")
    adapters = _rooms(graph, "rjepa_adapters")
    y = _band(
        parts,
        graph,
        "rjepa_adapters",
        "adapters",
        [adapters[i : i + 5] for i in range(0, len(adapters), 5)],
        y,
    )
    rows = [*CORE, ("testing",)]
    y = _band(parts, graph, "rjepa_core", "core", rows[:-1], y)
    _box(parts, graph, "rjepa_core.testing", "core", LEFT, y - GAP + 4, WIDTH - LEFT - 16)
    parts.append(
        f'<text class="faint" x="16" y="{y + 12}">imports all of it,</text>'
        f'<text class="faint" x="16" y="{y + 26}">imported by none</text>'
    )
    height = y + ROW + GAP
    PICTURE.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="The rooms of the project; each imports only what stands below it">\n'
        f'<style>{STYLE}</style>\n<rect class="paper" width="{WIDTH}" height="{height}"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n",
        encoding="utf-8",
    )


def _rooms(graph: grimp.ImportGraph, package: str) -> list[str]:
    return sorted(name.removeprefix(f"{package}.") for name in graph.find_children(package))


def _band(
    parts: list[str],
    graph: grimp.ImportGraph,
    package: str,
    kind: str,
    rows: list[tuple[str, ...]] | list[list[str]],
    y: int,
    below: str = "",
) -> int:
    """Draw a package: its name, and its rooms line by line; where the next may begin."""
    parts.append(f'<text class="name" x="16" y="{y + 20}">{package}</text>')
    parts.append(f'<text class="faint" x="16" y="{y + 36}">{_size(graph, package)}</text>')
    for row in rows:
        width = (WIDTH - LEFT - 16 - 8 * (len(row) - 1)) / max(1, len(row))
        for i, room in enumerate(row):
            _box(parts, graph, f"{package}.{below}{room}", kind, LEFT + i * (width + 8), y, width)
        y += ROW + 8
    return y + GAP


def _box(
    parts: list[str],
    graph: grimp.ImportGraph,
    module: str,
    kind: str,
    x: float,
    y: float,
    width: float,
) -> None:
    name = html.escape(module.rpartition(".")[2].removesuffix("_"))
    parts.append(
        f'<rect class="{kind}" x="{x:.0f}" y="{y}" width="{width:.0f}" height="{ROW}" rx="4"/>'
        f'<text x="{x + width / 2:.0f}" y="{y + 15}" text-anchor="middle">{name}</text>'
        f'<text class="faint" x="{x + width / 2:.0f}" y="{y + 28}" text-anchor="middle">'
        f"{_size(graph, module)}</text>"
    )


def _size(graph: grimp.ImportGraph, module: str) -> str:
    """How many files a package has."""
    files = len(graph.find_descendants(module)) + 1
    return "1 file" if files == 1 else f"{files} files"


if __name__ == "__main__":
    main()
