"""The trace block: a trace as bytes, in LMDB stores and shards; the reference lists its fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from rjepa_core.domain.problem import Problem
from rjepa_core.domain.trace import StepSpan, Trace

_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def encode_trace(trace: Trace) -> bytes:
    """Return the length of the JSON part, the JSON part, prompt ids, completion ids and spans."""
    problem = trace.problem
    fields: dict[str, Any] = {
        "id": problem.id,
        "sample": int(trace.sample),
        "statement": problem.statement,
        "domain": problem.domain,
        "subdomain": problem.subdomain,
        "problem_answer": problem.answer,
        "problem_metadata": dict(problem.metadata),
        "prompt_text": trace.prompt_text,
        "statement_span": list(trace.statement_span),
        "completion": trace.completion,
        "steps": _step_ranges(trace),
        "answer": trace.answer,
        "strategy": trace.strategy,
        "finish_reason": trace.finish_reason,
        "metadata": dict(trace.metadata),
        "lengths": [len(trace.prompt_ids), len(trace.completion_ids), len(trace.spans)],
    }
    if thinking := [i for i, span in enumerate(trace.spans) if span.thinking]:
        fields["thinking"] = thinking
    encoded = _JSON.encode(fields).encode("utf-8", "surrogatepass")
    spans = [(s.start, s.stop, int(s.truncated)) for s in trace.spans]
    return b"".join(
        (
            len(encoded).to_bytes(4, "little"),
            encoded,
            np.asarray(trace.prompt_ids, dtype="<i4").tobytes(),
            np.asarray(trace.completion_ids, dtype="<i4").tobytes(),
            np.asarray(spans, dtype="<i4").reshape(-1, 3).tobytes(),
        )
    )


def _step_ranges(trace: Trace) -> list[Any]:
    """Return each step as a range of the completion's characters, or its text if it is none."""
    ranges: list[Any] = []
    position = 0
    for text in trace.step_texts:
        start = trace.completion.find(text, position)
        if start < 0:
            ranges.append(text)
            continue
        position = start + len(text)
        ranges.append([start, position])
    return ranges


def decode_trace(block: Any) -> Trace:
    """Return the trace in a block; its arrays are the caller's.

    Raises:
        ValueError: the block is invalid.
    """
    raw = bytes(block)
    try:
        size = int.from_bytes(raw[:4], "little")
        fields: Mapping[str, Any] = json.loads(raw[4 : 4 + size].decode("utf-8", "surrogatepass"))
        prompt, completion, spans = fields["lengths"]
        numbers = np.frombuffer(raw, "<i4", prompt + completion + 3 * spans, 4 + size)
    except (ValueError, KeyError) as error:
        raise ValueError("its texts cannot be read") from error
    ends = numbers[prompt + completion :].reshape(spans, 3)
    text = fields["completion"]
    thinking = frozenset(fields.get("thinking", ()))
    return Trace(
        problem=Problem(
            fields["id"],
            fields["statement"],
            fields["domain"],
            fields["subdomain"],
            fields["problem_answer"],
            fields["problem_metadata"],
        ),
        sample=fields["sample"],
        prompt_text=fields["prompt_text"],
        prompt_ids=numbers[:prompt].astype(np.int32),
        statement_span=(fields["statement_span"][0], fields["statement_span"][1]),
        completion=text,
        completion_ids=numbers[prompt : prompt + completion].astype(np.int32),
        spans=tuple(
            StepSpan(int(a), int(b), bool(c), i in thinking) for i, (a, b, c) in enumerate(ends)
        ),
        step_texts=tuple(s if isinstance(s, str) else text[s[0] : s[1]] for s in fields["steps"]),
        answer=fields["answer"],
        strategy=fields["strategy"],
        finish_reason=fields["finish_reason"],
        metadata=fields["metadata"],
    )
