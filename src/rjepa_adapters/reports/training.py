"""A training run as one HTML page: no network, no script, fit to be printed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from rjepa_core.config import unstructure
from rjepa_core.settings import TrainSettings

from ..world_model.run_files import write_whole
from .picture import LatentPicture
from .svg import CURVES, curves, escaped, scatter

REPORT = "report.html"
Row = Mapping[str, Any]
# What a value's name holds, and the chart that it belongs to; the first that fits.
_CHARTS = (
    ("Loss", ("loss", "regression", "contrastive", "surprise")),
    ("Effective rank (RankMe)", ("rank",)),
    ("Retrieval of the masked step", ("top1", "mrr", "retrieval", "accuracy")),
    ("Spread of the dimensions", ("std", "spread", "variance")),
    ("Learning rate", ("lr",)),
)
_CSS = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --faint: #68707a;
  --rule: #d5d9de; --loud: #fdecea; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --paper: #16191d; --faint: #99a1ab;
  --rule: #3a4048; --loud: #3b1d1b; --bad: #ff8a80; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 780px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; line-height: 1.25; } h2 { font-size: 1.1em; margin-top: 2em; }
.faint, figcaption { color: var(--faint); font-size: .9em; }
.loud { background: var(--loud); border: 2px solid var(--bad); padding: .6em .8em; }
.wide { overflow-x: auto; } summary { cursor: pointer; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .25em .5em; text-align: right; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
th { font-weight: 600; } th:first-child, td:first-child, .facts td { text-align: left; }
tr.best td { font-weight: 600; }
figure { margin: 1em 0; break-inside: avoid; } svg { width: 100%; height: auto; }
svg text { font: 13px system-ui, sans-serif; fill: var(--ink); }
.grid { stroke: var(--rule); fill: none; } .line { stroke-width: 2; fill: none; }
.c0 { stroke: #1f5fbf; } .c1 { stroke: #d1730f; } .c2 { stroke: #2b8a3e; } .c3 { stroke: #b3367c; }
.c4 { stroke: #7a56c2; } .c5 { stroke: #7d8590; }
.p0 { fill: #440154; } .p1 { fill: #46327e; } .p2 { fill: #365c8d; } .p3 { fill: #277f8e; }
.p4 { fill: #1fa187; } .p5 { fill: #4ac16d; } .p6 { fill: #a0da39; } .p7 { fill: #e5c41f; }
@media (prefers-color-scheme: dark) { .p0 { fill: #8a4fa3; } .p1 { fill: #7d6bc4; } }
@media print { :root { --ink: #000; --paper: #fff; --faint: #555; --rule: #bbb; --loud: #fff; }
  body { margin: 0; max-width: none; font-size: 11pt; } tr, h2 { break-inside: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


@attrs.frozen
class Table:
    """A table of the page, of an evaluation say.

    Attributes:
        title: above it.
        columns: names.
        rows: as many cells each, as they are shown.
        note: below it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def write_report(
    run: str | Path,
    curve: Sequence[Row],
    settings: TrainSettings,
    evaluation: Sequence[Table] | None = None,
    picture: LatentPicture | None = None,
    facts: Mapping[str, str] | None = None,
    warnings: Sequence[str] = (),
    best_epoch: int | None = None,
) -> Path:
    """Write `report.html` into a run's folder, in place of one that is there.

    Args:
        run: the folder.
        curve: a row of values an epoch, as `MetricsLog.curve` has them.
        settings: of the run, whole.
        evaluation: tables; None says that it has not been evaluated.
        picture: of the latent space, if there is one.
        facts: more to tell in front (`records`, `latent space`, …), text by topic.
        warnings: said loudly: a collapse, say.
        best_epoch: marked in the table of epochs.

    Returns:
        The file.
    """
    page = _page(Path(run), curve, settings, evaluation, picture, facts or {}, warnings, best_epoch)
    path = Path(run) / REPORT
    write_whole(path, page)
    return path


