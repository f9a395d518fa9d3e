"""An evaluation in words: tables for a terminal, and for Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..text import count, hanging, shortened, visible
from ..text import table as aligned

Facts = Mapping[str, Any]
LESS = "less "
AHEAD, BEHIND, SAME = "ahead", "behind", "no difference that counts"
# Columns that a table takes at most where there is no terminal.
_WIDTH = 118


def lines(facts: Facts, width: int | None = None) -> Iterator[str]:
    """What stdout shows, on a terminal of a width."""
    yield from _wrapped(heading(facts), width, 2)
    for table in facts["tables"]:
        yield ""
        yield from hanging(table["title"], width, 2)
        rows = [["", *table["columns"]], *rows_of(table)]
        if width is not None:
            # A figure with its interval is kept whole, and the name beside it is not.
            widest = max(len(cell) for row in rows for cell in row[1:])
            rows = [[shortened(row[0], max(12, width - widest - 5)), *row[1:]] for row in rows]
        yield from (f"  {line}" for line in aligned(rows, (width or _WIDTH) - 2, gap=3))
        yield from _wrapped((f"  ({note})" for note in notes(table)), width, 3)


def _wrapped(texts: Iterable[str], width: int | None, indent: int) -> Iterator[str]:
    return (line for text in texts for line in hanging(text, width, indent))


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
    for part, reason in known.get("skipped", {}).items():
        yield visible(f"{part} skipped: {reason}")
    if left_out := known.get("left_out"):
        yield visible(f"{count(len(left_out), 'record')} left out: {', '.join(left_out)}"[:300])
    if facts["draws"]:
        yield f"in brackets: 95 % intervals of {facts['draws']:,} draws of the problems"


def leads(facts: Facts, of: Sequence[str] | None = None) -> Iterator[tuple[str, list[str]]]:
    """What the reader has to know first, by table: each leading figure of the world models (the
    worst of their seeds) with the best baseline's, and what such figures can be used for. With `of`
    the tables with figures of these world models alone."""
    for table in facts["tables"]:
        if table["leads"]:
            found = [one for column in table["leads"] for one in _led(table, column, of)]
            if of is not None and not found:
                continue
            use = table["use"]
            yield table["title"], [*found, f"What it can be used for: {use}."]


def compared(table: Facts, column: str) -> Iterator[tuple[Facts, Facts, Facts | None]]:
    """Yield each line of a world model (of several seeds the worst), the line of the best baseline,
    and the difference between the two, if it is known."""
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
    better = min if column in table["lower"] else max
    best = better(baselines, key=lambda line: line["figures"][column]["value"])
    for line in shown:
        if line["kind"] == "world model":
            yield line, best, line["differences"].get(best["method"], {}).get(column)


def is_of(line: Facts, names: Sequence[str] | None) -> bool:
    """Return whether a line is of one of these world models, or of several with it among them."""
    if names is None:
        return True
    methods = (line["method"], *line["of"])
    return any(one == name or one.startswith(f"{name}, ") for one in methods for name in names)


def _led(table: Facts, column: str, of: Sequence[str] | None) -> Iterator[str]:
    for line, best, difference in compared(table, column):
        if not is_of(line, of):
            continue
        text = f"{column}: {visible(line['method'])} {figure(line['figures'][column])}, "
        text += f"{visible(best['method'])} {figure(best['figures'][column])} (the best baseline)"
        if told := outcome(difference, column in table["lower"]):
            text += f": {told}, {figure(difference or {}, signed=True)}"
        yield text


def outcome(difference: Facts | None, lower: bool) -> str:
    """Return whether the world model is ahead of the best baseline; empty if that is not known."""
    if difference is None or difference["low"] is None:
        return ""
    if difference["low"] <= 0 <= difference["high"]:
        return SAME
    return AHEAD if (difference["value"] < 0) == lower else BEHIND


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
    # Where there is nothing to guess among, as in a part of one problem, there is no chance either.
    guesses = (table["chance"].get(column) for column in table["columns"])
    chance = ["–" if guess is None else f"{guess:.3g}" for guess in guesses]
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
