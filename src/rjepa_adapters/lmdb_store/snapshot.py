"""One consistent state of a store, read in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rjepa_core.latents import LatentRecord, Vectors
from rjepa_core.ports.latent_store import Entry
from rjepa_core.traces import Failure, RecordKey

from .batches import read_latents
from .layout import read_tally
from .reading import Reader


class LmdbSnapshot:
    """A read transaction; see `Snapshot`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __len__(self) -> int:
        return read_tally(self._reader.environment, self._reader.txn).records

    def keys(self) -> Iterator[RecordKey]:
        return self._reader.keys()

    def entries(self) -> Iterator[tuple[RecordKey, Entry]]:
        return self._reader.entries()

    def get(self, key: RecordKey) -> LatentRecord:
        return self._reader.get(key, views=True)

    def read_latents(
        self, keys: Sequence[RecordKey], latents: Vectors, prompts: Vectors | None = None
    ) -> NDArray[np.int64]:
        return read_latents(self._reader, keys, latents, prompts)

    def failures(self) -> Iterator[Failure]:
        return self._reader.failures()
