"""`rjepa-cli show`: what a store holds, or one of its records."""

from __future__ import annotations

import itertools
from typing import Any

import click

from rjepa_core.domain.trace import Failure, RecordKey, key_named
from rjepa_core.errors import InputError, UsageError
from rjepa_core.extraction.history import BEGIN, KIND
from rjepa_core.grading import summarise, summary_facts, summary_lines
from rjepa_core.plugins import open_store
from rjepa_core.ports.store import LatentStore
from rjepa_core.stores import EMPTY_ID, ambiguous, near_ids
from rjepa_core.text import count, hanging, size

from .. import completion
from ..console import Screen, short_name
from ..help import GroupedCommand
from ..views.history import history_view, run_lines
from ..views.record import add_scores, record_facts, record_lines
from .store.named_identity import MARK

# With more records than this, domains are taken from the run history rather than counted.
_COUNT_DOMAINS_UP_TO = 1000
_IDS_SHOWN = 5
# Where the texts begin beside their names.
_INDENT, _RECORD_INDENT = 12, 9
_LARGEST_GAP_SEARCHED = 1000
Facts = dict[str, Any]

_GROUPS = {
    "What is shown": ["--failures", "--history", "--world-model", "--limit"],
}
EPILOG = """\b
Examples:
  rjepa-cli show runs/demo
  rjepa-cli show runs/demo --limit 20
  rjepa-cli show runs/demo gsm8k-17      (a problem: its prompt, steps, norms)
  rjepa-cli show runs/demo gsm8k-17#2    (its sample 2)
  rjepa-cli show runs/demo gsm8k-17 --world-model runs/wm
                                         (how surprising each step is)
  rjepa-cli show runs/demo --failures
  rjepa-cli show runs/demo --history     (runs, and changes of batch size)
  rjepa-cli show runs/demo --json

\b
hf:USER/NAME stands for a store, or a world model, on the Hugging Face Hub.
"""


