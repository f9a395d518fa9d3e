"""How keys and records become bytes. Described field by field in the reference.

A record is three values: a head in the index, a block of vectors and a block of texts. The head
carries a checksum of each block and one of itself, all of them over the key as well, so that a
damaged, swapped or stale part never passes for the record's own.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from rjepa_core.latents import STORE_DTYPES, LatentRecord, Vectors
from rjepa_core.traces import RecordKey

from .checksums import CHECKSUM_BYTES, MismatchError, checksum
from .texts import encode_texts

HEAD_VERSION = 1
_DTYPE_CODES = {"float16": 1, "bfloat16": 2, "float32": 3}
_DTYPES = {code: STORE_DTYPES[name] for name, code in _DTYPE_CODES.items()}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}
_HAS_LOGPROBS = 1
_BODY = struct.Struct("<BBBxIIIIII16s16s16s")
_SEQUENCE = struct.Struct(">Q")
_SAMPLE = struct.Struct(">I")
# LMDB keys hold 511 bytes; an id that does not fit, or has a NUL in it, is replaced by its hash
# behind a byte that no UTF-8 text starts with.
LONGEST_KEY = 511
_LONGEST_ID = 480
_HASHED = b"\xff"


def encode_id(problem_id: str) -> bytes:
    """Prefix of all keys of a problem."""
    raw = problem_id.encode("utf-8", "surrogatepass")
    if len(raw) > _LONGEST_ID or b"\0" in raw:
        raw = _HASHED + hashlib.sha256(raw).digest()
        return raw + b"\0"
    return raw + b"\0"


def encode_key(key: RecordKey) -> bytes:
    """Key in the index and among the failures: the id, a NUL and the sample, big-endian."""
    return encode_id(key.problem_id) + _SAMPLE.pack(key.sample)


def decode_key(raw: bytes, full_id: str | None = None) -> RecordKey:
    """The key, given the full id where `raw` holds only its hash."""
    sample = _SAMPLE.unpack(raw[-4:])[0]
    if full_id is None:
        full_id = raw[:-5].decode("utf-8", "surrogatepass")
    return RecordKey(full_id, sample)


def is_hashed(raw: bytes) -> bool:
    """Whether the key holds a hash in place of the id."""
    return raw[:1] == _HASHED


def encode_sequence(number: int) -> bytes:
    """Key of a record's blocks: big-endian, so that the order on disk is that of writing."""
    return _SEQUENCE.pack(number)


def encode_place(number: bytes, raw_key: bytes) -> bytes:
    """Value in the table of order: the key behind a checksum."""
    return checksum(number, raw_key) + raw_key


def decode_place(number: Any, value: Any) -> bytes:
    """Inverse of `encode_place`.

    Raises:
        MismatchError: the checksum differs.
    """
    value = bytes(value)
    found, raw_key = value[:CHECKSUM_BYTES], value[CHECKSUM_BYTES:]
    if checksum(bytes(number), raw_key) != found:
        raise MismatchError("its place in the order does not match its checksum")
    return raw_key


def decode_sequence(raw: Any) -> int:
    return int(_SEQUENCE.unpack(raw)[0])


