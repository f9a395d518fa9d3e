"""Read a whole store, in a process of its own.

`subprocess.watch` runs it as `python -m rjepa_adapters.lmdb_store.recovery.inspector`.
"""

from __future__ import annotations

import struct
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import lmdb

from rjepa_core.domain.identity import differences
from rjepa_core.errors import RJepaError, StoreError, StoreLockedError
from rjepa_core.text import count

from ..directory import WriterLock
from ..environment import Environment
from ..format.checksum import MismatchError, checksum
from ..format.head import Head, decode_head
from ..format.record import (
    check_block,
    decode_place,
    decode_sequence,
    decode_texts,
    encode_key,
    encode_sequence,
    name_entry,
    name_key,
)
from ..format.values import (
    GRADES_TALLY,
    decode_failure,
    decode_grade,
    decode_grades_tally,
    decode_json,
    grade_digest,
)
from ..metadata import (
    Tally,
    check_header,
    has_header,
    history_digest,
    read_identity,
    read_sidecar,
    read_tally,
)
from ..reader import begin_pair
from .integrity import find_cut
from .pages import meta_problems
from .subprocess import Channel


def verify(path: Path, channel: Channel) -> dict[str, Any]:
    """Read everything, send each damage, and return the counts of what is sound."""
    cut = find_cut(path)
    if cut is not None:
        channel.damage("pages", "store", str(cut))
        return {"records": 0, "failures": 0}
    _verify_pages(path, channel)
    try:
        environment = Environment(path, 0, "full", readonly=True)
        if not has_header(environment):
            channel.damage("header", "store", "the header is missing")
            return {"records": 0, "failures": 0}
        return _Check(environment, channel).run()
    except (StoreError, lmdb.Error, struct.error, OverflowError, ValueError) as error:
        channel.damage("pages", "store", str(error))
        return {"records": 0, "failures": 0}


def _verify_pages(path: Path, channel: Channel) -> None:
    """Check the structure of LMDB's pages, unless a running writer may change them meanwhile."""
    try:
        lock = WriterLock(path)
    except StoreLockedError:
        channel.note("the structure of the pages was not checked: a run is writing to the store")
        return
    except RJepaError as error:
        channel.note(f"the structure of the pages was not checked: {error}")
        return
    try:
        for problem in meta_problems(path):
            channel.damage("pages", "meta pages", problem)
        try:
            from lmdb.verify import VerifyError
            from lmdb.verify import verify as verify_pages
        except ImportError:
            channel.note("the structure of the pages was not checked: it needs lmdb 3.0 or newer")
            return
        with channel.heartbeat("pages"):
            try:
                problems = verify_pages(str(path))
            except VerifyError as error:
                problems = [str(error)]
        for number, problem in enumerate(problems[:20]):
            channel.damage("pages", f"structure {number + 1}", problem)
    finally:
        lock.release()