@click.command("show", cls=GroupedCommand, groups=_GROUPS, epilog=EPILOG)
@click.argument("store", metavar="STORE", shell_complete=completion.stores)
@click.argument("id", metavar="[ID]", required=False, shell_complete=completion.ids)
@click.option("--failures", is_flag=True, help="List what failed, with reasons.")
@click.option("--history", is_flag=True, help="Show each run: when, what, and rows over time.")
@click.option(
    "--world-model",
    metavar="RUN",
    help="With an ID: the surprise of each of its steps to this trained world model, and with a "
    "verifier how probably it is wrong.",
    shell_complete=completion.runs,
)
@click.option("--limit", type=click.IntRange(min=0), help="How many to list.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
def command(
    store: str,
    id: str | None,
    failures: bool,
    history: bool,
    world_model: str | None,
    limit: int | None,
    as_json: bool,
) -> int:
    """Show what a store holds: problems, records, steps, identity, runs.

    With an ID, show that record: its prompt, and its steps with text, span and norms. An ID is a
    problem's; ID#N is its sample N. If a store has both a problem a#1 and a sample 1 of a, a#1#0
    names the former and a#01 the latter.
    """
    screen = Screen(only_output=True)
    indent = _INDENT
    with screen:
        if world_model is not None and screen.animated:
            screen.busy(f"loading {world_model}")
        opened = open_store(store)
        try:
            if id is not None:
                facts, lines = _record(opened, id, world_model)
                indent = _RECORD_INDENT
            elif world_model is not None:
                raise UsageError("--world-model: name a record, too: show STORE ID --world-model …")
            elif history:
                facts, lines = history_view(opened, limit, screen.width)
            elif failures:
                facts, lines = _failures(opened, limit)
            else:
                facts, lines = _overview(opened, limit)
        finally:
            opened.close()
    if as_json:
        screen.json(facts)
    else:
        fitted = (part for line in lines for part in hanging(line, screen.width, indent))
        screen.result(*fitted)
    return 0


def _overview(store: LatentStore, limit: int | None) -> tuple[Facts, list[str]]:
    stats, identity, history = store.stats(), store.identity, store.history()
    domains, note = _domains(store, history)
    ended = {run["started"] for run in history if run.get("kind") == "extract"}
    records: list[Facts] = [
        {"id": str(key), "steps": entry.steps, "tokens": entry.tokens}
        for key, entry in itertools.islice(store.entries(), _IDS_SHOWN if limit is None else limit)
    ]
    facts: Facts = {
        "store": store.location,
        "problems": stats.problems,
        "records": stats.records,
        "failures": stats.failures,
        "steps": stats.steps,
        "tokens": stats.tokens,
        "bytes": stats.bytes_on_disk,
        "domains": domains,
        "identity_named_at_import": bool(identity and identity.labels.get("identity") == MARK),
        "identity": identity.to_json() if identity else None,
        "latent_space": identity.space.fingerprint if identity else None,
        "history": [entry for entry in history if not _shown_elsewhere(entry, ended)],
        "first": records,
    }
    grades = summarise(store)
    if grades is not None:
        facts["grades"] = summary_facts(grades)
    each = f", {size(stats.bytes_on_disk / stats.records)} per record" if stats.records else ""
    lines = [
        f"store       {store.location}: {size(stats.bytes_on_disk)}{each}",
        f"problems    {stats.problems:,}"
        + (f" ({', '.join(f'{k} {v:,}' for k, v in domains.items())}{note})" if domains else ""),
        f"records     {stats.records:,}, {count(stats.steps, 'step')}, "
        + (
            f"{count(stats.tokens, 'token')}"
            if stats.tokens or not stats.records
            else "imported without token ids: they cannot be encoded again"
        ),
        f"failures    {stats.failures:,}" + ("; see --failures" if stats.failures else ""),
        *(summary_lines(grades) if grades is not None else ()),
        *_identity_lines(facts["identity"], facts["latent_space"]),
        *run_lines(history),
    ]
    for i, record in enumerate(records):
        head = "first       " if i == 0 else "            "
        lines.append(
            f"{head}{short_name(record['id'])}: {count(record['steps'], 'step')}, "
            f"{count(record['tokens'], 'token')}"
        )
    return facts, lines


def _shown_elsewhere(entry: Facts, ended: set[str]) -> bool:
    """Return whether an entry is a journal, which `--history` shows, or the start of a run whose
    end repeats it."""
    return entry.get("kind") == KIND or (entry.get("kind") == BEGIN and entry["started"] in ended)


def _domains(store: LatentStore, history: list[dict[str, Any]]) -> tuple[dict[str, int], str]:
    if len(store) > _COUNT_DOMAINS_UP_TO:
        asked = [run["asked"]["domains"] for run in history if "asked" in run]
        return (max(asked, key=lambda d: sum(d.values())), " asked for") if asked else ({}, "")
    by_domain: dict[str, set[str]] = {}
    with store.snapshot() as snapshot:
        for key in snapshot.keys():  # noqa: SIM118  a snapshot is not a mapping
            domain = snapshot.get(key).trace.problem.domain
            by_domain.setdefault(domain, set()).add(key.problem_id)
    return {domain: len(ids) for domain, ids in sorted(by_domain.items())}, ""


def _identity_lines(identity: Facts | None, fingerprint: str | None) -> list[str]:
    if identity is None:
        return ["identity    none yet: no run has opened it with a model"]
    space, generation = identity["space"], identity["generation"]
    name = identity["labels"].get("model", "")
    layers = ", ".join(map(str, space["layers"]))
    drawn = ", ".join(
        f"{key} {value}"
        for key, value in generation.items()
        if key not in ("kind", "stop") and value is not None and value is not False
    )
    drawn += "".join(f", stop {text!r}" for text in generation.get("stop", ()))
    prompt = space["prompt"]
    extras = [f"templates {', '.join(prompt['templates']) or 'unknown'}"]
    extras += [f"system {prompt['system']!r}"] if prompt["system"] else []
    extras += ["thinking"] if prompt["thinking"] else []
    extras += [f"of {prompt['date']}"] if "date" in prompt else []
    marked = identity["labels"].get("identity")
    return [
        *([f"identity    {marked}, not read from a model"] if marked else []),
        f"model       {name} ({space['compute_dtype']}, quantisation {space['quantisation']})",
        f"content     {space['model']}; tokenizer {space.get('tokenizer', 'unknown')}",
        f"latents     layers {layers}, {space['pooling']} pooling, D {space['hidden_size']}, "
        f"{space['store_dtype']}" + (", log-probabilities" if identity["logprobs"] else ""),
        f"steps       {space['steps']}",
        f"prompt      {', '.join(extras)}",
        f"generation  {generation['kind']}" + (f": {drawn}" if drawn else ""),
        f"space       {fingerprint}",
    ]


def _failures(store: LatentStore, limit: int | None) -> tuple[Facts, list[str]]:
    listed: list[Facts] = []
    reasons: dict[str, int] = {}
    for failure in store.failures():
        reasons[failure.reason] = reasons.get(failure.reason, 0) + 1
        if limit is None or len(listed) < limit:
            listed.append(_failure_facts(failure))
    facts = {"store": store.location, "reasons": reasons, "failures": listed}
    if not reasons:
        return facts, ["no failures"]
    lines = [f"{n:,} {reason}" for reason, n in sorted(reasons.items(), key=lambda i: -i[1])]
    lines += [_failure_line(failure) for failure in listed]
    return facts, lines


def _failure_line(failure: Facts) -> str:
    needed = failure["needed_bytes"]
    tail = f" (at least {size(needed)} of memory are needed)" if needed else ""
    return f"{short_name(failure['id'])}: {failure['reason']}: {failure['detail']}{tail}"


def _failure_facts(failure: Failure) -> Facts:
    return {
        "id": str(failure.key),
        "reason": failure.reason,
        "detail": failure.detail,
        "needed_bytes": failure.needed_bytes,
    }


def _record(store: LatentStore, text: str, world_model: str | None) -> tuple[Facts, list[str]]:
    key = _find(store, text)
    if (entry := store.entry(key)) is not None and entry.failed:
        failure = next(f for f in store.failures() if f.key == key)
        return _failure_facts(failure), [f"{key} failed: {failure.reason}: {failure.detail}"]
    record = store.get(key)
    facts = record_facts(record, store)
    facts["other_samples"] = [str(other) for other in _samples(store, key)]
    if world_model is not None:
        add_scores(facts, store, key, world_model)
    return facts, record_lines(facts)


def _find(store: LatentStore, text: str) -> RecordKey:
    """Return the key that an ID names: a problem's first sample, or `ID#SAMPLE`; cf. `select`."""
    if not text:
        raise InputError(f"{EMPTY_ID}, or leave it out to see what {store.location} holds")
    first, sample = RecordKey(text), key_named(text)
    others = list(_samples(store, first))
    has_first = store.entry(first) is not None
    if sample is not None and store.entry(sample) is not None:
        if has_first or others:
            raise ambiguous(store, text, [first, *others] if has_first else others, sample)
        return sample
    if has_first:
        return first
    if others := others or (list(_samples(store, sample)) if sample is not None else []):
        raise InputError(
            f"{text} is not in {store.location}; there is {', '.join(map(short_name, others))}"
        )
    raise InputError(f"{text} is not in {store.location}{near_ids(store, text)}")


def _samples(store: LatentStore, key: RecordKey) -> list[RecordKey]:
    """Return the other samples of the key's problem; there are few gaps in their numbers."""
    samples = []
    for sample in itertools.count():
        other = RecordKey(key.problem_id, sample)
        if store.entry(other) is not None:
            if other != key:
                samples.append(other)
        elif sample > min(key.sample, _LARGEST_GAP_SEARCHED):
            return samples
    raise AssertionError("unreachable")
