"""Write one shard: a safetensors file and a Parquet file, in this process or in others."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from rjepa_core.domain.identity import Identity
from rjepa_core.domain.latents import Vectors
from rjepa_core.domain.trace import RecordKey
from rjepa_core.errors import StoreError
from rjepa_core.ports.store import Entry, LatentStore, Snapshot
from rjepa_core.settings import STORE_DTYPES
from rjepa_core.stores import chunked

from ..optional import import_optional
from .table import arrow_schema, tensor_name, to_row
from .tensors import TensorSpec, write_tensors

_ROWS = 256
Entries = Sequence[tuple[RecordKey, Entry]]


def write_shard(
    records: LatentStore | Snapshot,
    identity: Identity,
    entries: Entries,
    stem: Path,
    count: Callable[[int], None],
) -> None:
    """Write the records of `entries` into the two files of `stem`; `count` is told how many."""
    pa = import_optional("pyarrow", "store export")
    parquet = import_optional("pyarrow.parquet", "store export")
    specs = [s for key, entry in entries for s in _specs(identity, key, entry.steps)]
    schema = arrow_schema(pa)
    with (
        write_tensors(stem.with_suffix(".safetensors"), specs) as tensors,
        # Arrow cannot open a path whose bytes are not UTF-8.
        open(stem.with_suffix(".parquet"), "wb") as rows_file,
        parquet.ParquetWriter(rows_file, schema) as table,
    ):
        for keys in chunked((key for key, _ in entries), _ROWS):
            rows = []
            for key in keys:
                record = records.get(key)
                tensors.put(_drop_single_layer(record.latents))
                tensors.put(_drop_single_layer(record.prompt_latent))
                if record.logprobs is not None:
                    tensors.put(record.logprobs)
                rows.append(to_row(record))
                count(1)
            table.write_table(pa.Table.from_pylist(rows, schema=schema))


class ShardWriters:
    """Processes that write shards, a few of them ahead of the one that is waited for.

    Args:
        workers: number of processes.
        reopen: opens the store in each of them.
        identity: of the store.
        location: of the store, for messages.
    """

    def __init__(
        self, workers: int, reopen: Callable[[], LatentStore], identity: Identity, location: str
    ) -> None:
        self._most = 2 * workers
        self._identity = identity
        self._location = location
        self._waiting: deque[tuple[Future[None], int]] = deque()
        # Not forked: this process may have threads, and a transaction of the store is open.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(workers, context, _open, (reopen,))

    def submit(self, entries: Entries, stem: Path, count: Callable[[int], None]) -> None:
        """Have a shard written; wait for an earlier one if there are many."""
        future = self._pool.submit(_write, self._identity, entries, stem)
        self._waiting.append((future, len(entries)))
        while len(self._waiting) > self._most:
            self._wait(count)

    def finish(self, count: Callable[[int], None]) -> None:
        """Wait for all shards."""
        while self._waiting:
            self._wait(count)

    def _wait(self, count: Callable[[int], None]) -> None:
        future, records = self._waiting.popleft()
        try:
            future.result()
        except BrokenProcessPool:
            raise StoreError(
                f"{self._location}: a process that wrote shards was lost, for want of memory "
                "perhaps; export again with fewer workers"
            ) from None
        except KeyError as error:
            raise StoreError(
                f"{self._location}: {error.args[0]} was removed while it was exported; export again"
            ) from None
        count(records)

    def __enter__(self) -> ShardWriters:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)


_stores: list[LatentStore] = []


def _open(reopen: Callable[[], LatentStore]) -> None:
    """Open the store of this process, which ends with its parent's word alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _stores.append(reopen())


def _write(identity: Identity, entries: Entries, stem: Path) -> None:
    write_shard(_stores[0], identity, entries, stem, lambda records: None)


def _specs(identity: Identity, key: RecordKey, steps: int) -> list[TensorSpec]:
    """Return the tensors of a record, in the order of writing."""
    space = identity.space
    dtype = STORE_DTYPES[space.store_dtype]
    several = (len(space.layers),) if len(space.layers) > 1 else ()
    name = tensor_name(key)
    specs = [
        TensorSpec(name, dtype, (*several, steps, space.hidden_size)),
        TensorSpec(f"{name}/prompt", dtype, (*several, space.hidden_size)),
    ]
    if identity.logprobs:
        specs.append(TensorSpec(f"{name}/logprobs", np.dtype(np.float32), (steps,)))
    return specs


def _drop_single_layer(vectors: Vectors) -> Vectors:
    """Return vectors without the dimension of layers if there is only one layer."""
    return vectors[0] if vectors.shape[0] == 1 else vectors