def _page(
    run: Path,
    curve: Sequence[Row],
    settings: TrainSettings,
    evaluation: Sequence[Table] | None,
    picture: LatentPicture | None,
    facts: Mapping[str, str],
    warnings: Sequence[str],
    best_epoch: int | None,
) -> str:
    heading = f"World model {run.name}: {settings.model.objective}"
    body = [
        f"<h1>{escaped(heading)}</h1>",
        *(f'<p class="loud">{escaped(warning)}</p>' for warning in warnings),
        *([_facts(facts.items())] if facts else []),
        "<h2>Evaluation</h2>",
        *_evaluation(evaluation),
        "<h2>Training</h2>",
        *_curves(curve),
        *_epochs(curve, best_epoch),
        *_picture(picture),
        *_settings(settings),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{escaped(heading)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _evaluation(evaluation: Sequence[Table] | None) -> Iterator[str]:
    if not evaluation:
        yield (
            '<p class="faint">Not evaluated yet; <code>rjepa-cli evaluate</code> compares it with '
            "its baselines.</p>"
        )
        return
    for table in evaluation:
        yield f"<h3>{escaped(table.title)}</h3>"
        yield _table(table.columns, table.rows)
        if table.note:
            yield f'<p class="faint">{escaped(table.note)}</p>'


def _curves(curve: Sequence[Row]) -> Iterator[str]:
    """A chart for each kind of value, with as many lines as it can tell apart."""
    if not curve:
        yield '<p class="faint">No epoch was finished.</p>'
        return
    across = [float(row.get("epoch", i + 1)) for i, row in enumerate(curve)]
    for title, names in _grouped(curve):
        for begin in range(0, len(names), CURVES):
            lines = {n: [_number(row.get(n)) for row in curve] for n in names[begin:][:CURVES]}
            caption = f"{title}, by epoch."
            yield (
                f"<figure>\n{curves(caption, across, lines)}\n"
                f"<figcaption>{escaped(caption)}</figcaption>\n</figure>"
            )


def _grouped(curve: Sequence[Row]) -> list[tuple[str, list[str]]]:
    """Titles of the charts, and the names of the values in each."""
    names = [
        name for name in _names(curve) if any(_number(row.get(name)) is not None for row in curve)
    ]
    groups: dict[str, list[str]] = {title: [] for title, _ in _CHARTS}
    for name in names:
        for title, parts in _CHARTS:
            if any(part in name for part in parts):
                groups[title].append(name)
                break
    return [(title, members) for title, members in groups.items() if members]


def _epochs(curve: Sequence[Row], best: int | None) -> Iterator[str]:
    if not curve:
        return
    names = _names(curve)
    columns = ("epoch", *(n for n in names if n != "epoch"))
    rows, marked = [], -1
    for i, row in enumerate(curve):
        epoch = int(row.get("epoch", i + 1))
        marked = i if epoch == best else marked
        rows.append((str(epoch), *(_cell(row.get(n)) for n in columns[1:])))
    yield f"<details>\n<summary>All {len(curve)} epochs</summary>"
    yield _table(columns, rows, marked)
    yield "</details>"


def _picture(picture: LatentPicture | None) -> Iterator[str]:
    if picture is None:
        return
    first, second = (f"{share * 100:.0f} %" for share in picture.explained)
    caption = (
        f"{picture.name} of {len(picture.points):,} steps, on their first two principal "
        f"components, which hold {first} and {second} of the variance."
    )
    yield "<h2>Latent space</h2>"
    yield f"<figure>\n{scatter(caption, picture.points, picture.positions)}"
    yield f"<figcaption>{escaped(caption)}</figcaption>\n</figure>"


def _settings(settings: TrainSettings) -> Iterator[str]:
    yield "<h2>Settings</h2>"
    rows = []
    for section, values in unstructure(settings).items():
        rows += [(f"{section}.{name}", _plain(value)) for name, value in values.items()]
    yield _facts(rows)


def _facts(rows: Any) -> str:
    lines = "\n".join(
        f"<tr><td>{escaped(key)}</td><td>{escaped(value)}</td></tr>" for key, value in rows
    )
    return f'<table class="facts">\n<tbody>{lines}</tbody>\n</table>'


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], marked: int = -1) -> str:
    head = "".join(f"<th>{escaped(name)}</th>" for name in columns)
    lines = []
    for i, row in enumerate(rows):
        kind = ' class="best"' if i == marked else ""
        lines.append(f"<tr{kind}>" + "".join(f"<td>{escaped(c)}</td>" for c in row) + "</tr>")
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>'
        + "\n".join(lines)
        + "</tbody>\n</table></div>"
    )


def _names(curve: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in curve for name in row))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v:g}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else str(value)
