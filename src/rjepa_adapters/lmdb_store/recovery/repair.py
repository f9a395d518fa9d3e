"""Verify and repair a store by an inspection in another process, and report the result."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rjepa_core.errors import StoreError, UsageError
from rjepa_core.ports.maintenance import (
    Damage,
    RepairReport,
    Report,
    ToolProgress,
    VerifyReport,
    ignore,
)

from ...paths import unfinished
from ..directory import DATA, has_store, require_store
from ..format.record import name_key
from ..store import LmdbStore
from .subprocess import SILENCE, watch

# Many records may share a page whose reading kills the process.
_MOST_ATTEMPTS = 40
# Kinds of damage that the count of records and failures knows nothing of.
_COUNTED_APART = ("history", "grade")


def verify(location: str, report: Report = ignore, silence: float = SILENCE) -> VerifyReport:
    """Read everything in a store and report each damage.

    Args:
        silence: seconds without progress after which the pages count as damaged.

    Raises:
        StoreNotFoundError: there is no store.
    """
    path = require_store(location).resolve()
    began = time.monotonic()
    findings = _Findings(report)
    ended = watch(["verify", str(path)], findings.take, silence)
    if ended.result is None:
        findings.damages.append(
            Damage("pages", "store", f"{ended.why}: the structure of LMDB's pages is damaged")
        )
    counts = ended.result or {}
    return VerifyReport(
        location,
        counts.get("records", 0),
        counts.get("failures", 0),
        findings.unique(),
        tuple(findings.notes),
        time.monotonic() - began,
    )


def repair(
    location: str, target: str, report: Report = ignore, silence: float = SILENCE
) -> RepairReport:
    """Save every readable record and failure of a store into a new one, leaving the old unchanged.

    Raises:
        StoreNotFoundError: there is no store.
        UsageError: there is already a store at `target`.
        StoreError: not even the store's identity can be read.
    """
    path = require_store(location).resolve()
    if has_store(target):
        raise UsageError(f"{target}: there is a store already; name a new directory")
    with unfinished(target, DATA) as part:
        return _repair(location, path, target, part, report, silence)


def _repair(
    location: str, path: Path, target: str, part: Path, report: Report, silence: float
) -> RepairReport:
    findings = _Findings(report)
    skipped: list[str] = []
    with tempfile.NamedTemporaryFile("w", suffix=".skip") as file:
        for _ in range(_MOST_ATTEMPTS):
            arguments = ["salvage", str(path), str(part), file.name]
            ended = watch(arguments, findings.take, silence)
            if ended.result is not None:
                break
            at = ended.at or "tables"
            if at in skipped or len(skipped) == _MOST_ATTEMPTS - 2:
                at = "tables"
            kind = "pages" if at == "tables" else "record"
            findings.damages.append(Damage(kind, at, ended.why))
            skipped.append(at)
            file.write(at + "\n")
            file.flush()
    if ended.result is None:
        raise StoreError(f"{location}: nothing can be saved ({ended.why})")
    result = ended.result
    found = findings.unique()
    lost = _lost(str(part), found)
    lost += _doubtful(str(part), findings.doubtful, lost, result)
    others = tuple(d for d in found if d.kind not in ("record", "failure", *_COUNTED_APART))
    missing = _missing(result, sum(damage.kind not in _COUNTED_APART for damage in lost))
    return RepairReport(
        location, target, result["records"], result["failures"], lost, missing, others
    )


def _missing(result: Mapping[str, Any], named: int) -> int | None:
    """Return how many records and failures are lost beyond the named ones; None if unknown."""
    if result["equal"] and result["certain"]:
        return 0
    if result["expected"] is None:
        return None
    missing: int = result["expected"] - result["records"] - result["failures"] - named
    # If none is named, yet the digests differ, a removed record may have been restored in place of
    # a lost one.
    known = missing > 0 or (result["certain"] and named)
    return max(0, missing) if known else None


class _Findings:
    """The findings that an inspection has sent."""

    def __init__(self, report: Report) -> None:
        self.damages: list[Damage] = []
        self.doubtful: list[Damage] = []
        self.notes: list[str] = []
        self._report = report

    def take(self, line: Mapping[str, Any]) -> None:
        if "progress" in line:
            self._report(ToolProgress(*line["progress"]))
        elif "damage" in line:
            self.damages.append(Damage(*line["damage"]))
        elif "doubtful" in line:
            self.doubtful.append(Damage(*line["doubtful"]))
        elif "note" in line:
            self.notes.append(line["note"])

    def unique(self) -> tuple[Damage, ...]:
        """Return one damage per kind and name, the first that was sent."""
        found: dict[tuple[str, str], Damage] = {}
        for damage in self.damages:
            found.setdefault((damage.kind, damage.name), damage)
        return tuple(found.values())


def _lost(target: str, damages: tuple[Damage, ...]) -> tuple[Damage, ...]:
    """Return the damages whose records, failures or history the new store lacks, readably named."""
    lost = []
    with LmdbStore(target) as store:
        for damage in damages:
            if damage.kind in _COUNTED_APART:
                lost.append(damage)
            if damage.kind not in ("record", "failure"):
                continue
            raw_key = bytes.fromhex(damage.name)
            if damage.kind == "record" and store.has_record(raw_key):
                continue
            lost.append(Damage(damage.kind, name_key(raw_key), damage.why))
    return tuple(lost)


def _doubtful(
    target: str, damages: Sequence[Damage], lost: Sequence[Damage], result: Mapping[str, Any]
) -> tuple[Damage, ...]:
    """Return which of the doubtful to name as lost: as many as the counts allow.

    Their keys may be damaged themselves, or they may be records that were removed.
    """
    named = {(damage.kind, damage.name) for damage in lost}
    counted = sum(damage.kind not in _COUNTED_APART for damage in lost)
    room = len(damages)
    if result["certain"]:
        saved = result["records"] + result["failures"]
        room = max(0, result["expected"] - saved - counted)
    chosen: dict[tuple[str, str], Damage] = {}
    for damage in _lost(target, tuple(damages)):
        if (damage.kind, damage.name) not in named:
            chosen.setdefault((damage.kind, damage.name), damage)
    return tuple(chosen.values())[:room]
