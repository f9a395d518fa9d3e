"""The reader of a store, or of a snapshot, which stays at one state."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rjepa_core.domain.latents import LatentRecord, Vectors, check_buffers
from rjepa_core.domain.trace import Failure, RecordKey, check_key, check_keys, list_keys
from rjepa_core.errors import ArgumentError, StoreClosedError
from rjepa_core.ports.store import Entry, StoreStats

from .codec import decode_failure, decode_record, id_bytes, key_of

T = TypeVar("T")


class StoreReader:
    """A connection that reads what is committed; if `pinned`, as of its creation."""

    def __init__(self, path: str, pinned: bool = False) -> None:
        self._db: sqlite3.Connection | None = connect(path)
        if pinned:
            self._db.execute("BEGIN")
            self._db.execute("SELECT count(*) FROM meta").fetchone()

    def close(self) -> None:
        """Close the connection; from now on everything raises, including iterators in use."""
        if self._db is not None:
            self._db.close()
        self._db = None

    @property
    def db(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreClosedError("this snapshot is closed; read inside its `with` block")
        return self._db

    def rows(self, query: str, *values: object) -> list[Any]:
        return self.db.execute(query, values).fetchall()

    def __len__(self) -> int:
        return int(self.rows("SELECT count(*) FROM records")[0][0])

    def keys(self, after: RecordKey | None = None) -> Iterator[RecordKey]:
        start = 0 if after is None else int(self._one("n", after)) + 1
        rows = self.rows("SELECT id, sample FROM records WHERE n >= ? ORDER BY n", start)
        return self._while_open(key_of(*row) for row in rows)

    def entries(self) -> Iterator[tuple[RecordKey, Entry]]:
        rows = self.rows("SELECT id, sample, statement, steps, tokens FROM records ORDER BY n")
        return self._while_open(
            (key_of(row[0], row[1]), Entry(row[2], steps=row[3], tokens=row[4])) for row in rows
        )

    def get(self, key: RecordKey) -> LatentRecord:
        return decode_record(key, self._one("data", key))

    def read_latents(
        self, keys: Sequence[RecordKey], latents: Vectors, prompts: Vectors | None = None
    ) -> NDArray[np.int64]:
        keys = list_keys(keys)
        check_buffers(len(keys), latents, prompts)
        steps = np.zeros(len(keys), np.int64)
        layers, room, width = latents.shape[1:]
        for row, record in enumerate([self.get(key) for key in check_keys(keys)]):
            steps[row] = record.latents.shape[1]
            if record.latents.shape[::2] != (layers, width) or steps[row] > room:
                raise ArgumentError(
                    f"latents: got rows {[layers, room, width]}, expected room for {record.key}, "
                    f"which is {list(record.latents.shape)}"
                )
            latents[row, :, : steps[row]] = record.latents
            latents[row, :, steps[row] :] = 0
            if prompts is not None:
                prompts[row] = record.prompt_latent
        return steps

    def failures(self) -> Iterator[Failure]:
        rows = self.rows("SELECT id, sample, statement, data FROM failures ORDER BY n")
        return self._while_open(decode_failure(key_of(*row[:2]), *row[2:]) for row in rows)

    def stats(self, bytes_on_disk: int) -> StoreStats:
        counts = self.rows(
            "SELECT count(*), count(DISTINCT id), coalesce(sum(steps), 0), "
            "coalesce(sum(tokens), 0), (SELECT count(*) FROM failures) FROM records"
        )[0]
        return StoreStats(*counts, bytes_on_disk)

    def _one(self, column: str, key: RecordKey) -> Any:
        """Return a column of a record; raise KeyError if there is no such record."""
        check_key(key)
        found = self.rows(
            f"SELECT {column} FROM records WHERE id = ? AND sample = ?",
            id_bytes(key.problem_id),
            int(key.sample),
        )
        if not found:
            raise KeyError(f"no record {key}")
        return found[0][0]

    def _while_open(self, items: Iterator[T]) -> Iterator[T]:
        for item in items:
            _ = self.db
            yield item
        _ = self.db


def connect(path: str) -> sqlite3.Connection:
    """Return a connection to an existing database, without implicit transactions."""
    return sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
