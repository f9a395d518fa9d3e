"""Save what can be read of a damaged store into a new one; runs in the inspecting process.

LMDB's tables are read first. If the tally then shows that something is missing, or LMDB cannot open
the file at all, the pages are searched as bytes: every head that matches its checksum, and whose
blocks match theirs, is a record, whatever the state of the tree around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb

from rjepa_core.domain.identity import Identity
from rjepa_core.errors import RJepaError, StoreError

from ..environment import Environment
from ..format.checksum import MismatchError
from ..format.head import decode_head
from ..format.record import (
    decode_place,
    decode_sequence,
    encode_sequence,
    name_entry,
    name_key,
)
from ..format.values import (
    GRADES_TALLY,
    decode_failure,
    decode_grade,
    decode_json,
    true_failure_key,
)
from ..metadata import Tally, read_identity, read_sidecar, read_tally
from ..reader import RenewableReader, begin_pair
from ..store import LmdbStore
from .integrity import find_cut, find_last_tally
from .pages import meta_problems
from .search import PageSearch
from .subprocess import Channel


def salvage(path: Path, target: str, skipped: str, channel: Channel) -> dict[str, Any]:
    """Copy every sound record and failure of the store at `path` into the new store `target`.

    Args:
        skipped: file with one hexadecimal key per line, whose reading killed an earlier attempt; a
            line `tables` stands for all of LMDB's tables.
    """
    skip = set(Path(skipped).read_text().split())
    store = LmdbStore(target, "write")
    try:
        job = _Salvage(path, store, skip, channel)
        return job.run()
    finally:
        store.close()


class _Salvage:
    def __init__(self, path: Path, store: LmdbStore, skip: set[str], channel: Channel) -> None:
        self.path = path
        self.store = store
        self.skip = skip
        self.channel = channel
        self.tally: Tally | None = None
        self.certain = True
        self.total = 0
        self.entries: dict[int, dict[str, Any]] = {}
        self.damaged_entries: dict[int, str] = {}
        # Unreadable records that the damaged tables list, under keys that the order confirms.
        self.lost: set[bytes] = set()

    def run(self) -> dict[str, Any]:
        identity: Identity | None = None
        environment = None if "tables" in self.skip else self._open()
        if environment is not None:
            with environment.read() as txn:
                identity = self._identity(environment, txn)
        identity = identity or read_sidecar(self.path)
        if identity is None:
            raise StoreError(
                f"{self.path}: its identity is lost, and so is the copy in identity.json; bring "
                "that file back from a copy of the store, then try again"
            )
        if self.tally is None:
            self._find_tally()
        self.store.begin(identity)
        if environment is not None:
            self._tables(environment)
            environment.close()
        self.store.commit()
        if not self._complete():
            search = PageSearch(self.path, self.store, self.channel, self._entry)
            for raw_key in reversed(search.run()):
                self._report_lost("record", raw_key, "its blocks cannot be found", sure=False)
            self.store.commit()
        self._write_history()
        stats = self.store.stats()
        expected = self.tally.records + self.tally.failures if self.tally else None
        return {
            "records": stats.records,
            "failures": stats.failures,
            "expected": expected,
            "certain": self.certain,
            "equal": self._equal(),
        }

    def _open(self) -> Environment | None:
        """Return the store's tables, unless its file is cut off or LMDB refuses it."""
        self.channel.send(at="tables")
        cut = find_cut(self.path)
        if cut is not None:
            # Reading a missing page through LMDB would kill the process.
            self.channel.damage("pages", "store", str(cut))
            return None
        try:
            environment = Environment(self.path, 0, "full", readonly=True)
            environment.table("index")
        except (StoreError, KeyError) as error:
            self.channel.damage("pages", "store", f"LMDB cannot open it: {error}")
            return None
        return environment

    def _find_tally(self) -> None:
        """Find the last commit's tally on the pages."""
        with self.channel.heartbeat("pages"):
            found = find_last_tally(self.path)
        self.tally, self.certain = (found.tally, found.certain) if found else (None, False)
        if found is None:
            self.channel.damage("tally", "tally", "what the last commit counted cannot be read")
        elif not found.certain:
            older = f"what the last commit counted cannot be read, only commit {found.tally.commit}"
            self.channel.damage("tally", "tally", older)
        self.total = self.tally.records if self.tally else 0

    def _identity(self, environment: Environment, txn: Any) -> Identity | None:
        problems = meta_problems(self.path)
        for problem in problems:
            self.channel.damage("pages", "meta pages", problem)
        try:
            # LMDB may have used the wrong meta page.
            self.tally = None if problems else read_tally(environment, txn)
        except (RJepaError, lmdb.Error):
            self.tally = None
        self.total = self.tally.records if self.tally else 0
        try:
            return read_identity(environment, txn)
        except (RJepaError, lmdb.Error) as error:
            self.channel.damage("identity", "identity", str(error))
            return None

    def _complete(self) -> bool:
        """Return whether the new store holds exactly what the old one's last commit counted."""
        old = self.tally
        if old is None or len(self.entries) < (old.history or 0) or meta_problems(self.path):
            return False
        return self.certain and self._equal()

    def _equal(self) -> bool:
        """Return whether the new store's records and failures match the tally's digests."""
        new, old = self.store.tally(), self.tally
        if old is None:
            return False
        digests = (old.records_digest, old.failures_digest)
        return (new.records_digest, new.failures_digest) == digests

    def _tables(self, environment: Environment) -> None:
        walk, lookup = begin_pair(environment)
        for done, (raw_key, sure) in enumerate(self._raw_keys(environment, walk)):
            if raw_key.hex() in self.skip or self.store.has_record(raw_key):
                continue
            self.channel.send(at=raw_key.hex())
            self.channel.progress("records", done, self.total)
            try:
                self.store.write_encoded([lookup.reader.encoded(raw_key)])
            except (MismatchError, lmdb.Error) as error:
                self._report_lost("record", raw_key, str(error), sure)
                if isinstance(error, lmdb.Error):
                    lookup.renew()
        lookup.close()
        self.channel.send(at="tables")
        try:
            with walk.reader.txn.cursor(environment.table("failures")) as cursor:
                for key, value in cursor:
                    self._failure(bytes(key), value)
        except lmdb.Error as error:
            self.channel.damage("pages", "failures", str(error))
            walk.renew()
        self._grades(environment, walk)
        self._history(environment, walk.reader.txn)
        walk.close()

    def _report_lost(self, kind: str, raw_key: bytes, why: str, sure: bool) -> None:
        """Report that something under a key cannot be saved.

        Args:
            sure: false if the key itself may be damaged, or the record may have been removed.
        """
        if not sure:
            self.channel.send(doubtful=[kind, raw_key.hex(), why])
        elif raw_key not in self.lost:
            self.lost.add(raw_key)
            self.channel.damage(kind, raw_key.hex(), why)

    def _raw_keys(
        self, environment: Environment, walk: RenewableReader
    ) -> Iterator[tuple[bytes, bool]]:
        """Yield keys in the order of blocks, then, unconfirmed, those that only the index has.

        The second value says whether the key is confirmed.
        """
        for table in ("order", "index"):
            self.channel.send(at="tables")
            try:
                with walk.reader.txn.cursor(environment.table(table)) as cursor:
                    for key, value in cursor:
                        try:
                            if table == "order":
                                yield decode_place(key, value), True
                            else:
                                yield bytes(key), False
                        except MismatchError:
                            continue  # The index has it, or the search of the pages finds it.
                        self.channel.send(at="tables")
            except lmdb.Error as error:
                self.channel.damage("pages", table, f"LMDB cannot read on: {error}")
                walk.renew()
            self.store.commit()  # So that the pass over the index skips what is saved.

    def _failure(self, raw_key: bytes, value: Any) -> None:
        try:
            failure = decode_failure(true_failure_key(value) or raw_key, value)
        except MismatchError as error:
            self._report_lost("failure", raw_key, str(error), sure=False)
            return
        if self.store.entry(failure.key) is None:
            self.store.write_encoded([], [failure])

    def _grades(self, environment: Environment, walk: RenewableReader) -> None:
        """The grades of the records that are saved, unless they are of earlier ones."""
        table, index = environment.later_table("grades"), environment.table("index")
        if table is None:
            return
        try:
            with walk.reader.txn.cursor(table) as cursor:
                for key, value in cursor:
                    raw_key = bytes(key)
                    if raw_key == GRADES_TALLY or not self.store.has_record(raw_key):
                        continue
                    try:
                        grade, sequence = decode_grade(raw_key, value)
                        entry = walk.reader.txn.get(raw_key, db=index)
                        if entry is None or decode_head(raw_key, entry).sequence == sequence:
                            self.store.write_grades([grade])
                    except MismatchError as error:
                        self.channel.damage("grade", name_key(raw_key), str(error))
        except lmdb.Error as error:
            self.channel.damage("grade", "grades", f"LMDB cannot read on: {error}; grade again")
            walk.renew()

    def _history(self, environment: Environment, txn: Any) -> None:
        try:
            with txn.cursor(environment.table("history")) as cursor:
                for key, value in cursor:
                    if not self._entry(bytes(key), value) and len(key) == 8:
                        self.damaged_entries[decode_sequence(key)] = (
                            "it does not match its checksum"
                        )
        except lmdb.Error as error:
            self.channel.damage("pages", "history", str(error))

    def _entry(self, raw_key: bytes, value: Any) -> bool:
        """Keep an entry of the run history for the end; return whether it is one."""
        if len(raw_key) != 8 or raw_key[:4] != bytes(4):
            return False
        try:
            self.entries[decode_sequence(raw_key)] = decode_json(raw_key, value)
        except MismatchError:
            return False
        return True

    def _write_history(self) -> None:
        """Write the run history in order, and report its lost entries."""
        for number in sorted(self.entries):
            self.store.add_history(self.entries[number])
        known = self.tally.history if self.tally else None
        wanted = set(range(known)) if known is not None else {*self.damaged_entries}
        for number in sorted(wanted - {*self.entries}):
            why = self.damaged_entries.get(number, "it cannot be found")
            self.channel.damage("history", name_entry(encode_sequence(number)), why)
