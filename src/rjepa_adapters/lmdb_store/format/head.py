"""The head of a record: its entry in the index, and how that is encoded."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import attrs
import numpy as np

from rjepa_core.settings import STORE_DTYPES

from .checksum import CHECKSUM_BYTES, MismatchError, checksum
from .vectors import vectors_size

# Another version needs another `metadata.VERSION`, by which older releases refuse the store; here
# they would report it as damaged.
HEAD_VERSION = 1
SEQUENCE = struct.Struct(">Q")
_DTYPE_CODES = {"float16": 1, "bfloat16": 2, "float32": 3}
_DTYPES = {code: STORE_DTYPES[name] for name, code in _DTYPE_CODES.items()}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}
_HAS_LOGPROBS = 1
_BODY = struct.Struct("<BBBxIIIIII16s16s16s")
_SMALLEST = SEQUENCE.size + _BODY.size


@attrs.frozen
class Head:
    """A record's entry in the index.

    Attributes:
        sequence: number under which the record's blocks are stored.
        dtype: of latents and prompt latent.
        logprobs: whether the block of vectors ends with log-probabilities.
        layers, steps, width: L, S, D.
        prompt_tokens, tokens: lengths of prompt and completion.
        statement_hash: of the problem.
        vectors_sum, texts_sum: checksums of key and block.
        full_id: the problem's id, if the key holds only its hash.
    """

    sequence: int
    dtype: np.dtype[Any]
    logprobs: bool
    layers: int
    steps: int
    width: int
    prompt_tokens: int
    tokens: int
    texts_bytes: int
    statement_hash: str
    vectors_sum: bytes
    texts_sum: bytes
    full_id: str | None = None

    def body(self) -> bytes:
        """Encode the head without sequence number and checksum: equal for equal records."""
        packed = _BODY.pack(
            HEAD_VERSION,
            _CODES[self.dtype],
            _HAS_LOGPROBS if self.logprobs else 0,
            self.layers,
            self.steps,
            self.width,
            self.prompt_tokens,
            self.tokens,
            self.texts_bytes,
            bytes.fromhex(self.statement_hash),
            self.vectors_sum,
            self.texts_sum,
        )
        if self.full_id is None:
            return packed
        return packed + self.full_id.encode("utf-8", "surrogatepass")

    @property
    def vectors_bytes(self) -> int:
        """Size of the block of vectors."""
        return vectors_size(self.layers, self.steps, self.width, self.dtype, self.logprobs)

    def digest(self, raw_key: bytes) -> int:
        """Return the record's share of the digest over all records."""
        return int.from_bytes(checksum(raw_key, self.body()), "little")


def encode_head(raw_key: bytes, head: Head, sequence: int) -> bytes:
    """Return the index's value for a record whose blocks are stored under `sequence`."""
    content = SEQUENCE.pack(sequence) + head.body()
    return content + checksum(raw_key, content)


def decode_head(raw_key: bytes, value: Any) -> Head:
    """Return the head in a value of the index.

    Raises:
        MismatchError: checksum or fields are wrong.
    """
    content, fields = _unpack(raw_key, value)
    _, dtype, flags, *numbers, statement, vectors_sum, texts_sum = fields
    layers, steps, width, prompt_tokens, tokens, texts_bytes = numbers
    tail = content[SEQUENCE.size + _BODY.size :]
    return Head(
        SEQUENCE.unpack_from(content)[0],
        _DTYPES[dtype],
        bool(flags & _HAS_LOGPROBS),
        layers,
        steps,
        width,
        prompt_tokens,
        tokens,
        texts_bytes,
        statement.hex(),
        vectors_sum,
        texts_sum,
        tail.decode("utf-8", "surrogatepass") if tail else None,
    )


class VectorBlock(NamedTuple):
    """Position and layout of a record's block of vectors; sorts in the order of blocks on disk.

    Attributes:
        number: its key in the table.
        dtype: of latents and prompt latent.
        layers, steps, width: L, S, D.
        size: in bytes.
        vectors_sum: checksum of key and block.
    """

    number: bytes
    dtype: np.dtype[Any]
    layers: int
    steps: int
    width: int
    size: int
    vectors_sum: bytes


def decode_block(raw_key: bytes, value: Any) -> VectorBlock:
    """Return the part of a head that reading vectors needs, without building the rest.

    Raises:
        MismatchError: checksum or fields are wrong.
    """
    content, fields = _unpack(raw_key, value)
    _, code, flags, layers, steps, width = fields[:6]
    dtype = _DTYPES[code]
    size = vectors_size(layers, steps, width, dtype, bool(flags & _HAS_LOGPROBS))
    return VectorBlock(content[: SEQUENCE.size], dtype, layers, steps, width, size, fields[-2])


def _unpack(raw_key: bytes, value: Any) -> tuple[bytes, tuple[Any, ...]]:
    """Return a head's checked content and the fields of its body."""
    value = bytes(value)
    content = value[:-CHECKSUM_BYTES]
    if len(content) < _SMALLEST or checksum(raw_key, content) != value[-CHECKSUM_BYTES:]:
        raise MismatchError("its entry in the index does not match its checksum")
    fields = _BODY.unpack_from(content, SEQUENCE.size)
    if fields[0] != HEAD_VERSION or fields[1] not in _DTYPES:
        raise MismatchError(f"its entry in the index has version {fields[0]} and dtype {fields[1]}")
    return content, fields
