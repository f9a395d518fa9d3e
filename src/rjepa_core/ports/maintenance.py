"""What a store adapter may offer beside its store: verify, repair, compact; with progress.

An adapter names it in its descriptor (`StoreAdapter.maintenance`). What needs nothing but the port
`LatentStore` (merge, export, import, selection) every store has without it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import attrs

from ..domain.identity import Identity
from .store import LatentStore


@attrs.frozen
class Damage:
    """One thing that is not as it was written.

    Attributes:
        kind: `record`, `failure`, `history`, `header`, `identity`, `tally` or `pages`.
        name: the record's or failure's key, or which part.
        why: what was found.
    """

    kind: str
    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.why}"


@attrs.frozen
class VerifyReport:
    """What `verify` found.

    Attributes:
        location: the store.
        records, failures: how many were read and are sound.
        damages: what is not sound; empty for a sound store.
        notes: what could not be checked, and why.
        seconds: wall time.
    """

    location: str
    records: int
    failures: int
    damages: tuple[Damage, ...]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        return not self.damages


@attrs.frozen
class RepairReport:
    """What `repair` saved.

    Attributes:
        location, target: the damaged store and the new one.
        records, failures: how many the new store holds.
        lost: what could not be saved; a resumed run computes records and failures again.
        missing: records and failures that the damaged store counted and that are neither saved nor
            named in `lost`, because nothing of them could be read; None where its count could not
            be read either, so that nobody knows.
        damages: what else was found damaged: pages, counts, the identity.
    """

    location: str
    target: str
    records: int
    failures: int
    lost: tuple[Damage, ...]
    missing: int | None = 0
    damages: tuple[Damage, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing was lost and nothing damaged was met."""
        return not self.lost and self.missing == 0 and not self.damages


class Maintenance(Protocol):
    """Care of whole stores, streamed: the memory that it takes does not grow with the store.

    Locations are the adapter's own, without its name in front.
    """

    def verify(self, location: str, report: Report = ...) -> VerifyReport:
        """Read everything and name each damage. Raises `StoreNotFoundError`."""
        ...

    def repair(self, location: str, target: str, report: Report = ...) -> RepairReport:
        """Save every readable record and failure into a new store at `target`."""
        ...

    def build(self, location: str) -> AbstractContextManager[LatentStore]:
        """A new store to write to, which is at `location` once the context has ended well.

        After an error, or if the process is killed, nothing is there that looks like a store, and
        the next try may use the same place.

        Raises:
            UsageError: something is there already, or nothing can be written there.
        """
        ...

    def compact(self, location: str, report: Report = ...) -> int:
        """Rewrite the store without free room, in its order; bytes saved.

        Raises:
            StoreLockedError: another process has the store open.
            DamagedRecordError: a record is damaged; nothing is changed.
        """
        ...

    def room_needed(self, identity: Identity, records: int, steps: float = 8.0) -> int:
        """Bytes that so many records, of so many steps on average, will take."""
        ...

    def room_free(self, location: str) -> int:
        """Bytes that can still be written where the store is or will be."""
        ...


@attrs.frozen
class ToolProgress:
    """How far a job over whole stores or runs is.

    Attributes:
        phase: what is being done, in a word or two.
        done, total: records; total 0 where it is not known.
    """

    phase: str
    done: int = 0
    total: int = 0


Report = Callable[[ToolProgress], None]


def ignore(progress: ToolProgress) -> None:
    """A report that nobody reads."""
