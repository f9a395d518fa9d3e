"""A measurement as one HTML page with charts: no network, no script, fit to be printed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rjepa_core.benchmark.report import (
    INTERRUPTED,
    Facts,
    cells,
    columns,
    remark,
    title,
    what_was_run,
)
from rjepa_core.text import count, duration, rate, size

from .charts import Bar, bars, escaped, steps

Row = Mapping[str, Any]
_MOST_DECISIONS = 40
CSS = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --faint: #68707a;
  --rule: #d5d9de; --bar: #9fb1c7; --chosen: #1f5fbf; --bad: #b3261e; --loud: #fdecea; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --paper: #16191d; --faint: #99a1ab;
  --rule: #3a4048; --bar: #56677d; --chosen: #7aa7f0; --bad: #ff8a80; --loud: #3b1d1b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 780px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; line-height: 1.25; } h2 { font-size: 1.1em; margin-top: 2em; }
.advice { font-size: 1.1em; border-left: 4px solid var(--chosen); padding: .3em 0 .3em .8em; }
.loud { background: var(--loud); border: 2px solid var(--bad); padding: .6em .8em;
  font-weight: 600; }
.faint, figcaption { color: var(--faint); font-size: .9em; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .25em .5em; text-align: right; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
th { font-weight: 600; } th:first-child, td:first-child, .facts td { text-align: left; }
.audit td, .facts td:first-child { white-space: nowrap; } .bad { color: var(--bad); }
tr.chosen td { font-weight: 600; color: var(--chosen); }
figure { margin: 1em 0; break-inside: avoid; } svg { width: 100%; height: auto; }
svg text { font: 13px system-ui, sans-serif; fill: var(--ink); }
svg text.chosen { font-weight: 600; } svg text.bad { fill: var(--bad); }
.bar { fill: var(--bar); } .bar.chosen { fill: var(--chosen); }
.bar.bad { fill: none; stroke: var(--bad); stroke-dasharray: 4 3; }
.range { stroke: var(--ink); stroke-width: 1.5; fill: none; }
.axis { stroke: var(--faint); fill: none; } .grid { stroke: var(--rule); fill: none; }
.mark { stroke: var(--faint); stroke-dasharray: 3 3; fill: none; }
.line { stroke: var(--chosen); stroke-width: 2; fill: none; }
@media print { :root { --ink: #000; --paper: #fff; --faint: #555; --rule: #bbb; --bar: #9fb1c7;
  --chosen: #1f5fbf; --bad: #b3261e; --loud: #fff; } body { margin: 0; max-width: none;
  font-size: 11pt; } tr, h2 { break-inside: avoid; break-after: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def html(facts: Facts) -> str:
    """The whole page. It is well-formed XML, too, so that any tool can read it."""
    heading = f"How many rows at a time: {title(facts)}"
    body = [
        f"<h1>{escaped(heading)}</h1>",
        *_loud(facts),
        *([f'<p class="warning">{escaped(INTERRUPTED)}</p>'] if facts["interrupted"] else []),
        f'<p class="advice">{escaped(facts["recommendation"]["sentence"])}</p>',
        f'<p class="faint">{escaped(what_was_run(facts))}; {escaped(_when(facts))}</p>',
        _table(facts),
        *_doubts(facts),
        *_charts(facts),
        *_over_time(facts),
        *_rounds(facts),
        *_circumstances(facts),
        "<h2>How it was measured</h2>",
        *(f"<p>{escaped(text)}</p>" for text in _method(facts)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{escaped(heading)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _loud(facts: Facts) -> Iterator[str]:
    if facts["warning"]:
        yield f'<p class="loud">{escaped(facts["warning"])}.</p>'


def _table(facts: Facts) -> str:
    head = "".join(f"<th>{escaped(name)}</th>" for name in columns(facts))
    lines = []
    for one in facts["contenders"]:
        kind = ' class="chosen"' if _chosen(facts, one) else ""
        line = "".join(f"<td>{escaped(cell)}</td>" for cell in cells(one))
        lines.append(f"<tr{kind}>{line}</tr>")
        if remark(one):
            lines.append(
                f'<tr><td></td><td class="bad" colspan="{len(columns(facts)) - 1}">'
                f"{escaped(remark(one))}</td></tr>"
            )
    body = "".join(lines)
    return f'<table class="audit">\n<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody>\n</table>'


def _doubts(facts: Facts) -> Iterator[str]:
    if facts["recommendation"]["doubts"]:
        yield "<ul>"
        yield from (f"<li>{escaped(doubt)}</li>" for doubt in facts["recommendation"]["doubts"])
        yield "</ul>"


def _charts(facts: Facts) -> Iterator[str]:
    for key, caption in (
        ("seconds_per_problem", "Seconds a problem: shorter is better."),
        ("tokens_per_second", "Generated tokens a second: longer is better."),
    ):
        yield _figure(
            bars(caption, [_bar(facts, one, key) for one in facts["contenders"]]), caption
        )
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
        yield _figure(bars(caption, peaks), caption)


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


def _over_time(facts: Facts) -> Iterator[str]:
    """Rows and speed of the scheduler that decides, its rounds one behind the other."""
    for one in facts["contenders"]:
        if one["size"] is not None:
            continue
        ends, rows, speeds, marks, changes = _timeline(one["rounds"])
        if not ends:
            continue
        yield f"<h2>What {escaped(one['name'])} did</h2>"
        caption = f"Rows a batch over the {len(one['rounds'])} rounds (dashed: a round begins)."
        yield _figure(steps(caption, ends, rows, marks), caption)
        caption = "Tokens a second while generating each batch."
        yield _figure(steps(caption, ends, speeds, marks), caption)
        if changes:
            yield "<ul>"
            yield from (f"<li>{escaped(text)}</li>" for text in changes[:_MOST_DECISIONS])
            yield "</ul>"
            if len(changes) > _MOST_DECISIONS:
                yield f"<p>and {len(changes) - _MOST_DECISIONS} more, in the JSON file.</p>"


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
            change = f"{made['rows_before']} → {made['rows_after']} rows"
            when = f"round {one['number'] + 1}, {duration(made['at'])}"
            changes.append(f"{when}: {change}, {made['reason']}: {made['detail']}")
        before += one["seconds"]
    return ends, rows, speeds, marks, changes


def _rounds(facts: Facts) -> Iterator[str]:
    yield "<h2>Every round</h2>"
    head = ("rows", "round", "place in it", "seconds", "problems", "new tokens", "batches", "peak")
    body = [
        (
            one["name"],
            done["number"] + 1,
            done["place"] + 1,
            rate(done["seconds"]),
            done["problems"],
            f"{done['new_tokens']:,}",
            len(done["batches"]),
            "unknown" if done["peak_bytes"] is None else size(done["peak_bytes"]),
        )
        for one in facts["contenders"]
        for done in one["rounds"]
    ]
    yield _plain_table(head, body)


def _circumstances(facts: Facts) -> Iterator[str]:
    model, machine, settings = facts["model"], facts["machine"], facts["settings"]
    sampling, problems = settings["sampling"], settings["problems"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if v)
    layers = ", ".join(map(str, settings["encoding"]["layers"]))
    yield "<h2>Model, problems, machine</h2>"
    yield _plain_table(
        (),
        [
            ("model", f"{model['name']}, {model['content']}"),
            ("quantisation", f"{model['quantisation']}, computing in {model['compute_dtype']}"),
            *((topic, text) for topic, text in model["notes"].items()),
            ("layers kept", f"{layers} of {model['hidden_states']} hidden states"),
            ("problems", f"{facts['problems']['count']} of {', '.join(problems['sources'])}"),
            (
                "sampling",
                f"at most {sampling['max_new_tokens']} new tokens, temperature "
                f"{sampling['temperature']:g}, seed {sampling['seed']}",
            ),
            ("device", f"{model['device']} {machine['devices'].get(model['device'], '')}"),
            ("machine", f"{machine['cpus']} CPUs, {machine['threads']} threads"),
            ("platform", machine["platform"]),
            ("versions", f"Python {machine['python']}, {versions}"),
        ],
    )


def _plain_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    titles = "".join(f"<th>{escaped(name)}</th>" for name in head)
    top = f"<thead><tr>{titles}</tr></thead>\n" if head else ""
    lines = ("".join(f"<td>{escaped(cell)}</td>" for cell in row) for row in rows)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    kind = "" if head else ' class="facts"'
    return f"<table{kind}>\n{top}<tbody>{body}</tbody>\n</table>"


def _method(facts: Facts) -> Iterator[str]:
    rounds = facts["settings"]["bench"]["rounds"]
    yield (
        "Each line of the table ran over the same problems with the same seed: completions were "
        "generated, cut into steps, and the steps encoded; nothing was stored. Everything ran "
        f"once a round, in {rounds} round{'s' if rounds > 1 else ''}, in a shuffled order that "
        "the next round turns round. Each size was used for a few tokens before the first round. "
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
                + f". Its last batches had {one['last_rows']} rows."
            )


def _when(facts: Facts) -> str:
    return datetime.fromisoformat(facts["started"]).strftime("%Y-%m-%d %H:%M %Z")


def _label(one: Row) -> str:
    return one["name"] if one["size"] is None else count(one["size"], "row")


def _figure(svg: str, caption: str) -> str:
    return f"<figure>\n{svg}\n<figcaption>{escaped(caption)}</figcaption>\n</figure>"


def _chosen(facts: Facts, one: Row) -> bool:
    return one["name"] == facts["recommendation"]["name"]
