"""The maintenance port, which a store adapter may offer: verify, repair and compact a store.

An adapter names it in its descriptor (`StoreAdapter.maintenance`). What needs only the port
`LatentStore` (merge, export, import, selection) works for every store without it.
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
    """One damaged part of a store.

    Attributes:
        kind: `record`, `failure`, `history`, `header`, `identity`, `tally` or `pages`.
        name: the key of the record or failure, or the name of the part.
        why: what is wrong with it.
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
        records, failures: how many were read and are intact.
        damages: what is damaged; empty for a sound store.
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
        lost: what could not be saved; a resumed run computes lost records and failures again.
        missing: records and failures that the damaged store counted but that are neither saved nor
            in `lost`, because not even their keys could be read; None if the count could not be
            read either.
        damages: what else was damaged: pages, counts, the identity.
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
        """Whether nothing was lost and no other damage was found."""
        return not self.lost and self.missing == 0 and not self.damages


class Maintenance(Protocol):
    """Operations on whole stores, whose use of memory does not grow with the store.

    Locations are the adapter's own, without its name in front.
    """

    def verify(self, location: str, report: Report = ...) -> VerifyReport:
        """Read everything and report all damage.

        Raises:
            StoreNotFoundError: there is no store.
        """
        ...

    def repair(self, location: str, target: str, report: Report = ...) -> RepairReport:
        """Save every readable record and failure into a new store at `target`."""
        ...

    def build(self, location: str) -> AbstractContextManager[LatentStore]:
        """Return a new store to write to, which appears at `location` when the context succeeds.

        After an error, or if the process is killed, nothing that looks like a store is there, and
        the next attempt may use the same location.

        Raises:
            UsageError: something is there already, or the location cannot be written.
        """
        ...

    def compact(self, location: str, report: Report = ...) -> int:
        """Rewrite the store in its order, without unused space, and return the bytes saved.

        Raises:
            StoreLockedError: another process has the store open.
            DamagedRecordError: a record is damaged; nothing is changed.
        """
        ...

    def room_needed(self, identity: Identity, records: int, steps: float = 8.0) -> int:
        """Return the bytes that this many records take, of this many steps on average."""
        ...

    def room_free(self, location: str) -> int:
        """Return the bytes that can still be written where the store is or will be."""
        ...


@attrs.frozen
class ToolProgress:
    """Progress of an operation on whole stores or runs.

    Attributes:
        phase: what is being done, in a word or two.
        done, total: numbers of records; total is 0 if unknown.
    """

    phase: str
    done: int = 0
    total: int = 0


Report = Callable[[ToolProgress], None]


def ignore(progress: ToolProgress) -> None:
    """Discard a progress report."""
