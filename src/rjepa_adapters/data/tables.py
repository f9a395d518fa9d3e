"""The steps of a store as a table: Arrow, or pandas."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Any

import numpy as np

from rjepa_core import LatentRecord, LatentStore, RecordKey, WorldModel, score
from rjepa_core.plugins import given_store, given_world_model
from rjepa_core.ports.store import KeepsGrades
from rjepa_core.ports.views import keys_in, layer_of
from rjepa_core.ports.world_model import Context

from ..optional import import_optional

Location = str | os.PathLike[str]
_ROWS = 8192


def to_arrow(
    store: LatentStore | Location,
    *,
    keys: Iterable[RecordKey | str] | RecordKey | None = None,
    layer: int | None = None,
    latents: bool = False,
    world_model: WorldModel | Location | None = None,
) -> Any:
    """Return the steps of a store as a `pyarrow.Table`, one row per step.

    Columns: `key`, `problem_id`, `sample`, `domain`, `step` (from 0), `steps` (S), `text`,
    `tokens`, `thinking`, `truncated`, `answer` and `finish_reason` of the trace; `logprob` (mean of
    the step's tokens, in nats) if the store keeps it; `grade` if it has grades; `surprise` with a
    world model; `latent`, a list of D float32, with `latents`.

    Args:
        store: an open store, or its location; read in its order.
        keys: of the records, or their texts, or one alone; None for all.
        layer: of the latents, as an absolute index; None if the store holds one alone.
        latents: whether they are there, 4 × D bytes per step.
        world_model: of the store's latent space, or its location; adds each step's surprise.

    Raises:
        UsageError: pyarrow is not installed.
        KeyError: there is no such record.
        ArgumentError: the store holds no such layer, or an argument is of the wrong type.
        IdentityError: the world model is of another latent space.
    """
    pa = import_optional("pyarrow", "to_arrow", "data")
    with ExitStack() as stack:
        opened = stack.enter_context(given_store(store))
        if world_model is not None:
            world_model = stack.enter_context(given_world_model(world_model))
        return _table(pa, opened, keys, layer, latents, world_model)


def to_pandas(store: LatentStore | Location, **more: Any) -> Any:
    """Return the steps of a store as a `pandas.DataFrame`, one row per step.

    Args:
        store: an open store, or its location; read in its order.
        more: `keys`, `layer`, `latents` and `world_model`, as of `to_arrow`.

    Raises:
        UsageError: pandas or pyarrow is not installed.
        KeyError, ArgumentError, IdentityError: as `to_arrow`.
    """
    import_optional("pandas", "to_pandas", "data")
    return to_arrow(store, **more).to_pandas()


def _table(
    pa: Any,
    store: LatentStore,
    keys: Iterable[RecordKey | str] | RecordKey | None,
    layer: int | None,
    latents: bool,
    world_model: WorldModel | None,
) -> Any:
    if layer is not None:
        layer_of(store, layer)
    wanted = list(store.keys() if keys is None else keys_in(store, keys))
    identity = store.identity
    logprobs = identity is not None and identity.logprobs
    graded = isinstance(store, KeepsGrades) and next(store.grades(), None) is not None
    names = dict(_columns(pa))
    if logprobs:
        names["logprob"] = pa.float32()
    if graded:
        names["grade"] = pa.string()
    if world_model is not None:
        names["surprise"] = pa.float32()
    schema = pa.schema(list(names.items()))
    rows = _rows(store, wanted, world_model, graded)
    batches = []
    while part := _some(rows):
        batches.append(pa.RecordBatch.from_pylist(part, schema=schema))
    table = pa.Table.from_batches(batches, schema=schema)
    if latents:
        found = store.arrays(layer, wanted).latents if wanted else np.empty((0, 1), np.float32)
        flat = pa.array(np.ascontiguousarray(found).reshape(-1))
        column = pa.FixedSizeListArray.from_arrays(flat, found.shape[1])
        table = table.append_column("latent", column)
    return table


def _columns(pa: Any) -> Iterator[tuple[str, Any]]:
    text, whole, truth = pa.string(), pa.int64(), pa.bool_()
    yield from (("key", text), ("problem_id", text), ("sample", whole), ("domain", text))
    yield from (("step", whole), ("steps", whole), ("text", text), ("tokens", whole))
    yield from (("thinking", truth), ("truncated", truth))
    yield from (("answer", text), ("finish_reason", text))


def _rows(
    store: LatentStore, keys: list[RecordKey], world_model: WorldModel | None, graded: bool
) -> Iterator[dict[str, Any]]:
    scored = None if world_model is None else score(store, keys, world_model, Context.OTHERS)
    for key in keys:
        record = store.get(key)
        surprise = None if scored is None else next(scored).surprise.tolist()
        grade = store.grade(key) if graded and isinstance(store, KeepsGrades) else None
        for step, row in enumerate(_steps(record)):
            if record.logprobs is not None:
                row["logprob"] = float(record.logprobs[step])
            if surprise is not None:
                row["surprise"] = surprise[step]
            if grade is not None:
                row["grade"] = grade.mark
            yield row


def _steps(record: LatentRecord) -> Iterator[dict[str, Any]]:
    trace, count = record.trace, record.latents.shape[1]
    whole = {
        "key": _plain(str(record.key)),
        "problem_id": _plain(trace.problem.id),
        "sample": trace.sample,
        "domain": _plain(trace.problem.domain),
        "steps": count,
        "answer": None if trace.answer is None else _plain(trace.answer),
        "finish_reason": trace.finish_reason,
    }
    for step in range(count):
        row: dict[str, Any] = {**whole, "step": step}
        # What was imported may lack texts and spans.
        if trace.step_texts:
            row["text"] = _plain(trace.step_texts[step])
        if trace.spans:
            span = trace.spans[step]
            row |= {"tokens": len(span), "thinking": span.thinking, "truncated": span.truncated}
        yield row


def _plain(text: str) -> str:
    """Return a text without lone surrogates, which no table can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _some(rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return list(islice(rows, _ROWS))
