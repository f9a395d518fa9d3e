"""The result of a training run, as facts and as lines of text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from ..ports.world_model import TrainSummary
from ..text import count, duration, hanging, number, shell_word, table

Facts = dict[str, Any]
_MOST_ROWS, _MOST_COLUMNS, _MOST_VALUES = 24, 9, 6
_ENDINGS = {
    "done": "all epochs done",
    "early": "stopped early: validation stopped improving",
    "stopped": "stopped",
    "interrupted": "interrupted",
}


def facts_of(summary: TrainSummary, interrupted: bool = False) -> Facts:
    """Return a summary as JSON values; a number that is not finite becomes null."""
    facts: Facts = attrs.asdict(summary)
    facts["curve"] = [{k: _plain(v) for k, v in row.items()} for row in summary.curve]
    facts["best"] = _plain(summary.best)
    if interrupted:
        facts["ending"] = "interrupted"
    return facts


def lines(facts: Facts, width: int | None = None) -> list[str]:
    """Return a table of the epochs, with the best one marked, and the paths of the results."""
    shown = _table(facts["curve"], facts["best_epoch"], width)
    shown += hanging(ending_line(facts), width, 2)
    if facts["best"] is not None:
        epoch = facts["best_epoch"]
        shown.append(f"best: {f'epoch {epoch}' if epoch else 'the start'}, {facts['best']:.4g}")
    shown.append(f"world model: {shell_word(facts['run'])}")
    if facts["report"]:
        shown.append(f"report: {shell_word(facts['report'])}")
    return shown


def epoch_line(row: Mapping[str, Any]) -> str:
    """Format the first values of an epoch on one line; all are in `metrics.csv`."""
    numbers = {
        name: value
        for name, value in row.items()
        if name != "epoch" and isinstance(value, int | float) and not isinstance(value, bool)
    }
    shown = [f"{name} {number(value)}" for name, value in list(numbers.items())[:_MOST_VALUES]]
    begin = f"epoch {int(row['epoch'])}: " if "epoch" in row else ""
    return begin + ", ".join(shown)


def ending_line(facts: Facts) -> str:
    """Format how the run ended, and how much it did."""
    ending = _ENDINGS.get(facts["ending"], facts["ending"])
    return (
        f"{ending}: {count(facts['epochs'], 'epoch')}, {count(facts['steps'], 'step')}, "
        f"{count(facts['samples'], 'sample')}; {duration(facts['seconds'])} in this run"
    )


def curve_rows(curve: Sequence[Facts], best: int) -> list[list[str]]:
    """Return a header and rows of cells for a table of epochs; empty without epochs.

    Of many epochs only some are included, always among them the last and the best, which is marked
    in its first cell.
    """
    if not curve:
        return []
    names = _columns(curve)
    every = math.ceil(len(curve) / _MOST_ROWS)
    rows = [["", *names]]
    for i, row in enumerate(curve):
        if i % every == 0 or row.get("epoch") == best or i == len(curve) - 1:
            mark = "*" if row.get("epoch") == best else ""
            rows.append([mark, *(_cell(name, row.get(name)) for name in names)])
    return rows


def _table(curve: Sequence[Facts], best: int, width: int | None) -> list[str]:
    rows = curve_rows(curve, best)
    if not rows:
        return []
    # The mark and the epoch stand in each part of a table that is too wide.
    shown = table(rows, width, kept=2, left=())
    if len(rows) - 1 < len(curve):
        shown.append(f"({len(rows) - 1} of {len(curve)} epochs; all are in metrics.csv)")
    return [*shown, ""]


def _columns(curve: Iterable[Facts]) -> list[str]:
    """Return the names of the values to show, the epoch first, as many as fit on a line."""
    names = dict.fromkeys(
        name
        for row in curve
        for name, value in row.items()
        if value is None or isinstance(value, int | float)
    )
    others = [name for name in names if name != "epoch"]
    return (["epoch"] if "epoch" in names else []) + others[: _MOST_COLUMNS - 1]


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    return str(int(value)) if name == "epoch" else number(value)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
