"""Write what came back from a card into `docs/benchmarks.md`, and keep the raw figures beside it.

python benchmarks/card/report.py DIR
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

from figures import FILE, Figures

sys.path.insert(0, str(Path(__file__).parents[1]))
import reporting

KEPT = (FILE, "profile.txt")
TITLES = {
    "part1_right": "Right?",
    "part2_fast": "Fast? A Qwen3-8B shape with random weights in bfloat16",
    "part3_memory": "Out of memory?",
    "part4_awq": "AWQ 4-bit, the same shape",
    "part5_world_model": "The world model",
}


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    figures = Figures(folder)
    machine = figures.find("machine")
    measured = [row for row in figures.rows() if row["part"] in TITLES and row["key"] != "ending"]
    if machine is None or not measured:
        sys.exit(f"{folder}: there are no results; nothing is written")
    if "capability" not in machine:
        sys.exit(f"{folder}: a rehearsal's figures say nothing of a card; nothing is written")
    card = machine["device"]
    name = re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")
    kept = reporting.PAGE.parent / "benchmarks" / f"card-{name}"
    kept.mkdir(parents=True, exist_ok=True)
    for file in KEPT:
        if (folder / file).exists():
            shutil.copy(folder / file, kept)
    reporting.write_section(
        f"card {name}",
        f"On a card: {card}",
        section(measured, figures.find("limits"), kept),
        "python benchmarks/card/run.py",
        where=f"{machine['at'][:10]}; {machine['text']}, CUDA {machine['cuda']}, capability "
        f"{machine['capability']}, {machine['cores']} cores, transformers "
        f"{machine['transformers']}, Python {machine['python']}",
    )


def section(measured: list[dict[str, Any]], limits: dict[str, Any] | None, kept: Path) -> str:
    """A table a part, what failed included."""
    place = kept.relative_to(reporting.PAGE.parent)
    parts = [f"The raw figures and the profiler's table are in `{place}`."]
    if limits is not None:
        parts.append(f"The card's limits, measured: {limits['text']}.")
    for part, title in TITLES.items():
        rows = [[row["key"], said(row)] for row in measured if row["part"] == part]
        if rows:
            parts.append(f"### {title}\n\n" + reporting.table(["", "found"], rows))
    return "\n\n".join(parts)


def said(row: dict[str, Any]) -> str:
    """A figure, or why there is none, in a cell."""
    text = f"**failed**: {row['error'].splitlines()[-1]}" if "error" in row else row["text"]
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
