"""Convert a record's trace to a row of a Parquet or Arrow table, and back."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.problem import DEFAULT_DOMAIN, Problem
from rjepa_core.domain.trace import RecordKey, StepSpan, Trace

from ..trace_block import decode_trace, encode_trace

# Replaces a statement that imported shards lack.
NO_STATEMENT = "(the imported shards hold no statement)"
_AMBIGUOUS = re.compile(r"(#\d+|/prompt|/logprobs|^__metadata__)$")


def tensor_name(key: RecordKey) -> str:
    """Return the name of a record's tensors: the id, followed by `#SAMPLE` if necessary."""
    if _without_surrogates(key.problem_id) != key.problem_id:
        raw = key.problem_id.encode("utf-8", "surrogatepass")
        return f"sha256-{hashlib.sha256(raw).hexdigest()}#{key.sample}"
    if key.sample or _AMBIGUOUS.search(key.problem_id):
        return f"{key.problem_id}#{key.sample}"
    return key.problem_id


def to_row(record: LatentRecord) -> dict[str, Any]:
    """Return a record without its vectors, as values for Arrow."""
    trace = record.trace
    problem = trace.problem
    row: dict[str, Any] = {
        "cot_id": tensor_name(record.key),
        "problem_id": problem.id,
        "domain": problem.domain,
        "subdomain": problem.subdomain,
        "num_steps": record.latents.shape[1],
        "hidden_size": record.latents.shape[2],
        "sample": trace.sample,
        "statement": problem.statement,
        "problem_answer": problem.answer,
        "problem_metadata": json.dumps(dict(problem.metadata), sort_keys=True),
        "prompt_text": trace.prompt_text,
        "prompt_ids": trace.prompt_ids.tolist(),
        "statement_span": list(trace.statement_span),
        "completion": trace.completion,
        "completion_ids": trace.completion_ids.tolist(),
        "span_starts": [span.start for span in trace.spans],
        "span_stops": [span.stop for span in trace.spans],
        "truncated": bool(trace.spans and trace.spans[-1].truncated),
        "steps": list(trace.step_texts),
        "thinking": [span.thinking for span in trace.spans],
        "answer": trace.answer,
        "strategy": trace.strategy,
        "finish_reason": trace.finish_reason,
        "metadata": json.dumps(dict(trace.metadata), sort_keys=True),
        "exact": None,
    }
    plain = {name: _without_surrogates(value) for name, value in row.items()}
    if plain != row or [s.truncated for s in trace.spans[:-1]].count(True):
        # A lone surrogate is text in Python but in no file format, so the bytes are kept as well.
        plain["exact"] = encode_trace(trace)
    return plain


def from_row(row: Mapping[str, Any], problem: Problem | None, where: str) -> Trace:
    """Return the trace of a row; fields that the shards lack stay empty.

    Args:
        problem: with the row's problem id, for shards without statements.
        where: for the note in the metadata of an incomplete trace.
    """
    if row.get("exact"):
        return decode_trace(row["exact"])
    whole = row.get("completion_ids") is not None
    statement = row.get("statement")
    if problem is None or statement:
        problem = Problem(
            row["problem_id"],
            statement or NO_STATEMENT,
            row.get("domain") or DEFAULT_DOMAIN,
            row.get("subdomain"),
            row.get("problem_answer"),
            json.loads(row.get("problem_metadata") or "{}"),
        )
    starts, stops = row.get("span_starts") or [], row.get("span_stops") or []
    thinking = {i for i, thought in enumerate(row.get("thinking") or ()) if thought}
    last = len(starts) - 1
    metadata = json.loads(row.get("metadata") or "{}")
    span = row.get("statement_span") or (0, 0)
    return Trace(
        problem=problem,
        sample=row.get("sample") or 0,
        prompt_text=row.get("prompt_text") or "",
        prompt_ids=np.asarray(row.get("prompt_ids") or [], np.int32),
        statement_span=(span[0], span[1]),
        completion=row.get("completion") or "",
        completion_ids=np.asarray(row.get("completion_ids") or [], np.int32),
        spans=tuple(
            StepSpan(a, b, i == last and bool(row.get("truncated")), i in thinking)
            for i, (a, b) in enumerate(zip(starts, stops, strict=True))
        ),
        step_texts=tuple(row.get("steps") or ()),
        answer=row.get("answer"),
        strategy=row.get("strategy") or "given",
        finish_reason=row.get("finish_reason") or "given",
        metadata=metadata if whole else {**metadata, "imported": f"{where}, without token ids"},
    )


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list) and value and isinstance(value[0], str):
        return [_without_surrogates(item) for item in value]
    return value


def arrow_schema(pa: Any) -> Any:
    """Return the columns of the table, given the module pyarrow."""
    text, number = pa.string(), pa.int64()
    columns = {
        "cot_id": text,
        "problem_id": text,
        "domain": text,
        "subdomain": text,
        "num_steps": number,
        "hidden_size": number,
        "sample": number,
        "statement": text,
        "problem_answer": text,
        "problem_metadata": text,
        "prompt_text": text,
        "prompt_ids": pa.list_(pa.int32()),
        "statement_span": pa.list_(pa.int32()),
        "completion": text,
        "completion_ids": pa.list_(pa.int32()),
        "span_starts": pa.list_(pa.int32()),
        "span_stops": pa.list_(pa.int32()),
        "truncated": pa.bool_(),
        "steps": pa.list_(text),
        "thinking": pa.list_(pa.bool_()),
        "answer": text,
        "strategy": text,
        "finish_reason": text,
        "metadata": text,
        "exact": pa.binary(),
    }
    return pa.schema(list(columns.items()))
