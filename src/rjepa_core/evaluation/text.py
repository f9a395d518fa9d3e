"""An evaluation in words: tables for a terminal, and for Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..text import count, visible

Facts = Mapping[str, Any]
LESS = "less "
# Columns of a terminal that a table takes at most, if its names leave room for one figure.
_WIDTH = 118


def lines(facts: Facts) -> Iterator[str]:
    """What stdout shows."""
    yield from heading(facts)
    for table in facts["tables"]:
        yield ""
        yield f"{table['title']}"
        rows = [["", *table["columns"]], *rows_of(table)]
        for columns in _side_by_side(rows):
            for cells in columns:
                yield "  " + "   ".join(cells).rstrip()
        for note in notes(table):
            yield f"  ({note})"


def _side_by_side(rows: Sequence[Sequence[str]]) -> Iterator[list[list[str]]]:
    """The cells, all of a column as wide; a wide table in several parts, each with the methods."""
    first, *columns = ([row[i] for row in rows] for i in range(len(rows[0])))
    widest = max(map(len, first))
    part, width = [[cell.ljust(widest) for cell in first]], widest
    for column in columns:
        most = max(map(len, column))
        if len(part) > 1 and width + 3 + most > _WIDTH:
            yield [list(row) for row in zip(*part, strict=True)]
            part, width = part[:1], widest
        part.append([cell.rjust(most) for cell in column])
        width += 3 + most
    yield [list(row) for row in zip(*part, strict=True)]


def markdown(facts: Facts) -> str:
    """The same as Markdown, to be put into a document; what leads comes first."""
    parts = ["\n".join(f"- {line}" for line in heading(facts))]
    for title, found in leads(facts):
        parts.append("\n".join([f"**{title}**", "", *(f"- {line}" for line in found)]))
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
    for sentence in (
        known.get("too_little"),
        *dict.fromkeys(one.get("too_little") for one in facts["world_models"].values()),
    ):
        if sentence:
            yield f"too little: {sentence}"
    if left_out := known.get("left_out"):
        yield visible(f"{count(len(left_out), 'record')} left out: {', '.join(left_out)}"[:300])
    if facts["draws"]:
        yield f"in brackets: 95 % intervals of {facts['draws']:,} draws of the problems"


def leads(facts: Facts) -> Iterator[tuple[str, list[str]]]:
    """What the reader has to know first, by table: each leading figure of the world models (the
    worst of their seeds) with the best baseline's, and what such figures can be used for."""
    for table in facts["tables"]:
        if table["leads"]:
            found = [one for column in table["leads"] for one in _led(table, column)]
            use = table["use"]
            yield table["title"], [*found, f"What it can be used for: {use}."]


def _led(table: Facts, column: str) -> Iterator[str]:
    lower = column in table["lower"]
    members = {name for line in table["lines"] for name in line["of"]}
    shown = [
        line
        for line in table["lines"]
        if line["method"] not in members
        and line["figures"].get(column, {}).get("value") is not None
    ]
    baselines = [line for line in shown if line["kind"] == "baseline"]
    if not baselines:
        return
    best = (min if lower else max)(baselines, key=lambda line: line["figures"][column]["value"])
    for line in shown:
        if line["kind"] == "world model":
            text = f"{column}: {visible(line['method'])} {figure(line['figures'][column])}, "
            text += f"{visible(best['method'])} {figure(best['figures'][column])}"
            yield text + _verdict(line["differences"].get(best["method"], {}).get(column), lower)


def _verdict(difference: Facts | None, lower: bool) -> str:
    """Whether the world model is ahead of the best baseline."""
    if difference is None or difference["low"] is None:
        return " (the best baseline)"
    if difference["low"] <= 0 <= difference["high"]:
        told = "no difference that counts"
    else:
        told = "ahead" if (difference["value"] < 0) == lower else "behind"
    return f" (the best baseline): {told}, {figure(difference, signed=True)}"


def rows_of(table: Facts) -> list[list[str]]:
    """Rows of cells: the methods, their differences, and chance. Of several seeds the differences
    of the line that stands for them all are shown."""
    members = {name for line in table["lines"] for name in line["of"]}
    rows = []
    for line in table["lines"]:
        rows.append([visible(line["method"]), *figures(table["columns"], line["figures"])])
        if line["method"] in members:
            continue
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