@attrs.frozen
class Head:
    """What the index keeps of a record.

    Attributes:
        sequence: number under which its blocks are kept.
        dtype: of latents and prompt latent.
        logprobs: whether the block of vectors ends with log-probabilities.
        layers, steps, width: L, S, D.
        prompt_tokens, tokens: lengths of prompt and completion.
        statement_hash: of the problem.
        vectors_sum, texts_sum: checksums of key and block.
        full_id: the problem's id, where the key holds only its hash.
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
        """The head without sequence number and checksum: equal for equal records."""
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
        values = self.layers * self.width * (self.steps + 1)
        return values * self.dtype.itemsize + (4 * self.steps if self.logprobs else 0)

    def digest(self, raw_key: bytes) -> int:
        """What the record adds to the digest of all records."""
        return int.from_bytes(checksum(raw_key, self.body()), "little")


def encode_head(raw_key: bytes, head: Head, sequence: int) -> bytes:
    """Value in the index of a record that is stored under the number `sequence`."""
    content = _SEQUENCE.pack(sequence) + head.body()
    return content + checksum(raw_key, content)


def decode_head(raw_key: bytes, value: Any) -> Head:
    """Inverse of `encode_head`.

    Raises:
        MismatchError: checksum or fields are wrong.
    """
    value = bytes(value)
    content, found = value[:-CHECKSUM_BYTES], value[-CHECKSUM_BYTES:]
    if len(content) < _SEQUENCE.size + _BODY.size or checksum(raw_key, content) != found:
        raise MismatchError("its entry in the index does not match its checksum")
    version, dtype, flags, *numbers, statement, vectors_sum, texts_sum = _BODY.unpack_from(
        content, _SEQUENCE.size
    )
    if version != HEAD_VERSION or dtype not in _DTYPES:
        raise MismatchError(f"its entry in the index has version {version} and dtype {dtype}")
    layers, steps, width, prompt_tokens, tokens, texts_bytes = numbers
    tail = content[_SEQUENCE.size + _BODY.size :]
    return Head(
        decode_sequence(content[: _SEQUENCE.size]),
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


def name_key(raw_key: bytes, head: Head | None = None) -> str:
    """A key for people; hexadecimal where it holds a hash and no head tells the id."""
    if head is not None:
        return str(decode_key(raw_key, head.full_id))
    if is_hashed(raw_key) or len(raw_key) < 5:
        return raw_key.hex()
    return str(decode_key(raw_key, raw_key[:-5].decode("utf-8", "replace")))


def name_entry(raw_key: bytes) -> str:
    """An entry of the run history for people."""
    number = str(decode_sequence(raw_key)) if len(raw_key) == 8 else raw_key.hex()
    return f"entry {number} of the run history"


@attrs.frozen
class EncodedRecord:
    """A record as it will be stored, all but its sequence number."""

    key: RecordKey
    raw_key: bytes
    head: Head
    vectors: bytes
    texts: bytes


def encode_record(record: LatentRecord) -> EncodedRecord:
    """Bytes of a record; nothing of it is shared with the caller's arrays."""
    raw_key = encode_key(record.key)
    latents = np.ascontiguousarray(record.latents)
    prompt = np.ascontiguousarray(record.prompt_latent, dtype=latents.dtype)
    parts = [latents.tobytes(), prompt.tobytes()]
    if record.logprobs is not None:
        parts.append(np.ascontiguousarray(record.logprobs, dtype="<f4").tobytes())
    vectors = b"".join(parts)
    texts = encode_texts(record.trace)
    layers, steps, width = latents.shape
    head = Head(
        0,
        latents.dtype,
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
        record.key.problem_id if is_hashed(raw_key) else None,
    )
    return EncodedRecord(record.key, raw_key, head, vectors, texts)


def check_block(raw_key: bytes, block: Any, expected: bytes, size: int, what: str) -> None:
    """Compare a block with the checksum in its head.

    Raises:
        MismatchError: it differs.
    """
    if len(block) != size or checksum(raw_key, block) != expected:
        raise MismatchError(f"its {what} do not match their checksum")


def view_vectors(head: Head, block: Any) -> tuple[Vectors, Vectors, NDArray[np.float32] | None]:
    """Latents [L, S, D], prompt latent [L, D] and log-probabilities [S] as views of the block."""
    layers, steps, width = head.layers, head.steps, head.width
    size = head.dtype.itemsize
    count = layers * steps * width
    latents = np.frombuffer(block, head.dtype, count).reshape(layers, steps, width)
    prompt = np.frombuffer(block, head.dtype, layers * width, count * size)
    logprobs = None
    if head.logprobs:
        logprobs = np.frombuffer(block, "<f4", steps, (count + layers * width) * size)
    return latents, prompt.reshape(layers, width), logprobs
