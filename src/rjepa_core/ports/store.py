"""The latent store port. What a store promises is tested by `rjepa_core.testing.store_suite`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol, Self, get_args, runtime_checkable

import attrs
import numpy as np
from numpy.typing import NDArray

from ..domain.grade import Grade
from ..domain.identity import Identity
from ..domain.latents import LatentRecord, Vectors
from ..domain.trace import Failure, RecordKey
from ..errors import ArgumentError
from . import views

StoreMode = Literal["read", "write"]
"""`read`, beside any number of others, or `write`, as the only writer."""


@attrs.frozen
class Entry:
    """What a store knows about a key without reading vectors or texts.

    Attributes:
        statement_hash: of the problem.
        failed: whether a failure is stored for the key rather than a record.
        steps, tokens: S and the completion's length; 0 for a failure.
    """

    statement_hash: str
    failed: bool = False
    steps: int = 0
    tokens: int = 0


@attrs.frozen
class StoreStats:
    """Counts of a whole store, maintained by the store rather than counted on demand.

    Attributes:
        records, problems, steps, tokens, failures: how many; tokens are those of completions.
        bytes_on_disk: size of the store's files, 0 for a store in memory.
    """

    records: int = 0
    problems: int = 0
    steps: int = 0
    tokens: int = 0
    failures: int = 0
    bytes_on_disk: int = 0


class RecordSink(Protocol):
    """What the extraction loop sees of a store."""

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        """Take records and failures, all of them or none.

        Raises:
            ArgumentError: a record does not fit the store's identity, does not have one vector per
                step, or holds NaN or infinite values; the message names its key.
        """
        ...

    def commit(self) -> None:
        """Make durable what was written."""
        ...


class Snapshot(Protocol):
    """A consistent state of a store, in which later writes are not visible.

    After its `with` block has ended, everything raises `StoreClosedError`, including iterators that
    it returned before.
    """

    def __len__(self) -> int:
        """Return the number of records."""
        ...

    def keys(self, after: RecordKey | None = None) -> Iterator[RecordKey]:
        """Yield the keys of the records; see `LatentStore.keys`."""
        ...

    def entries(self) -> Iterator[tuple[RecordKey, Entry]]:
        """Yield keys and entries of the records, in the store's order."""
        ...

    def get(self, key: RecordKey) -> LatentRecord:
        """Return a record whose arrays may be views, valid only as long as the snapshot."""
        ...

    def read_latents(
        self, keys: Sequence[RecordKey], latents: Vectors, prompts: Vectors | None = None
    ) -> NDArray[np.int64]:
        """Read a batch of records into the caller's buffers; see `LatentStore.read_latents`."""
        ...

    def failures(self) -> Iterator[Failure]:
        """Yield the failures."""
        ...


