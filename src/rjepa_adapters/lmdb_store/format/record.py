"""Encode and decode keys and records; the reference describes them field by field.

A record is three values: a head in the index, a block of vectors and a block of texts. The head
carries a checksum of each block and one of itself. Each covers the key as well, so that a damaged,
swapped or stale part is never taken for the record's own.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from rjepa_core.domain.latents import LatentRecord, Vectors
from rjepa_core.domain.trace import RecordKey, Trace, check_key

from ...trace_block import decode_trace, encode_trace
from .checksum import CHECKSUM_BYTES, MismatchError, checksum
from .head import SEQUENCE, Head
from .vectors import encode_vectors, view_latents, view_logprobs

_SAMPLE = struct.Struct(">I")
# LMDB keys hold 511 bytes; an id that does not fit, or contains a NUL, is replaced by its hash
# after a byte that no UTF-8 text starts with.
LONGEST_KEY = 511
_LONGEST_ID = 480
_HASHED = b"\xff"


def encode_id(problem_id: str) -> bytes:
    """Return the prefix of all keys of a problem."""
    raw = problem_id.encode("utf-8", "surrogatepass")
    if len(raw) > _LONGEST_ID or b"\0" in raw:
        raw = _HASHED + hashlib.sha256(raw).digest()
        return raw + b"\0"
    return raw + b"\0"


def encode_key(key: RecordKey) -> bytes:
    """Return the key in the index and failures tables: the id, a NUL and the big-endian sample.

    Raises:
        ArgumentError: `key` is not a valid key.
    """
    try:
        return encode_id(key.problem_id) + _SAMPLE.pack(key.sample)
    except (AttributeError, TypeError, struct.error):
        # Checked only on failure, because a training run encodes a key for every record it reads.
        check_key(key)
        raise


def decode_key(raw: bytes, full_id: str | None = None) -> RecordKey:
    """Return the key in `raw`; `full_id` is needed if `raw` holds only the id's hash."""
    sample = _SAMPLE.unpack(raw[-4:])[0]
    if full_id is None:
        full_id = raw[:-5].decode("utf-8", "surrogatepass")
    return RecordKey(full_id, sample)


def is_hashed(raw: bytes) -> bool:
    """Return whether the key holds a hash instead of the id."""
    return raw[:1] == _HASHED


def encode_sequence(number: int) -> bytes:
    """Return the key of a record's blocks: big-endian, so that they are stored in writing order."""
    return SEQUENCE.pack(number)


def encode_place(number: bytes, raw_key: bytes) -> bytes:
    """Return the order table's value for a record: a checksum and the record's key."""
    return checksum(number, raw_key) + raw_key


def decode_place(number: Any, value: Any) -> bytes:
    """Return the record's key in a value of the order table.

    Raises:
        MismatchError: the checksum differs.
    """
    value = bytes(value)
    found, raw_key = value[:CHECKSUM_BYTES], value[CHECKSUM_BYTES:]
    if checksum(bytes(number), raw_key) != found:
        raise MismatchError("its place in the order does not match its checksum")
    return raw_key


def decode_sequence(raw: Any) -> int:
    """Return the number in the key of a block."""
    return int(SEQUENCE.unpack(raw)[0])


def name_key(raw_key: bytes, head: Head | None = None) -> str:
    """Return a readable key; hexadecimal if it holds a hash and no head gives the id."""
    if head is not None:
        return str(decode_key(raw_key, head.full_id))
    if is_hashed(raw_key) or len(raw_key) < 5:
        return raw_key.hex()
    return str(decode_key(raw_key, raw_key[:-5].decode("utf-8", "replace")))


def name_entry(raw_key: bytes) -> str:
    """Return a readable name of an entry of the run history."""
    number = str(decode_sequence(raw_key)) if len(raw_key) == 8 else raw_key.hex()
    return f"entry {number} of the run history"


@attrs.frozen
class EncodedRecord:
    """A record in the bytes that are stored, without its sequence number."""

    key: RecordKey
    raw_key: bytes
    head: Head
    vectors: bytes
    texts: bytes


def encode_record(record: LatentRecord) -> EncodedRecord:
    """Encode a record; the bytes share no memory with the caller's arrays."""
    key = record.key
    raw_key = encode_key(key)
    vectors = encode_vectors(record)
    texts = encode_trace(record.trace)
    layers, steps, width = record.latents.shape
    head = Head(
        0,
        record.latents.dtype,
        record.logprobs is not None,
        layers,
        steps,
        width,
        len(record.trace.prompt_ids),
        len(record.trace.completion_ids),
        len(texts),
        record.trace.problem.statement_hash,
        checksum(raw_key, vectors),
        checksum(raw_key, texts),
        key.problem_id if is_hashed(raw_key) else None,
    )
    return EncodedRecord(key, raw_key, head, vectors, texts)


def check_block(raw_key: bytes, block: Any, expected: bytes, size: int, what: str) -> None:
    """Check a block against the size and checksum in its head.

    Raises:
        MismatchError: one of them differs.
    """
    if len(block) != size or checksum(raw_key, block) != expected:
        raise MismatchError(f"its {what} do not match their checksum")


def view_vectors(head: Head, block: Any) -> tuple[Vectors, Vectors, NDArray[np.float32] | None]:
    """Return views of latents [L, S, D], prompt latent [L, D] and log-probabilities [S]."""
    shape = (head.layers, head.steps, head.width, head.dtype)
    latents, prompt = view_latents(block, *shape)
    return latents, prompt, view_logprobs(block, *shape) if head.logprobs else None


def decode_texts(block: Any) -> Trace:
    """Return the trace in a block of texts.

    Raises:
        MismatchError: it cannot be read.
    """
    try:
        return decode_trace(block)
    except ValueError as error:
        raise MismatchError(str(error)) from error
