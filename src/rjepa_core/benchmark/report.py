"""A measurement as facts for JSON, and as a table for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from ..config import unstructure
from ..ports.backend import RANDOM, ModelInfo
from ..text import count, hanging, rate, size, table, visible
from .advice import Advice
from .results import BenchResult, Measured, Round, Spread

Facts = dict[str, Any]
INTERRUPTED = "INTERRUPTED: not all was measured; the figures are of the rounds that ended."
_UNUSED = ("store", "run")
_FIGURES = 4


def random_warning(info: ModelInfo) -> str | None:
    """Return the warning for a model with untrained weights."""
    if not info.random:
        return None
    shape = info.content.removeprefix(RANDOM)
    return (
        f"RANDOM WEIGHTS: this is the architecture of {shape}, and nothing in it was learned. "
        "Times and memory are that architecture's; every completion is noise, and all are of the "
        "full length, where real answers end sooner"
    )


def facts_of(
    result: BenchResult,
    advice: Advice,
    started: datetime,
    machine: Mapping[str, Any],
    interrupted: bool = False,
) -> Facts:
    """Return all that was measured, as JSON values; `machine` is what it was measured on."""
    settings, info, survey = result.settings, result.info, result.survey
    plain = unstructure(settings)
    return {
        "kind": "bench",
        "started": started.isoformat(timespec="seconds"),
        "interrupted": interrupted,
        "random_weights": info.random,
        "warning": random_warning(info),
        "recommendation": {
            "name": advice.name,
            "sentence": advice.sentence,
            "doubts": list(advice.doubts),
        },
        "model": {**attrs.asdict(info), "notes": dict(info.notes)},
        "problems": {
            "count": survey.problems,
            "available": survey.available,
            "domains": survey.domains,
        },
        "total": settings.bench.total,
        "baseline": result.baseline.name if result.baseline else None,
        "left_out": list(result.left_out),
        "contenders": [_contender(result, contender) for contender in result.measured],
        "machine": dict(machine),
        "settings": {key: value for key, value in plain.items() if key not in _UNUSED},
    }


def _contender(result: BenchResult, contender: Measured) -> Facts:
    return {
        "name": contender.name,
        "size": contender.size,
        "seconds_per_problem": _spread(contender.seconds_per_problem),
        "tokens_per_second": _spread(contender.tokens_per_second),
        "peak_bytes": contender.peak_bytes,
        "speed_up": _short(result.speed_up(contender)),
        "hours": _short(result.hours(contender)),
        "out_of_memory": contender.out_of_memory,
        "failed": contender.failed,
        "last_rows": contender.last_rows,
        "rounds": [_round(round_) for round_ in contender.rounds],
    }


def _round(round_: Round) -> Facts:
    plain = {key: value for key, value in attrs.asdict(round_).items() if key != "decisions"}
    plain["seconds"] = round(round_.seconds, 4)
    plain["batches"] = [
        {**attrs.asdict(b), "at": round(b.at, 4), "seconds": round(b.seconds, 4)}
        for b in round_.batches
    ]
    plain["decisions"] = [{"at": round(at, 1), **attrs.asdict(d)} for at, d in round_.decisions]
    return plain


def _spread(spread: Spread) -> Facts:
    return {key: _short(value) for key, value in attrs.asdict(spread).items()}


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_FIGURES}g}")


def columns(facts: Facts) -> list[str]:
    """Return the headings of the table."""
    base = facts["baseline"]
    against = "" if base in ("1", None) else f" over {base} rows"
    return [
        "rows",
        "s/problem",
        "token/s",
        "peak memory",
        f"speed-up{against}",
        f"hours for {facts['total']:,}",
    ]


def cells(contender: Mapping[str, Any]) -> list[str]:
    """Return a contender's row of the table."""
    peak = contender["peak_bytes"]
    return [
        contender["name"],
        spread_text(contender["seconds_per_problem"], len(contender["rounds"])),
        spread_text(contender["tokens_per_second"], len(contender["rounds"])),
        "unknown" if peak is None else size(peak),
        f"{contender['speed_up']:.1f}" if contender["speed_up"] is not None else "",
        rate(contender["hours"]),
    ]


def remark(contender: Mapping[str, Any]) -> str:
    """Return what went wrong with a contender, or an empty string."""
    parts = []
    if contender["out_of_memory"]:
        times = "once" if contender["out_of_memory"] == 1 else f"{contender['out_of_memory']} times"
        parts.append(f"out of memory {times}")
    if contender["failed"]:
        parts.append(f"{count(contender['failed'], 'problem')} failed")
    return ", ".join(parts)


def spread_text(spread: Mapping[str, float], rounds: int) -> str:
    """Format median and range, `5.67 (5.5–5.8)`; without the range if there is only one round."""
    least, most = spread["least"], spread["most"]
    if rounds == 1:
        return rate(spread["median"])
    # As many decimal places as the largest value needs.
    places = max(0, 2 - math.floor(math.log10(most))) if 0 < most < 100 else 0
    median, low, high = (f"{x:,.{places}f}" for x in (spread["median"], least, most))
    return f"{median} ({low}–{high})"


def lines(facts: Facts, width: int | None = None) -> list[str]:
    """Return the table, the advice and the doubts as lines of text."""
    rows = [columns(facts), *(cells(contender) for contender in facts["contenders"])]
    shown = table(rows, width)
    remarks = [remark(contender) for contender in facts["contenders"]]
    beside = [f"{line}  {note}".rstrip() for line, note in zip(shown, ["", *remarks], strict=False)]
    if len(shown) == len(rows) and (width is None or max(map(len, beside)) <= width):
        shown = beside
    else:
        named = zip(facts["contenders"], remarks, strict=True)
        shown += [f"{contender['name']}: {note}" for contender, note in named if note]
    text = [
        f"{title(facts)}: {what_was_run(facts)}",
        *([f"WARNING: {facts['warning']}"] if facts["warning"] else []),
        *([INTERRUPTED] if facts["interrupted"] else []),
        "",
        *shown,
        "",
        facts["recommendation"]["sentence"],
        *(f"note: {doubt}" for doubt in facts["recommendation"]["doubts"]),
    ]
    return [line for one in text for line in hanging(visible(one), width, 2)]


def title(facts: Facts) -> str:
    """Return the title: model and device."""
    model = facts["model"]
    precision = model["compute_dtype"]
    if model["quantisation"] != "none":
        precision += f", {model['quantisation']}"
    card = facts["machine"]["devices"].get(model["device"], "")
    where = model["device"] + (f" ({card})" if card else "")
    return f"{model['name']}, {precision}, on {where}"


def what_was_run(facts: Facts) -> str:
    """Return the numbers of problems, tokens and rounds as text."""
    tokens = facts["settings"]["sampling"]["max_new_tokens"]
    rounds = facts["settings"]["bench"]["rounds"]
    several = "" if rounds == 1 else "; median (smallest–largest)"
    return (
        f"{count(facts['problems']['count'], 'problem')}, at most {tokens:,} new tokens, "
        f"{count(rounds, 'round')}{several}"
    )
