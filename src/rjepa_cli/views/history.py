"""`rjepa-cli show --history`: what the runs of a store did, and when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from rjepa_core.extraction.history import KIND, OUTPUT, RUN_KINDS, PastRun, past_runs
from rjepa_core.grading import grade_line
from rjepa_core.ports.store import LatentStore
from rjepa_core.text import count, duration, rate

from ..options import DEFAULTS

_CHANGES_SHOWN = 20
Facts = dict[str, Any]


def history_view(
    store: LatentStore, limit: int | None, width: int | None = None
) -> tuple[Facts, list[str]]:
    """Return the runs, as facts and as lines, with a plot and at most `limit` changes each."""
    history = store.history()
    runs = past_runs(history)
    facts: Facts = {
        "store": store.location,
        "runs": [_facts(run) for run in runs],
        "other": [entry for entry in history if entry.get("kind") not in RUN_KINDS],
    }
    if not history:
        return facts, ["no runs yet"]
    lines = [_other_line(entry) for entry in facts["other"]]
    for run in runs:
        lines += _run_details(run, _CHANGES_SHOWN if limit is None else limit, width)
    return facts, lines


def run_lines(history: list[dict[str, Any]]) -> list[str]:
    """Return a line for each run and each other entry of a history."""
    runs = {run.started: run for run in past_runs(history)}
    lines = []
    for entry in history:
        kind = entry.get("kind")
        if kind not in RUN_KINDS:
            lines.append(_other_line(entry))
            continue
        run = runs.pop(entry["run"] if kind == KIND else entry["started"], None)
        if run is not None:
            lines.append(_head(run))
    return lines


def _other_line(entry: Facts) -> str:
    kind = entry.get("kind")
    if kind == "import":
        records = count(entry.get("records", 0), "record")
        return f"import      {records} from {entry.get('source', '?')}"
    if kind == "merge":
        sources = ", ".join(entry.get("sources", ()))
        return f"merge       {entry.get('added', 0):,} added from {sources}"
    if kind == "rm":
        return f"rm          {entry.get('removed', 0):,} removed"
    if kind == "grade":
        return f"grade       {grade_line(entry)}"
    if kind == OUTPUT:
        when = f"{entry.get('started', '')} " if entry.get("started") else ""
        return f"output      {when}{entry.get('stream', '?')} took no more: {entry.get('why', '?')}"
    return f"{kind or 'run'!s:<12}{entry.get('started', '')}".rstrip()


def _head(run: PastRun) -> str:
    began = datetime.fromisoformat(run.started).isoformat(timespec="seconds")
    entry = run.entry
    if entry is None:
        known = f"{_length(run)} are known" if run.seconds else "no more is known"
        device = f" on {run.asked['device']}" if run.asked else ""
        return f"run         {began}{device}: no end, killed or still running; {known}"
    failed = f", {entry['failures']:,} failed" if entry["failures"] else ""
    return (
        f"run         {began} {entry['ending']}: {count(entry['records'], 'record')}{failed} "
        f"in {_length(run)} on {entry['device']}"
    )


def _asked_line(asked: Facts) -> str:
    """Return model, scheduler, executor and sources of a run."""
    problems = asked.get("problems", {})
    sources = [str(source) for source in problems.get("sources", ())]
    sources += [f"traces of {source}" for source in problems.get("traces", ())]
    if problems.get("shard"):
        sources.append(f"shard {problems['shard']}")
    model = asked.get("model", {}).get("name", "?")
    scheduler = asked.get("scheduler", {}).get("name", "?")
    passes = f"{asked['passes']}, " if asked.get("passes") else ""
    executor = asked.get("executor", {})
    workers = f" {executor['workers']}" if "workers" in executor else ""
    name = executor.get("name", DEFAULTS["executor"])
    where = f", executor {name}{workers}" if name != DEFAULTS["executor"] else ""
    return f"{model}, {passes}scheduler {scheduler}{where}, {', '.join(sources) or '?'}"


def _length(run: PastRun) -> str:
    return duration(run.seconds)


def _facts(run: PastRun) -> Facts:
    return {
        "started": run.started,
        "seconds": run.seconds,
        "asked": run.asked,
        "run": run.entry,
        "points": [attrs.asdict(point) for point in run.points],
        "changes": list(run.changes),
    }


def _run_details(run: PastRun, most: int, width: int | None) -> list[str]:
    lines = [_head(run)]
    entry, asked = run.entry, run.asked
    if asked is not None:
        lines.append(f"            {_asked_line(asked)}")
    if entry is not None:
        done = entry["records"] + entry["failures"]
        speed = f", {rate(entry['seconds'] / done)} s a record" if done else ""
        out_of_memory = f", {count(entry['out_of_memory'], 'batch')} out of memory"
        lines.append(
            f"            {count(entry['new_tokens'] or entry['tokens'], 'token')}{speed}"
            + (out_of_memory if entry["out_of_memory"] else "")
        )
    if len(run.points) > 1:
        ends = [point.at for point in run.points]
        for title, values in (
            ("rows", [float(point.rows) for point in run.points]),
            ("token/s", [point.tokens_per_second for point in run.points]),
        ):
            columns = _WIDTH if width is None else max(10, min(_WIDTH, width - _BESIDE))
            lines += [f"            {line}" for line in chart(title, ends, values, columns)]
    began = datetime.fromisoformat(run.started)
    for change in run.changes[:most]:
        at = (began + timedelta(seconds=change["at"])).strftime("%H:%M:%S")
        before, after = change["rows_before"], change["rows_after"]
        size = f"{before} -> " if before != after else ""
        lines.append(f"  {at}  {size}{count(after, 'row')}, {change['reason']}: {change['detail']}")
    if len(run.changes) > most:
        lines.append(f"  … and {len(run.changes) - most} more; see --limit")
    return lines


_BLOCKS = " ▁▂▃▄▅▆▇█"
_WIDTH, _HEIGHT = 60, 3
# What stands beside a chart: its indent, its axis, what is plotted and over how long.
_BESIDE = 46


def chart(
    title: str, ends: Sequence[float], values: Sequence[float], width: int = _WIDTH
) -> list[str]:
    """Return the lines of a bar chart from 0 to the largest value.

    Args:
        title: what is plotted.
        ends: seconds at which each stretch of time ends, ascending; each begins where the previous
            one ends.
        values: of each stretch.
        width: in characters.
    """
    # As shares of the largest value, because tiny values would underflow in the means.
    largest = max(values)
    columns = _resampled(ends, [v / largest if largest > 0 else 0.0 for v in values], width)
    highest = max(columns)
    top = highest * largest
    levels = [round(v / highest * _HEIGHT * 8) if highest > 0 else 0 for v in columns]
    lines = []
    for row in reversed(range(_HEIGHT)):
        bars = "".join(_BLOCKS[min(8, max(0, level - 8 * row))] for level in levels)
        label = rate(top) if row == _HEIGHT - 1 else ""
        lines.append(f"{label:>8} ┤{bars}")
    lines.append(f"{0:>8} └{'─' * width} {title} over {duration(ends[-1])}")
    return lines


def _resampled(ends: Sequence[float], values: Sequence[float], width: int) -> list[float]:
    """Return the mean, weighted by time, in each of `width` equal parts of the time."""
    step = ends[-1] / width
    sums = [0.0] * width
    before = 0.0
    for end, value in zip(ends, values, strict=True):
        first, last = int(before / step), min(width - 1, int(end / step))
        for column in range(min(first, width - 1), last + 1):
            begins, stops = max(before, column * step), min(end, (column + 1) * step)
            sums[column] += value * max(0.0, stops - begins)
        before = end
    return [total / step for total in sums]
