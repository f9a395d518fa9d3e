"""The latent store port. What a store promises is tested by `rjepa_core.testing.store_suite`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, runtime_checkable

import attrs
import numpy as np
from numpy.typing import NDArray

from ..domain.grade import Grade
from ..domain.identity import Identity
from ..domain.latents import LatentRecord, Vectors
from ..domain.trace import Failure, RecordKey
from ..errors import ArgumentError

if TYPE_CHECKING:
    pass


StoreMode = Literal["read", "write"]


@attrs.frozen
class Entry:
    """What a store knows of a key, without reading vectors or texts.

    Attributes:
        statement_hash: of the problem.
        failed: a failure is kept for the key, not a record.
        steps, tokens: S and the completion's length; 0 for a failure.
    """

    statement_hash: str
    failed: bool = False
    steps: int = 0
    tokens: int = 0


@attrs.frozen
class StoreStats:
    """Counts over a whole store; kept, not counted anew.

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
            ArgumentError: a record does not fit the store's identity, has not a vector a step, or
                holds NaN or infinite values; the message names its key.
        """
        ...

    def commit(self) -> None: ...


class Snapshot(Protocol):
    """A consistent state of a store; what is written later does not show.

    Once its `with` block has ended, all of it raises `StoreClosedError`, the iterators that it gave
    before included.
    """

    def __len__(self) -> int: ...

    def keys(self, after: RecordKey | None = None) -> Iterator[RecordKey]:
        """As `LatentStore.keys`."""
        ...

    def entries(self) -> Iterator[tuple[RecordKey, Entry]]:
        """Keys and entries of the records, in the store's order."""
        ...

    def get(self, key: RecordKey) -> LatentRecord:
        """A record whose arrays may be views which die with the snapshot; copy what must last."""
        ...

    def read_latents(
        self, keys: Sequence[RecordKey], latents: Vectors, prompts: Vectors | None = None
    ) -> NDArray[np.int64]:
        """As `LatentStore.read_latents`."""
        ...

    def failures(self) -> Iterator[Failure]: ...


class LatentStore(RecordSink, Protocol):
    """Records keyed by problem id and sample index; each stored whole or absent.

    `write` makes nothing durable by itself: a commit happens by records or seconds as the store's
    settings say, at `commit`, and at `close`. Records and failures of one commit appear together.
    A commit into a store that was meanwhile deleted, moved or replaced raises `StoreGoneError`,
    even if nothing waits for it.

    A record replaces the failure of its key, a failure never a record. A key that is written again
    with another statement raises `StatementChangedError`. What is given for a key and is none, or
    has a sample that none can have, raises `ArgumentError`.
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
        """Give a new store its identity, or check the run's against it (`IdentityError`).

        What the store's does not know and the run's does is kept from now on, at once and durably
        (`rjepa_core.domain.identity.known_together`).
        """
        ...

    def __len__(self) -> int:
        """Records, the uncommitted ones included."""
        ...

    def entry(self, key: RecordKey) -> Entry | None:
        """What is known of a key, the uncommitted included; None where nothing is."""
        ...

    def keys(self, after: RecordKey | None = None) -> Iterator[RecordKey]:
        """Keys of the committed records, in the store's order: that of a sequential pass.

        Args:
            after: a record's key; only those that follow it, found without a walk to it.

        Raises:
            KeyError: there is no record `after`; with the first key at the latest.
        """
        ...

    def entries(self) -> Iterator[tuple[RecordKey, Entry]]:
        """Keys and entries of the committed records, in the store's order; no vector is read."""
        ...

    def get(self, key: RecordKey) -> LatentRecord:
        """A committed record; the caller owns its arrays.

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
            latents: [at least B, L, S', D] of any float dtype, bfloat16 included; row b gets the
                steps of `keys[b]` and zeros behind them.
            prompts: [at least B, L, D] of any float dtype, or None to leave the prompt latents out.

        Returns:
            int64 [B], the steps S of each record.

        Raises:
            KeyError, DamagedRecordError: as `get`.
            ArgumentError: a buffer is no such array, or a record does not fit into it. In the
                latter case rows may be overwritten already.
        """
        ...

    def failures(self) -> Iterator[Failure]:
        """The committed failures."""
        ...

    def delete(self, keys: Iterable[RecordKey]) -> int:
        """Remove records and failures, at once and durably; how many there were."""
        ...

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """The committed state as it is now, to be read in a `with` block."""
        ...

    def add_history(self, entry: Mapping[str, Any]) -> None:
        """Append to the run history (JSON values), at once and durably.

        Raises:
            ArgumentError: it is no mapping, or holds what JSON cannot.
        """
        ...

    def history(self) -> list[dict[str, Any]]:
        """The run history, oldest first."""
        ...

    def stats(self) -> StoreStats:
        """Counts of what is committed."""
        ...

    def close(self) -> None:
        """Commit and let go, even if the commit fails.

        A closed store raises `StoreClosedError` for all but `location`; closing again does nothing.
        """
        ...


@runtime_checkable
class Discards(Protocol):
    """A store that can take back what opening it to write has made."""

    def discard(self) -> None:
        """Close; a store that was made by this handle and never begun is gone afterwards."""
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


def check_mode(mode: object) -> None:
    """Refuse what is no mode to open a store in.

    Raises:
        ArgumentError: it is neither `read` nor `write`.
    """
    if mode not in get_args(StoreMode):
        raise ArgumentError(f"mode: got {mode!r:.80}, expected 'read' or 'write'")


def json_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of an entry of the run history, as JSON gives it back.

    Raises:
        ArgumentError: it is no mapping, or holds what JSON cannot.
    """
    if not isinstance(entry, Mapping):
        raise ArgumentError(f"entry: got {entry!r:.80}, expected a mapping of JSON values")
    try:
        copied: dict[str, Any] = json.loads(json.dumps(dict(entry)))
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(f"entry: expected JSON values ({error})") from error
    return copied
