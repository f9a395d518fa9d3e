"""Records and failures by id or failure reason, as people name them."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable

import attrs

from .errors import UsageError
from .ports.latent_store import LatentStore
from .traces import RecordKey

EMPTY_ID = "the id is empty; give a problem's id or ID#SAMPLE"
_NEAR_KEYS_AMONG = 20_000


@attrs.frozen
class Selection:
    """Keys that were meant.

    Attributes:
        records: keys of records.
        failures: keys of failures.
    """

    records: tuple[RecordKey, ...]
    failures: tuple[RecordKey, ...]

    def __len__(self) -> int:
        return len(self.records) + len(self.failures)

    @property
    def keys(self) -> tuple[RecordKey, ...]:
        return (*self.records, *self.failures)


def select(store: LatentStore, ids: Iterable[str] = (), reasons: Iterable[str] = ()) -> Selection:
    """The committed records and failures that are named.

    Args:
        ids: problem ids, each for all its samples, or `ID#SAMPLE` for one.
        reasons: failure reasons, as they are stored.

    Raises:
        UsageError: nothing is named, or a name fits nothing.
    """
    wanted, causes = set(ids), set(reasons)
    if not wanted and not causes:
        raise UsageError("nothing is named: give ids or failure reasons")
    met: set[str] = set()
    known: set[str] = set()
    records, failures = [], []
    for key in store.keys():  # noqa: SIM118  not a mapping
        if found := wanted & _names(key):
            met |= found
            records.append(key)
    for failure in store.failures():
        known.add(failure.reason)
        if found := wanted & _names(failure.key):
            met |= found
        if found or failure.reason in causes:
            failures.append(failure.key)
    if unknown := sorted(causes - known):
        has = ", ".join(map(repr, sorted(known))) or "none"
        raise UsageError(
            f"{store.location}: no failure has the reason {unknown[0]!r}; its reasons: {has}"
        )
    if "" in wanted - met:
        raise UsageError(EMPTY_ID)
    if unknown := sorted(wanted - met):
        raise UsageError(
            f"{store.location} has neither record nor failure {', '.join(unknown[:5])}"
            f"{near_ids(store, unknown[0])}"
        )
    return Selection(tuple(records), tuple(failures))


def near_ids(store: LatentStore, text: str) -> str:
    """What may have been meant, to be put behind a message; else how many records there are."""
    keys = itertools.islice(store.keys(), _NEAR_KEYS_AMONG)
    near = difflib.get_close_matches(text, {key.problem_id: None for key in keys}, 3)
    return f"; did you mean {' or '.join(near)}?" if near else f"; it has {len(store):,} records"


def _names(key: RecordKey) -> set[str]:
    return {key.problem_id, f"{key.problem_id}#{key.sample}"}
