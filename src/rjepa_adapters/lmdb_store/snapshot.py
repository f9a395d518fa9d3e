"""One consistent state of a store, read in one transaction."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import lmdb
import numpy as np
from numpy.typing import NDArray

from rjepa_core.domain.latents import LatentRecord, Vectors, check_buffers
from rjepa_core.domain.trace import Failure, RecordKey, check_keys, list_keys
from rjepa_core.errors import ArgumentError, StoreClosedError
from rjepa_core.ports.store import Entry

from .format.checksum import MismatchError
from .format.head import VectorBlock, decode_block
from .format.record import check_block, encode_key
from .format.vectors import view_latents
from .metadata import read_tally
from .reader import Reader

T = TypeVar("T")


class LmdbSnapshot:
    """A snapshot in one read transaction; see `Snapshot`."""

    def __init__(self, reader: Reader) -> None:
        self._reader: Reader | None = reader
        self._path = reader.environment.path

    def close(self) -> None:
        """Drop the reader, so that later reads raise `StoreClosedError` instead of LMDB's error."""
        self._reader = None

    def __len__(self) -> int:
        reader = self._open()
        return read_tally(reader.environment, reader.txn).records

    def keys(self, after: RecordKey | None = None) -> Iterator[RecordKey]:
        return self._while_open(self._open().keys(after))

    def entries(self) -> Iterator[tuple[RecordKey, Entry]]:
        return self._while_open(self._open().entries())

    def get(self, key: RecordKey) -> LatentRecord:
        return self._open().get(key, views=True)

    def read_latents(
        self, keys: Sequence[RecordKey], latents: Vectors, prompts: Vectors | None = None
    ) -> NDArray[np.int64]:
        return read_latents(self._open(), keys, latents, prompts)

    def failures(self) -> Iterator[Failure]:
        return self._while_open(self._open().failures())

    def _open(self) -> Reader:
        if self._reader is None:
            raise StoreClosedError(
                f"{self._path}: this snapshot is closed; read inside its `with` block"
            )
        return self._reader

    def _while_open(self, items: Iterator[T]) -> Iterator[T]:
        self._open()
        for item in items:
            yield item
            self._open()


_Found = tuple[VectorBlock, int, RecordKey, bytes]


def read_latents(
    reader: Reader, keys: Iterable[RecordKey], latents: Vectors, prompts: Vectors | None
) -> NDArray[np.int64]:
    """See `LatentStore.read_latents`."""
    keys = list_keys(keys)
    check_buffers(len(keys), latents, prompts)
    fetcher = reader.environment.fetcher
    try:
        raw_keys = [encode_key(key) for key in keys]
    except ArgumentError:
        check_keys(keys)  # Its error names the invalid key.
        raise
    if fetcher.wanted:
        fetcher.ask_heads(raw_keys)
    found = _find(reader, keys, raw_keys)
    # In the order on disk, so that the disk's head moves one way.
    found.sort()
    steps = np.empty(len(found), np.int64)
    began = time.perf_counter()
    if fetcher.wanted:
        fetcher.ask([block.number for block, _, _, _ in found])
    _copy(reader, found, latents, prompts, steps)
    fetcher.took(time.perf_counter() - began, len(found))
    return steps


def _find(reader: Reader, keys: list[RecordKey], raw_keys: list[bytes]) -> list[_Found]:
    get, index = reader.txn.get, reader.environment.table("index")
    found: list[_Found] = []
    key = None
    try:
        for row, (key, raw_key) in enumerate(zip(keys, raw_keys, strict=True)):
            value = get(raw_key, db=index)
            if value is None:
                raise KeyError(f"{reader.environment.path} holds no record {key}")
            found.append((decode_block(raw_key, value), row, key, raw_key))
    except lmdb.Error as error:
        reader.broken(str(key), f"LMDB cannot read its page ({error})")
    except MismatchError as error:
        reader.broken(str(key), str(error))
    return found


def _copy(
    reader: Reader,
    found: list[_Found],
    latents: Vectors,
    prompts: Vectors | None,
    steps: NDArray[np.int64],
) -> None:
    get, vectors = reader.txn.get, reader.environment.table("vectors")
    layers, room, width = latents.shape[1:]
    key = None
    try:
        for place, row, key, raw_key in found:
            count = place.steps
            if place.layers != layers or place.width != width or count > room:
                raise ArgumentError(
                    f"latents: got rows [{layers}, {room}, {width}], expected room for {key}, "
                    f"which is [{place.layers}, {count}, {place.width}]"
                )
            block = get(place.number, db=vectors)
            if block is None:
                reader.broken(str(key), "its vectors are missing")
            if len(block) != place.size:
                raise MismatchError("its vectors are cut off")
            steps_of_row, prompt = view_latents(block, layers, count, width, place.dtype)
            row_of_buffer = latents[row]
            if count == room:
                row_of_buffer[...] = steps_of_row
            else:
                row_of_buffer[:, :count] = steps_of_row
                row_of_buffer[:, count:] = 0
            if prompts is not None:
                prompts[row] = prompt
            steps[row] = count
            if reader.verify:
                # After the copy, which has brought the block into the processor's cache. What does
                # not match is never returned: this raises.
                check_block(raw_key, block, place.vectors_sum, place.size, "vectors")
    except lmdb.Error as error:
        reader.broken(str(key), f"LMDB cannot read its page ({error})")
    except MismatchError as error:
        reader.broken(str(key), str(error))
