"""What a store adapter may offer beside its store: checking, mending, and moving stores about.

An adapter names them in its descriptor (`StoreAdapter.tools`); a command asks for them by the
store's name and knows no adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

import attrs

from ..domain.identity import Identity
from ..domain.problem import Problem
from .store import LatentStore

Winner = Literal["refuse", "target", "source"]
ExportFormat = Literal["shards", "dataset"]


@attrs.frozen
class ToolProgress:
    """How far a tool is.

    Attributes:
        phase: what it is doing, in a word or two.
        done, total: records; total 0 where it is not known.
    """

    phase: str
    done: int = 0
    total: int = 0


Report = Callable[[ToolProgress], None]


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


@attrs.frozen
class MergeReport:
    """What `merge` did: counts of the target's changes.

    Attributes:
        added: records that it had not.
        equal: records that both had, bit for bit.
        replaced: conflicting records that the source won.
        kept: conflicting records that the target won.
        failures: failures added.
    """

    added: int = 0
    equal: int = 0
    replaced: int = 0
    kept: int = 0
    failures: int = 0


@attrs.frozen
class CopyReport:
    """What `export` or `import_shards` wrote.

    Attributes:
        records, failures: how many.
        files: names of the files read or written, in order.
        bytes: size of what was written.
    """

    records: int
    failures: int
    files: tuple[str, ...]
    bytes: int


class StoreTools(Protocol):
    """Tools over whole stores; all of them stream, with memory independent of the store's size.

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

    def merge(
        self,
        target: LatentStore,
        sources: Sequence[LatentStore],
        winner: Winner = "refuse",
        report: Report = ...,
    ) -> MergeReport:
        """Add the sources' records and failures to the target.

        Raises:
            IdentityError: an identity differs; nothing is changed.
            MergeConflictError: with `refuse`, a key has different records; nothing is changed.
        """
        ...

    def export(
        self,
        store: LatentStore,
        target: str,
        format: ExportFormat = "shards",
        per_shard: int = 1000,
        report: Report = ...,
    ) -> CopyReport:
        """Write a store to the new directory `target`."""
        ...

    def import_shards(
        self,
        source: str,
        store: LatentStore,
        identity: Identity | None = None,
        problems: Mapping[str, Problem] | None = None,
        report: Report = ...,
    ) -> CopyReport:
        """Read shards into a store.

        Args:
            identity: needed for shards without an `identity.json`.
            problems: statements for shards that have none, by problem id.
        """
        ...

    def remove(
        self, store: LatentStore, ids: Iterable[str] = (), reasons: Iterable[str] = ()
    ) -> int:
        """Remove records and failures by id (`ID` or `ID#SAMPLE`) or failure reason; how many.

        Raises:
            UsageError: a name fits nothing, or both a problem `a#1` and sample 1 of a problem `a`;
                nothing is removed.
        """
        ...

    def room_needed(self, identity: Identity, records: int, steps: float = 8.0) -> int:
        """Bytes that so many records, of so many steps on average, will take."""
        ...

    def room_free(self, location: str) -> int:
        """Bytes that can still be written where the store is or will be."""
        ...


def ignore(progress: ToolProgress) -> None:
    """A report that nobody reads."""
