"""An evaluation in words: tables for a terminal, and for Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..text import count, visible

Facts = Mapping[str, Any]
LESS = "less "


def lines(facts: Facts) -> Iterator[str]:
    """What stdout shows."""
    yield from heading(facts)
    for table in facts["tables"]:
        yield ""
        yield f"{table['title']}"
        rows = [["", *table["columns"]], *rows_of(table)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            yield "  " + "   ".join(cells).rstrip()
        for note in notes(table):
            yield f"  ({note})"


def markdown(facts: Facts) -> str:
    """The same as Markdown, to be put into a document."""
    parts = ["\n".join(f"- {line}" for line in heading(facts))]
    for table in facts["tables"]:
        rows = rows_of(table)
        head = ["", *table["columns"]]
        text = [f"### {table['title']}", "", _row(head)]
        text.append(_row([":--", *["--:"] * len(table["columns"])]))
        kinds = {line["method"]: line["kind"] for line in table["lines"]}
        for row in rows:
            strong = kinds.get(row[0]) == "world model"
            text.append(_row([f"**{row[0]}**" if strong else row[0], *row[1:]]))
        text += ["", "; ".join(notes(table)) + "."]
        parts.append("\n".join(text))
    return "\n\n".join(parts) + "\n"


def heading(facts: Facts) -> Iterator[str]:
    """What was evaluated, and how."""
    for name, one in facts["world_models"].items():
        yield visible(f"{name}: {one['location']}, objective {one['objective']}")
    known = facts["facts"]
    yield visible(
        f"{facts['split']} part of {', '.join(facts['stores'])}; baselines fitted on "
        f"{count(known['training_traces'], 'training trace')} "
        f"({count(known['training_steps'], 'step')})"
    )
    if left_out := known.get("left_out"):
        yield visible(f"{count(len(left_out), 'record')} left out: {', '.join(left_out)}"[:300])
    if facts["draws"]:
        yield f"in brackets: 95 % intervals of {facts['draws']:,} draws of the problems"


def rows_of(table: Facts) -> list[list[str]]:
    """Rows of cells: the methods, their differences, and chance."""
    rows = []
    for line in table["lines"]:
        rows.append([visible(line["method"]), *figures(table["columns"], line["figures"])])
        for other, differences in line["differences"].items():
            cells = figures(table["columns"], differences, signed=True)
            rows.append([f"  {LESS}{visible(other)}", *cells])
    chance = [f"{table['chance'][column]:.3g}" for column in table["columns"]]
    return [*rows, ["chance", *chance]]


def figures(columns: Sequence[str], found: Facts, signed: bool = False) -> list[str]:
    """One cell a column; empty where a method has no such figure."""
    return [figure(found[column], signed) if column in found else "" for column in columns]


def figure(one: Facts, signed: bool = False) -> str:
    """`0.512 [0.490, 0.534]`."""
    form = "+.3f" if signed else ".3f"
    if one["value"] is None:
        return "-"
    text = format(one["value"], form)
    if one["low"] is None:
        return text
    return f"{text} [{one['low']:{form}}, {one['high']:{form}}]"


def notes(table: Facts) -> list[str]:
    """Counts, and what the table itself notes."""
    return [
        f"{count(table['items'], 'item')} of {count(table['problems'], 'problem')}",
        *map(visible, table["notes"]),
    ]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.strip().replace("|", "\\|") for cell in cells) + " |"
