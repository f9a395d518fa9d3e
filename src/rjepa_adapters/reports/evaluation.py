"""An evaluation as one HTML page with charts: no network, no script, fit to be printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rjepa_core.evaluation.text import LESS, figure, heading, notes, rows_of

from .bench import CSS
from .charts import Bar, bars, escaped

Facts = Mapping[str, Any]
_LABEL = 260
_MORE_CSS = """
body { max-width: 1080px; } figure { max-width: 780px; }
tr.less td { color: var(--faint); } td.less { padding-left: 1.5em; }
td { white-space: nowrap; } .wide { overflow-x: auto; } .wide table { font-size: .87em; }
@media print { .wide table { font-size: .7em; } }
"""


def html(facts: Facts) -> str:
    """The whole page. It is well-formed XML, too, so that any tool can read it."""
    title = "What the world model is worth"
    body = [
        f"<h1>{title}</h1>",
        *(f'<p class="faint">{escaped(line)}</p>' for line in heading(facts)),
        *(part for table in facts["tables"] for part in _section(table)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{title}</title>\n<style>{CSS}{_MORE_CSS}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _section(table: Facts) -> Iterator[str]:
    yield f"<h2>{escaped(table['title'])}</h2>"
    for column in table["columns"]:
        found = [_bar(line, column) for line in table["lines"] if column in line["figures"]]
        shown = [bar for bar in found if bar is not None]
        if shown:
            caption = f"{column}; the dashed line is chance."
            chart = bars(caption, shown, _LABEL, table["chance"][column])
            yield f"<figure>{chart}<figcaption>{escaped(caption)}</figcaption></figure>"
    yield _table(table)
    yield f'<p class="faint">{escaped("; ".join(notes(table)))}.</p>'


def _bar(line: Facts, column: str) -> Bar | None:
    one = line["figures"][column]
    if one["value"] is None:
        return None
    chosen = line["kind"] == "world model"
    return Bar(line["method"], one["value"], figure(one), one["low"], one["high"], chosen)


def _table(table: Facts) -> str:
    head = "".join(f"<th>{escaped(name)}</th>" for name in ["", *table["columns"]])
    models = {line["method"] for line in table["lines"] if line["kind"] == "world model"}
    rows = []
    for first, *cells in rows_of(table):
        less = first.strip().startswith(LESS)
        kind = ' class="less"' if less else ' class="chosen"' if first in models else ""
        label = f"<td{kind if less else ''}>{escaped(first.strip())}</td>"
        rows.append(
            f"<tr{kind}>{label}" + "".join(f"<td>{escaped(cell)}</td>" for cell in cells) + "</tr>"
        )
    body = "".join(rows)
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody>\n</table></div>"
    )
