"""The report of a benchmark: an HTML page with charts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup

from rjepa_core.benchmark.report import (
    INTERRUPTED,
    Facts,
    cells,
    columns,
    remark,
    title,
    what_was_run,
)
from rjepa_core.domain.floors import too_few_to_measure
from rjepa_core.text import count, duration, rate, size

from .page import render
from .svg import Bar, bars, levels

Row = Mapping[str, Any]
Figure = tuple[Markup, str]
_MOST_DECISIONS = 40
_MEASURES = (
    ("rows", "traces that the LLM works on at a time; or the scheduler that chose how many"),
    ("s/problem", "wall-clock seconds for a problem: generated, cut into steps, encoded"),
    ("token/s", "generated tokens per second of that"),
    ("peak memory", "most memory that the process held, the model included"),
    ("speed-up", "how many times as fast as the size that it is compared with"),
    ("hours", "a projection to that many problems at the same speed"),
)
_ROUNDS = ("rows", "round", "place in it", "seconds", "problems", "new tokens", "batches", "peak")


def html(facts: Facts) -> str:
    """Return the page for the facts of `rjepa_core.benchmark.report.facts_of`."""
    return render(
        "bench.html",
        heading=f"How many rows at a time: {title(facts)}",
        wide=False,
        result=facts,
        interrupted=INTERRUPTED if facts["interrupted"] else "",
        what=what_was_run(facts),
        when=datetime.fromisoformat(facts["started"]).strftime("%Y-%m-%d %H:%M %Z"),
        too_little=[one for one in [too_few_to_measure(facts["problems"]["count"])] if one],
        measures=_MEASURES,
        columns=columns(facts),
        contenders=[
            {"chosen": _chosen(facts, one), "cells": cells(one), "remark": remark(one)}
            for one in facts["contenders"]
        ],
        charts=list(_charts(facts)),
        over_time=list(_over_time(facts)),
        round_columns=_ROUNDS,
        rounds=list(_rounds(facts)),
        circumstances=list(_circumstances(facts)),
        method=list(_method(facts)),
    )


def _charts(facts: Facts) -> Iterator[Figure]:
    for key, caption in (
        ("seconds_per_problem", "Seconds per problem: shorter is better."),
        ("tokens_per_second", "Generated tokens per second: longer is better."),
    ):
        yield bars(caption, [_bar(facts, one, key) for one in facts["contenders"]]), caption
    peaks = [
        Bar(
            _label(one),
            float(one["peak_bytes"]),
            size(one["peak_bytes"]),
            chosen=_chosen(facts, one),
            bad=bool(one["out_of_memory"]),
        )
        for one in facts["contenders"]
        if one["peak_bytes"]
    ]
    if peaks:
        caption = "Peak memory of this process, the model included."
        yield bars(caption, peaks), caption


def _bar(facts: Facts, one: Row, key: str) -> Bar:
    spread = one[key]
    text = rate(spread["median"]) + (", out of memory" if one["out_of_memory"] else "")
    return Bar(
        _label(one),
        spread["median"],
        text,
        spread["least"],
        spread["most"],
        _chosen(facts, one),
        bool(one["out_of_memory"]),
    )


def _over_time(facts: Facts) -> Iterator[Row]:
    """Yield rows and speed over time of each scheduler that chooses its own sizes."""
    for one in facts["contenders"]:
        if one["size"] is not None:
            continue
        ends, rows, speeds, marks, changes = _timeline(one["rounds"])
        if not ends:
            continue
        of_rows = f"Rows per batch over the {len(one['rounds'])} rounds (dashed: a round begins)."
        of_speed = "Tokens per second while generating each batch."
        yield {
            "name": one["name"],
            "charts": [
                (levels(of_rows, ends, rows, marks), of_rows),
                (levels(of_speed, ends, speeds, marks), of_speed),
            ],
            "changes": changes[:_MOST_DECISIONS],
            "more": max(0, len(changes) - _MOST_DECISIONS),
        }


def _timeline(
    rounds: Iterable[Row],
) -> tuple[list[float], list[float], list[float], list[float], list[str]]:
    ends: list[float] = []
    rows: list[float] = []
    speeds: list[float] = []
    marks: list[float] = []
    changes: list[str] = []
    before = 0.0
    for one in rounds:
        if before:
            marks.append(before)
        for batch in one["batches"]:
            ends.append(before + batch["at"])
            rows.append(batch["rows"])
            speeds.append(batch["new_tokens"] / max(batch["seconds"], 1e-9))
        for made in one["decisions"]:
            change = f"{made['rows_before']} → {count(made['rows_after'], 'row')}"
            when = f"round {one['number'] + 1}, {duration(made['at'])}"
            changes.append(f"{when}: {change}, {made['reason']}: {made['detail']}")
        before += one["seconds"]
    return ends, rows, speeds, marks, changes


def _rounds(facts: Facts) -> Iterator[Sequence[object]]:
    for one in facts["contenders"]:
        for done in one["rounds"]:
            yield (
                one["name"],
                done["number"] + 1,
                done["place"] + 1,
                rate(done["seconds"]),
                done["problems"],
                f"{done['new_tokens']:,}",
                len(done["batches"]),
                "unknown" if done["peak_bytes"] is None else size(done["peak_bytes"]),
            )


def _circumstances(facts: Facts) -> Iterator[tuple[str, str]]:
    model, machine, settings = facts["model"], facts["machine"], facts["settings"]
    sampling, problems = settings["sampling"], settings["problems"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if v)
    layers = ", ".join(map(str, settings["encoding"]["layers"]))
    yield "model", f"{model['name']}, {model['content']}"
    yield "quantisation", f"{model['quantisation']}, computing in {model['compute_dtype']}"
    yield from model["notes"].items()
    yield "layers kept", f"{layers} of {model['hidden_states']} hidden states"
    yield "problems", f"{facts['problems']['count']} of {', '.join(problems['sources'])}"
    yield (
        "sampling",
        f"at most {sampling['max_new_tokens']} new tokens, temperature "
        f"{sampling['temperature']:g}, seed {sampling['seed']}",
    )
    yield "device", f"{model['device']} {machine['devices'].get(model['device'], '')}"
    yield "machine", f"{machine['cpus']} CPUs, {machine['threads']} threads"
    yield "platform", machine["platform"]
    yield "versions", f"Python {machine['python']}, {versions}"


def _method(facts: Facts) -> Iterator[str]:
    rounds = facts["settings"]["bench"]["rounds"]
    yield (
        "Each line of the table ran over the same problems with the same seed: completions were "
        "generated, cut into steps, and the steps encoded; nothing was stored. Everything ran "
        f"once per round, in {rounds} round{'s' if rounds > 1 else ''}, in a shuffled order that "
        "the next round reverses. Each size was used for a few tokens before the first round. "
        "Figures are the median of the rounds, with the smallest and the largest."
    )
    yield (
        "Problems are sorted by length before they are put into batches. A whole data set has "
        "more of them than were measured here, so its batches are more even, and its hours are a "
        "projection."
    )
    for one in facts["contenders"]:
        if one["size"] is None:
            yield (
                f"{one['name']} keeps what it has learned from round to round. Its first round "
                "includes the search for a size: "
                + ", ".join(
                    f"round {done['number'] + 1} "
                    f"{rate(done['seconds'] / max(1, done['problems']))} s/problem"
                    for done in one["rounds"]
                )
                + f". Its last batches had {count(one['last_rows'], 'row')}."
            )


def _label(one: Row) -> str:
    return one["name"] if one["size"] is None else count(one["size"], "row")


def _chosen(facts: Facts, one: Row) -> bool:
    return bool(one["name"] == facts["recommendation"]["name"])
