"""Encode records and failures as rows of the template's store, and decode them."""

from __future__ import annotations

import json
import zlib
from typing import Any

import attrs
import numpy as np

from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.problem import Problem
from rjepa_core.domain.trace import Failure, RecordKey, StepSpan, Trace
from rjepa_core.errors import DamagedRecordError
from rjepa_core.settings import STORE_DTYPES

_ARRAYS = ("prompt_ids", "completion_ids")


def encode_record(record: LatentRecord) -> bytes:
    """Return a checksum, the length of a header, the header (JSON), and the raw arrays."""
    trace = {
        field.name: getattr(record.trace, field.name)
        for field in attrs.fields(Trace)
        if field.name not in _ARRAYS
    }
    trace["problem"] = attrs.asdict(record.trace.problem)
    trace["spans"] = [attrs.astuple(span) for span in record.trace.spans]
    trace["sample"] = int(record.trace.sample)
    arrays = {name: getattr(record.trace, name) for name in _ARRAYS}
    arrays |= {"latents": record.latents, "prompt_latent": record.prompt_latent}
    if record.logprobs is not None:
        arrays["logprobs"] = record.logprobs
    shapes = [[name, array.dtype.name, array.shape] for name, array in arrays.items()]
    # Lone surrogates, which UTF-8 cannot encode, are escaped by JSON.
    header = json.dumps([trace, shapes]).encode("ascii")
    body = b"".join(
        [len(header).to_bytes(4, "little"), header, *(a.tobytes() for a in arrays.values())]
    )
    return zlib.crc32(body).to_bytes(4, "little") + body


def decode_record(key: RecordKey, data: bytes) -> LatentRecord:
    """Return a record whose arrays are the caller's own.

    Raises:
        DamagedRecordError: it does not match its checksum.
    """
    body = data[4:]
    if zlib.crc32(body) != int.from_bytes(data[:4], "little"):
        raise DamagedRecordError(f"record {key} does not match its checksum")
    position = 4 + int.from_bytes(body[:4], "little")
    trace, shapes = json.loads(body[4:position])
    arrays: dict[str, Any] = {}
    for name, dtype, shape in shapes:
        kind = STORE_DTYPES[dtype] if dtype in STORE_DTYPES else np.dtype(dtype)
        count = int(np.prod(shape))
        array = np.frombuffer(body, kind, count, position).reshape(shape)
        arrays[name] = array.copy()
        position += array.nbytes
    ids = {name: arrays.pop(name) for name in _ARRAYS}
    trace["problem"] = Problem(**trace["problem"])
    trace["spans"] = tuple(StepSpan(*span) for span in trace["spans"])
    trace["statement_span"] = tuple(trace["statement_span"])
    trace["step_texts"] = tuple(trace["step_texts"])
    return LatentRecord(Trace(**trace, **ids), **arrays)


def encode_failure(failure: Failure) -> str:
    return json.dumps([failure.reason, failure.detail, failure.needed_bytes])


def decode_failure(key: RecordKey, statement: str, data: str) -> Failure:
    return Failure(key, statement, *json.loads(data))


def id_bytes(problem_id: str) -> bytes:
    """Return the bytes of any string, including NUL and lone surrogates."""
    return problem_id.encode("utf-8", "surrogatepass")


def key_of(problem_id: bytes, sample: int) -> RecordKey:
    return RecordKey(problem_id.decode("utf-8", "surrogatepass"), sample)
