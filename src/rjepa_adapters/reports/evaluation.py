"""An evaluation as an HTML page with charts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from rjepa_core.evaluation.text import LESS, figure, heading, leads, notes, rows_of
from rjepa_core.evaluation.verdict import measures, too_little, verdicts

from .page import render
from .svg import Bar, bars

Facts = Mapping[str, Any]
# With more tables than these they are folded.
_OPEN = 8


def html(facts: Facts) -> str:
    """Return the whole page for the facts of an `Evaluation`."""
    return render(
        "evaluation.html",
        heading="What the world model is worth",
        wide=True,
        verdicts=verdicts(facts),
        too_little=too_little(facts),
        measures=measures(facts),
        folded=len(facts["tables"]) > _OPEN,
        lines=list(heading(facts)),
        leads=[{"title": title, "items": items} for title, items in leads(facts)],
        sections=[
            {
                "title": table["title"],
                "charts": list(_charts(table)),
                "columns": ["", *table["columns"]],
                "rows": list(_rows(table)),
                "note": f"{'; '.join(notes(table))}.",
            }
            for table in facts["tables"]
        ],
    )


def section(facts: Facts, world_model: str, when: str) -> str:
    """Return the part of an evaluation about one world model, for the report of its run.

    Args:
        facts: of an `Evaluation`.
        world_model: its name in the tables.
        when: it was evaluated.
    """
    return render(
        "evaluation_section.html",
        when=when,
        split=facts["split"],
        verdicts=verdicts(facts, [world_model]),
        too_little=too_little(facts),
        measures=measures(facts),
        leads=[{"title": title, "items": items} for title, items in leads(facts, [world_model])],
    )


def _charts(table: Facts) -> Iterator[tuple[Markup, str]]:
    for column in table["leads"] or table["columns"]:
        found = [_bar(line, column) for line in table["lines"] if column in line["figures"]]
        shown = [bar for bar in found if bar is not None]
        if shown:
            caption = f"{column}; the dashed line is chance."
            yield bars(caption, shown, table["chance"].get(column)), caption


def _bar(line: Facts, column: str) -> Bar | None:
    one = line["figures"][column]
    if one["value"] is None:
        return None
    chosen = line["kind"] == "world model"
    return Bar(line["method"], one["value"], figure(one), one["low"], one["high"], chosen)


def _rows(table: Facts) -> Iterator[tuple[str, Sequence[str]]]:
    """Each row's class in the style sheet, and its cells."""
    models = {line["method"] for line in table["lines"] if line["kind"] == "world model"}
    for first, *cells in rows_of(table):
        less = first.strip().startswith(LESS)
        yield "less" if less else "chosen" if first in models else "", [first.strip(), *cells]