class _Check:
    """One pass over every table of a store, as of one commit."""

    def __init__(self, environment: Environment, channel: Channel) -> None:
        self.environment = environment
        self.walk, self.lookup = begin_pair(environment)
        self.channel = channel
        self.found: Counter[str] = Counter()
        self.total = 0
        self.broken = 0

    def run(self) -> dict[str, Any]:
        tally = self._metadata()
        self.total = tally.records if tally else 0
        for step in (self._records, self._index, self._failures, self._grades, self._history):
            self._try(step)
        if tally is not None:
            self._try(lambda: self._compare(tally), "counts")
        self.lookup.close()
        self.walk.close()
        return {"records": self.found["records"], "failures": self.found["failures"]}

    def _try(self, step: Callable[[], None], name: str | None = None) -> None:
        """Run a step; an error of LMDB ends the step, not the inspection."""
        try:
            step()
        except (lmdb.Error, struct.error, OverflowError) as error:
            name = name or step.__name__.strip("_")
            self._damage("pages", name, f"LMDB cannot read on: {error}")
            self.walk.renew()

    @property
    def txn(self) -> Any:
        return self.walk.reader.txn

    def _damage(self, kind: str, name: str, why: str) -> None:
        self.broken += 1
        self.channel.damage(kind, name, why)

    def _metadata(self) -> Tally | None:
        """Check header, identity and tally; return the tally, or None if it is damaged."""
        tally = None
        try:
            check_header(self.environment)
        except RJepaError as error:
            self._damage("header", "header", str(error))
        try:
            identity = read_identity(self.environment, self.txn)
            copy = read_sidecar(self.environment.path)
            # The copy may know more: a run may be killed after it completed the copy alone.
            if identity is not None and (copy is None or differences(copy, identity)):
                self._damage("identity", "identity.json", "it is not the store's identity")
        except RJepaError as error:
            self._damage("identity", "identity", str(error))
        try:
            tally = read_tally(self.environment, self.txn)
        except RJepaError as error:
            self._damage("tally", "tally", str(error))
        return tally

    def _records(self) -> None:
        index = self.environment.table("index")
        with self.txn.cursor(self.environment.table("order")) as cursor:
            for number, value in cursor:
                self.channel.progress("records", self.found["records"], self.total)
                name = f"number {decode_sequence(number)}" if len(number) == 8 else "number ?"
                try:
                    raw_key = decode_place(number, value)
                    name = name_key(raw_key)
                    entry = self.lookup.reader.txn.get(raw_key, db=index)
                    if entry is None:
                        raise MismatchError("it is missing from the index")
                    head = decode_head(raw_key, entry)
                    name = name_key(raw_key, head)
                    self._record(raw_key, head, bytes(number))
                except MismatchError as error:
                    self._damage("record", name, str(error))
                except lmdb.Error as error:
                    self._damage("record", name, str(error))
                    self.lookup.renew()

    def _record(self, raw_key: bytes, head: Head, number: bytes) -> None:
        if encode_sequence(head.sequence) != number:
            raise MismatchError("its blocks are another record's")
        blocks = {}
        for table in ("vectors", "texts"):
            blocks[table] = self.lookup.reader.txn.get(number, db=self.environment.table(table))
            if blocks[table] is None:
                raise MismatchError(f"its {table} are missing")
        check_block(raw_key, blocks["vectors"], head.vectors_sum, head.vectors_bytes, "vectors")
        check_block(raw_key, blocks["texts"], head.texts_sum, head.texts_bytes, "texts")
        trace = decode_texts(blocks["texts"])
        if encode_key(trace.key) != raw_key:
            raise MismatchError("its texts are another record's")
        found = self.found
        found["records"] += 1
        found["steps"] += head.steps
        found["tokens"] += head.tokens
        found["records_digest"] += head.digest(raw_key)

    def _index(self) -> None:
        """Check that every entry of the index is in the order, where passes over the store look."""
        order = self.environment.table("order")
        before = b""
        with self.txn.cursor(self.environment.table("index")) as cursor:
            for done, (key, value) in enumerate(cursor):
                self.channel.progress("index", done, self.total)
                raw_key = bytes(key)
                head = None
                try:
                    head = decode_head(raw_key, value)
                    number = encode_sequence(head.sequence)
                    place = self.lookup.reader.txn.get(number, db=order)
                    if place is None or decode_place(number, place) != raw_key:
                        raise MismatchError("it is missing from the order of records")
                except MismatchError as error:
                    self._damage("record", name_key(raw_key, head), str(error))
                except lmdb.Error as error:
                    self._damage("record", name_key(raw_key, head), str(error))
                    self.lookup.renew()
                self.found["problems"] += raw_key[:-4] != before
                before = raw_key[:-4]

    def _failures(self) -> None:
        with self.txn.cursor(self.environment.table("failures")) as cursor:
            for key, value in cursor:
                self.channel.progress("failures", self.found["failures"])
                raw_key = bytes(key)
                try:
                    decode_failure(raw_key, value)
                except MismatchError as error:
                    self._damage("failure", name_key(raw_key), str(error))
                    continue
                self.found["failures"] += 1
                self.found["failures_digest"] += int.from_bytes(checksum(raw_key, value), "little")

    def _grades(self) -> None:
        """Every grade, against the tally that its table keeps."""
        table = self.environment.later_table("grades")
        if table is None:
            return
        tally, found, digest, broken = None, 0, 0, self.broken
        with self.txn.cursor(table) as cursor:
            for key, value in cursor:
                self.channel.progress("grades", found)
                raw_key = bytes(key)
                try:
                    if raw_key == GRADES_TALLY:
                        tally = decode_grades_tally(value)
                    else:
                        decode_grade(raw_key, value)
                        found, digest = found + 1, digest + grade_digest(raw_key, value)
                except MismatchError as error:
                    name = name_key(raw_key) if raw_key != GRADES_TALLY else "tally"
                    self._damage("grade", name, str(error))
        if tally != (found, digest % 2**128) and self.broken == broken:
            kept = "nothing" if tally is None else count(tally[0], "grade")
            self._damage("grade", "tally", f"it counts {kept}, found are {found}")

    def _history(self) -> None:
        with self.txn.cursor(self.environment.table("history")) as cursor:
            for done, (key, value) in enumerate(cursor):
                self.channel.progress("history", done)
                raw_key = bytes(key)
                try:
                    decode_json(raw_key, value)
                except MismatchError as error:
                    self._damage("history", name_entry(raw_key), str(error))
                    continue
                self.found["history"] += 1
                self.found["history_digest"] += history_digest(raw_key, value)

    def _compare(self, tally: Tally) -> None:
        """Compare the tally: only counts and digests reveal lost and swapped records."""
        counted = Tally().changed(1, **self.found)
        for field in attrs.fields(Tally):
            name = field.name
            uncounted = name.startswith("history") and tally.history is None
            if name in ("commit", "next_sequence") or uncounted:
                continue
            kept, found = getattr(tally, name), getattr(counted, name)
            # Damaged records are not counted, so a comparison is only valid without damage.
            if kept != found and not self.broken:
                self._damage("tally", name, f"the last commit counted {kept}, found are {found}")
        for table in ("vectors", "texts", "order", "index"):
            entries = self.txn.stat(self.environment.table(table))["entries"]
            if entries != tally.records:
                why = f"it has {count(entries, 'entry')} for {count(tally.records, 'record')}"
                self._damage("tally", table, why)


def main(arguments: list[str]) -> None:
    """Run `verify PATH` or `salvage PATH TARGET SKIPPED`."""
    channel = Channel()
    try:
        if arguments[0] == "verify":
            channel.send(end=verify(Path(arguments[1]), channel))
        else:
            from .salvage import salvage

            channel.send(end=salvage(Path(arguments[1]), arguments[2], arguments[3], channel))
    except RJepaError as error:
        # Errors that a user can solve are sent as they are; anything else ends in a traceback.
        channel.send(error=[type(error).__name__, str(error)])
    except OSError as error:
        channel.send(error=["OSError", error.errno, error.strerror, error.filename or arguments[1]])


if __name__ == "__main__":
    main(sys.argv[1:])