class LatentStore(RecordSink, Protocol):
    """Records keyed by problem id and sample index; each stored whole or absent.

    `write` alone makes nothing durable: a commit happens after a number of records or seconds, as
    the store's settings say, at `commit`, and at `close`. Records and failures of one commit appear
    together. A commit to a store that was deleted, moved or replaced in the meantime raises
    `StoreGoneError`, even if there is nothing to commit.

    A record replaces the failure of its key, a failure never a record. Writing a key again with
    another statement raises `StatementChangedError`. An invalid key raises `ArgumentError`.
    """

    @property
    def location(self) -> str:
        """Where it is, for messages."""
        ...

    @property
    def identity(self) -> Identity | None:
        """Latent space and generation of its records; None before `begin`."""
        ...

    def begin(self, identity: Identity) -> None:
        """Give a new store its identity, or check a run's identity against the store's.

        What only the run's identity knows is added to the store's, durably and at once
        (`rjepa_core.domain.identity.known_together`).

        Raises:
            IdentityError: the two differ.
        """
        ...

    def __len__(self) -> int:
        """Return the number of records, uncommitted ones included."""
        ...

    def entry(self, key: RecordKey) -> Entry | None:
        """Return what is known about a key, uncommitted or not; None if nothing is."""
        ...

    def keys(self, after: RecordKey | None = None) -> Iterator[RecordKey]:
        """Yield the keys of the committed records, in the store's order: that of a sequential read.

        Args:
            after: a record's key; start after it, without a walk from the beginning.

        Raises:
            KeyError: there is no record `after`; raised with the first key at the latest.
        """
        ...

    def entries(self) -> Iterator[tuple[RecordKey, Entry]]:
        """Yield keys and entries of the committed records, in order, without reading vectors."""
        ...

    def get(self, key: RecordKey) -> LatentRecord:
        """Return a committed record; the caller owns its arrays.

        Raises:
            KeyError: there is none.
            DamagedRecordError: it does not match its checksum; the message names its key.
        """
        ...

    def read_latents(
        self, keys: Sequence[RecordKey], latents: Vectors, prompts: Vectors | None = None
    ) -> NDArray[np.int64]:
        """Read a batch of committed records into the caller's buffers; no text is read.

        Args:
            keys: B keys.
            latents: a NumPy array that is written into, [at least B, L, S', D] of any float dtype,
                bfloat16 included, with room for S' steps: as many as the longest record has, or
                more. Row b gets the steps of `keys[b]`, followed by zeros.
            prompts: [at least B, L, D] of any float dtype, or None to skip the prompt latents.

        Returns:
            int64 [B], the steps S of each record.

        Raises:
            KeyError, DamagedRecordError: as `get`.
            ArgumentError: a buffer is invalid, or a record does not fit into it. In the latter case
                some rows may already be overwritten.
        """
        ...

    def failures(self) -> Iterator[Failure]:
        """Yield the committed failures."""
        ...

    def delete(self, keys: Iterable[RecordKey]) -> int:
        """Remove records and failures, durably and at once, and return how many there were."""
        ...

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Return the current committed state, to be read in a `with` block."""
        ...

    def add_history(self, entry: Mapping[str, Any]) -> None:
        """Append to the run history (JSON values), durably and at once.

        Raises:
            ArgumentError: it is not a mapping of JSON values.
        """
        ...

    def history(self) -> list[dict[str, Any]]:
        """Return the run history, oldest first."""
        ...

    def stats(self) -> StoreStats:
        """Return counts of what is committed."""
        ...

    def __getitem__(self, key: RecordKey | str) -> LatentRecord:
        """Return a committed record, given its key or the key's text.

        `store["ID"]` is the first sample of the problem `ID`, `store["ID#2"]` its sample 2, as
        `str(record.key)` has it: iteration, `in` and this agree. An adapter that inherits from this
        class has this method and those below, written on the ones above.

        Raises:
            KeyError: there is none; the message names similar ones.
            ArgumentError: it is no key.
            DamagedRecordError: it does not match its checksum.
        """
        return self.get(views.find(self, key))

    def __contains__(self, item: object) -> bool:
        """Return whether a committed record is there, given it, its key or the key's text."""
        return views.contains(self, item)

    def __iter__(self) -> Iterator[LatentRecord]:
        """Yield the committed records in the store's order; the caller owns their arrays."""
        return views.records(self)

    def arrays(
        self, layer: int | None = None, keys: Iterable[RecordKey | str] | RecordKey | None = None
    ) -> views.StepArrays:
        """Return the step latents of one layer in memory: 4 × D bytes per step.

        Args:
            layer: as an absolute index; None if the store holds one alone.
            keys: of the records, in this order; None for all, in the store's order.

        Raises:
            ArgumentError: the store holds no such layer, or several and none was named.
            KeyError: there is no such record.
        """
        return views.arrays(self, layer, keys)

    def __repr__(self) -> str:
        return views.shown(self)

    def _repr_html_(self) -> str:
        return views.shown_html(self)

    def __enter__(self) -> Self:
        """Return the store itself, which the `with` block closes at its end."""
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Commit and release the store, even if the commit fails.

        A closed store raises `StoreClosedError` for everything but `location`; closing again does
        nothing.
        """
        ...


@runtime_checkable
class Discards(Protocol):
    """An optional ability of a store: to undo its own creation."""

    def discard(self) -> None:
        """Close the store, and remove it if this handle created it and never began it."""
        ...


@runtime_checkable
class KeepsGrades(Protocol):
    """A store that keeps grades beside its records; tested by `GradesContract`.

    A record that is written again or deleted loses its grade.
    """

    def write_grades(self, grades: Sequence[Grade]) -> None:
        """Take grades in place of earlier ones, all of them or none; durable as `write`.

        Raises:
            ArgumentError: one is no grade, or of a key that has no record; the message names it.
        """
        ...

    def grade(self, key: RecordKey) -> Grade | None:
        """The grade of a key, the uncommitted included; None where there is none."""
        ...

    def grades(self) -> Iterator[Grade]:
        """The committed grades."""
        ...


@runtime_checkable
class HasDigest(Protocol):
    """An optional ability of a store: to tell at once whether its content is still the same.

    Tested by `DigestContract`.
    """

    def digest(self) -> str:
        """Return a text that is equal for equal committed records and failures, and only then.

        Neither the order in which they were written nor the run history matters.
        """
        ...


def check_mode(mode: object) -> None:
    """Refuse an invalid mode.

    Raises:
        ArgumentError: it is neither `read` nor `write`.
    """
    if mode not in get_args(StoreMode):
        raise ArgumentError(f"mode: got {mode!r:.80}, expected 'read' or 'write'")


def json_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of an entry of the run history, as JSON reads it back.

    Raises:
        ArgumentError: it is not a mapping of JSON values.
    """
    if not isinstance(entry, Mapping):
        raise ArgumentError(f"entry: got {entry!r:.80}, expected a mapping of JSON values")
    try:
        copied: dict[str, Any] = json.loads(json.dumps(dict(entry)))
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(f"entry: expected JSON values ({error})") from error
    return copied
