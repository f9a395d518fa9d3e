"""`rjepa-cli show --history`: what the runs of a store did, and when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from rjepa_core.extraction.history import KIND, OUTPUT, RUN_KINDS, Story, stories
from rjepa_core.grading import grade_line
from rjepa_core.ports.store import LatentStore
from rjepa_core.text import count, duration, rate

from ..options import DEFAULTS

_CHANGES_SHOWN = 20
Facts = dict[str, Any]


def history_view(store: LatentStore, limit: int | None) -> tuple[Facts, list[str]]:
    """Runs with their changes of size and a plot; at most `limit` changes of each."""
    history = store.history()
    told = stories(history)
    facts: Facts = {
        "store": store.location,
        "runs": [_facts(story) for story in told],
        "other": [one for one in history if one.get("kind") not in RUN_KINDS],
    }
    if not history:
        return facts, ["no runs yet"]
    lines = [_other_line(one) for one in facts["other"]]
    for story in told:
        lines += _story_lines(story, _CHANGES_SHOWN if limit is None else limit)
    return facts, lines


def run_lines(history: list[dict[str, Any]]) -> list[str]:
    """A line for each thing that happened to a store."""
    told = {story.started: story for story in stories(history)}
    lines = []
    for one in history:
        kind = one.get("kind")
        if kind not in RUN_KINDS:
            lines.append(_other_line(one))
            continue
        story = told.pop(one["run"] if kind == KIND else one["started"], None)
        if story is not None:
            lines.append(_head(story))
    return lines


def _other_line(one: Facts) -> str:
    kind = one.get("kind")
    if kind == "import":
        return f"import      {one.get('records', 0):,} records from {one.get('source', '?')}"
    if kind == "merge":
        return f"merge       {one.get('added', 0):,} added from {', '.join(one.get('sources', ()))}"
    if kind == "rm":
        return f"rm          {one.get('removed', 0):,} removed"
    if kind == "grade":
        return f"grade       {grade_line(one)}"
    if kind == OUTPUT:
        when = f"{one.get('started', '')} " if one.get("started") else ""
        return f"output      {when}{one.get('stream', '?')} took no more: {one.get('why', '?')}"
    return f"{kind or 'run'!s:<12}{one.get('started', '')}".rstrip()


def _head(story: Story) -> str:
    began = datetime.fromisoformat(story.started).isoformat(timespec="seconds")
    run = story.entry
    if run is None:
        known = f"{_length(story)} are known" if story.seconds else "no more is known"
        device = f" on {story.asked['device']}" if story.asked else ""
        return f"run         {began}{device}: no end, killed or running still; {known}"
    failed = f", {run['failures']:,} failed" if run["failures"] else ""
    return (
        f"run         {began} {run['ending']}: {count(run['records'], 'record')}{failed} "
        f"in {_length(story)} on {run['device']}"
    )


def _asked_line(asked: Facts) -> str:
    """Model, scheduler, executor and sources of a run."""
    problems = asked.get("problems", {})
    sources = [str(one) for one in problems.get("sources", ())]
    sources += [f"traces of {one}" for one in problems.get("traces", ())]
    model = asked.get("model", {}).get("name", "?")
    scheduler = asked.get("scheduler", {}).get("name", "?")
    passes = f"{asked['passes']}, " if asked.get("passes") else ""
    executor = asked.get("executor", {})
    workers = f" {executor['workers']}" if "workers" in executor else ""
    name = executor.get("name", DEFAULTS["executor"])
    where = f", executor {name}{workers}" if name != DEFAULTS["executor"] else ""
    return f"{model}, {passes}scheduler {scheduler}{where}, {', '.join(sources) or '?'}"


def _length(story: Story) -> str:
    return duration(story.seconds)


def _facts(story: Story) -> Facts:
    return {
        "started": story.started,
        "seconds": story.seconds,
        "asked": story.asked,
        "run": story.entry,
        "points": [attrs.asdict(point) for point in story.points],
        "changes": list(story.changes),
    }


def _story_lines(story: Story, most: int) -> list[str]:
    lines = [_head(story)]
    run, asked = story.entry, story.asked
    if asked is not None:
        lines.append(f"            {_asked_line(asked)}")
    if run is not None:
        done = run["records"] + run["failures"]
        speed = f", {rate(run['seconds'] / done)} s each" if done else ""
        short = f", {count(run['out_of_memory'], 'batch')} out of memory"
        lines.append(
            f"            {count(run['new_tokens'] or run['tokens'], 'token')}{speed}"
            + (short if run["out_of_memory"] else "")
        )
    if len(story.points) > 1:
        ends = [point.at for point in story.points]
        for title, values in (
            ("rows", [float(point.rows) for point in story.points]),
            ("token/s", [point.tokens_per_second for point in story.points]),
        ):
            lines += [f"            {line}" for line in chart(title, ends, values)]
    began = datetime.fromisoformat(story.started)
    for change in story.changes[:most]:
        at = (began + timedelta(seconds=change["at"])).strftime("%H:%M:%S")
        before, after = change["rows_before"], change["rows_after"]
        size = f"{before} -> {after}" if before != after else f"{after}"
        lines.append(f"  {at}  {size} rows, {change['reason']}: {change['detail']}")
    if len(story.changes) > most:
        lines.append(f"  … and {len(story.changes) - most} more; see --limit")
    return lines


_BLOCKS = " ▁▂▃▄▅▆▇█"
_WIDTH, _HEIGHT = 60, 3


def chart(
    title: str, ends: Sequence[float], values: Sequence[float], width: int = _WIDTH
) -> list[str]:
    """Lines of a bar chart from 0 to the largest value.

    Args:
        title: what is plotted.
        ends: seconds at which each stretch of time ends, ascending; it begins where the one
            before it ends.
        values: of each stretch.
        width: in characters.
    """
    # As shares of the largest value: the smallest numbers would vanish in the means.
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
    """The mean, weighted by time, in each of `width` equal parts of the time."""
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
