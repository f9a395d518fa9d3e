"""Read records and failures in a transaction."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NoReturn

import attrs
import lmdb

from rjepa_core.domain.grade import Grade
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.trace import Failure, RecordKey
from rjepa_core.errors import DamagedRecordError
from rjepa_core.ports.store import Entry

from .environment import Environment
from .format.checksum import MismatchError
from .format.head import Head, decode_head
from .format.record import (
    EncodedRecord,
    check_block,
    decode_key,
    decode_place,
    decode_sequence,
    decode_texts,
    encode_key,
    encode_sequence,
    is_hashed,
    name_entry,
    name_key,
    view_vectors,
)
from .format.values import GRADES_TALLY, decode_failure, decode_grade, decode_json


@attrs.frozen(eq=False)
class Reader:
    """A reader in one transaction.

    Attributes:
        environment: the store's environment.
        txn: a transaction of it.
        verify: compare what is read with its checksums.
    """

    environment: Environment
    txn: Any
    verify: bool = True

    def entry(self, key: RecordKey) -> Entry | None:
        """Return the entry of a key's record or failure; None if it has neither."""
        raw_key = encode_key(key)
        value = self._fetch(raw_key, "index", str(key))
        if value is not None:
            return _entry(self.head(raw_key, value, str(key)))
        value = self._fetch(raw_key, "failures", str(key))
        if value is not None:
            return Entry(self.failure(raw_key, value, str(key)).statement_hash, failed=True)
        return None

    def has(self, raw_key: bytes) -> bool:
        """Return whether the encoded key has a record."""
        return self._fetch(raw_key, "index", name_key(raw_key)) is not None

    def keys(self, after: RecordKey | None = None) -> Iterator[RecordKey]:
        """Yield the records' keys, all or those after `after`, in the order of blocks on disk."""
        start = 0 if after is None else self.find(after)[1].sequence + 1
        for raw_key, _ in self.raw_keys(start):
            yield self._key(raw_key)

    def entries(self) -> Iterator[tuple[RecordKey, Entry]]:
        """Yield the records' keys and entries, in the order of their blocks on disk."""
        index = self.environment.table("index")
        for raw_key, number in self.raw_keys():
            value = self.txn.get(raw_key, db=index)
            if value is None:
                self.broken(f"record {number}", "it is missing from the index")
            head = self.head(raw_key, value, f"record {number}")
            yield decode_key(raw_key, head.full_id), _entry(head)

    def raw_keys(self, start: int = 0) -> Iterator[tuple[bytes, int]]:
        """Yield encoded keys and sequence numbers from `start` on, in the order on disk."""
        with self.txn.cursor(self.environment.table("order")) as cursor:
            if start and not cursor.set_range(encode_sequence(start)):
                return
            for number, value in self._ascending(cursor, "the order of records"):
                try:
                    yield decode_place(number, value), decode_sequence(number)
                except MismatchError as error:
                    self.broken(f"record {bytes(number).hex()}", str(error))

    def failures(self) -> Iterator[Failure]:
        """Yield the failures, in the order of their keys."""
        with self.txn.cursor(self.environment.table("failures")) as cursor:
            for raw_key, value in self._ascending(cursor, "the table of failures"):
                raw_key = bytes(raw_key)
                yield self.failure(raw_key, value, name_key(raw_key))

    def grade(self, key: RecordKey) -> Grade | None:
        """The grade of a key's record."""
        table = self.environment.later_table("grades")
        if table is None:
            return None
        raw_key = encode_key(key)
        try:
            value = self.txn.get(raw_key, db=table)
        except lmdb.Error as error:
            self.broken(f"grade of {key}", f"LMDB cannot read its page ({error})")
        return None if value is None else self._grade(raw_key, value, str(key))

    def grades(self) -> Iterator[Grade]:
        """The grades, in the order of their keys."""
        table = self.environment.later_table("grades")
        if table is None:
            return
        with self.txn.cursor(table) as cursor:
            for raw_key, value in self._ascending(cursor, "the table of grades"):
                raw_key = bytes(raw_key)
                if raw_key != GRADES_TALLY:
                    grade = self._grade(raw_key, value, name_key(raw_key))
                    if grade is not None:
                        yield grade

    def _grade(self, raw_key: bytes, value: Any, name: str) -> Grade | None:
        """The checked grade in a value; None where its record has been written again since.

        A version that knows nothing of grades may have done so.
        """
        try:
            grade, sequence = decode_grade(raw_key, value)
        except MismatchError as error:
            self.broken(f"grade of {name}", str(error))
        entry = self._fetch(raw_key, "index", name)
        if entry is None or self.head(raw_key, entry, name).sequence != sequence:
            return None
        return grade

    def history(self) -> Iterator[dict[str, Any]]:
        """Yield the entries of the run history, oldest first."""
        with self.txn.cursor(self.environment.table("history")) as cursor:
            for raw_key, value in self._ascending(cursor, "the run history"):
                try:
                    yield decode_json(bytes(raw_key), value)
                except MismatchError as error:
                    self.broken(name_entry(bytes(raw_key)), str(error))

    def _ascending(self, cursor: Any, name: str) -> Iterator[tuple[Any, Any]]:
        """Yield a table's entries, checking their order: a damaged page can repeat some of them."""
        before = b""
        for raw_key, value in cursor:
            if bytes(raw_key) <= before:
                self.broken(name, "its keys do not ascend")
            before = bytes(raw_key)
            yield raw_key, value

    def get(self, key: RecordKey, views: bool = False) -> LatentRecord:
        """Return a record; with `views`, its arrays are valid only within the transaction."""
        raw_key, head = self.find(key)
        began = time.perf_counter()
        if self.environment.fetcher.wanted:
            self.environment.fetcher.ask([encode_sequence(head.sequence)])
        block = self.vectors(key, raw_key, head)
        self.environment.fetcher.took(time.perf_counter() - began, 1)
        latents, prompt, logprobs = view_vectors(head, block)
        texts = self._block("texts", head, key)
        self._check(key, raw_key, texts, head.texts_sum, head.texts_bytes, "texts")
        try:
            trace = decode_texts(texts)
        except MismatchError as error:
            self.broken(str(key), str(error))
        copy = not views
        return LatentRecord(
            trace,
            _owned(latents, copy),
            _owned(prompt, copy),
            None if logprobs is None else _owned(logprobs, copy),
        )

    def encoded(self, raw_key: bytes) -> EncodedRecord:
        """Return a record as it is stored, all of it checked.

        Raises:
            MismatchError: it is damaged or missing.
        """
        value = self.txn.get(raw_key, db=self.environment.table("index"))
        if value is None:
            raise MismatchError("it is missing from the index")
        head = decode_head(raw_key, value)
        blocks = []
        for table in ("vectors", "texts"):
            number = encode_sequence(head.sequence)
            block = self.txn.get(number, db=self.environment.table(table))
            if block is None:
                raise MismatchError(f"its {table} are missing")
            blocks.append(bytes(block))
        check_block(raw_key, blocks[0], head.vectors_sum, head.vectors_bytes, "vectors")
        check_block(raw_key, blocks[1], head.texts_sum, head.texts_bytes, "texts")
        key = decode_texts(blocks[1]).key
        if encode_key(key) != raw_key:
            raise MismatchError("its texts are another record's")
        return EncodedRecord(key, raw_key, head, *blocks)

    def find(self, key: RecordKey) -> tuple[bytes, Head]:
        """Return encoded key and head; raise KeyError if there is no such record."""
        raw_key = encode_key(key)
        value = self._fetch(raw_key, "index", str(key))
        if value is None:
            raise KeyError(f"{self.environment.path} holds no record {key}")
        return raw_key, self.head(raw_key, value, str(key))

    def vectors(self, key: RecordKey, raw_key: bytes, head: Head) -> Any:
        """Return the checked block of vectors as a view."""
        block = self._block("vectors", head, key)
        self._check(key, raw_key, block, head.vectors_sum, head.vectors_bytes, "vectors")
        return block

    def _block(self, table: str, head: Head, key: RecordKey) -> Any:
        block = self._fetch(encode_sequence(head.sequence), table, str(key))
        if block is None:
            self.broken(str(key), f"its {table} are missing")
        return block

    def _fetch(self, raw_key: bytes, table: str, name: str) -> Any:
        try:
            return self.txn.get(raw_key, db=self.environment.table(table))
        except lmdb.Error as error:
            self.broken(name, f"LMDB cannot read its page ({error})")

    def _check(
        self, key: RecordKey, raw_key: bytes, block: Any, expected: bytes, size: int, what: str
    ) -> None:
        if not self.verify and len(block) == size:
            return
        try:
            check_block(raw_key, block, expected, size, what)
        except MismatchError as error:
            self.broken(str(key), str(error))

    def _key(self, raw_key: bytes) -> RecordKey:
        if not is_hashed(raw_key):
            return decode_key(raw_key)
        value = self.txn.get(raw_key, db=self.environment.table("index"))
        if value is None:
            self.broken(raw_key.hex(), "it is missing from the index")
        return decode_key(raw_key, self.head(raw_key, value, raw_key.hex()).full_id)

    def head(self, raw_key: bytes, value: Any, name: str) -> Head:
        """Return the checked head in a value of the index."""
        try:
            return decode_head(raw_key, value)
        except MismatchError as error:
            self.broken(name, str(error))

    def failure(self, raw_key: bytes, value: Any, name: str) -> Failure:
        """Return the checked failure in a value of the failures table."""
        try:
            return decode_failure(raw_key, value)
        except MismatchError as error:
            self.broken(f"failure {name}", str(error))

    def broken(self, name: str, why: str) -> NoReturn:
        """Raise the error for something damaged."""
        raise DamagedRecordError(
            f"{self.environment.path}: {name} is damaged: {why}; repair the store"
        )


class ReaderContext:
    """A context manager whose value is a reader of one consistent state."""

    __slots__ = ("_environment", "_txn", "_verify")

    def __init__(self, environment: Environment, verify: bool) -> None:
        self._environment = environment
        self._verify = verify

    def __enter__(self) -> Reader:
        self._txn = self._environment.begin_read()
        return Reader(self._environment, self._txn, self._verify)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._environment.end_read(self._txn, error)


class RenewableReader:
    """A reader that can begin a new transaction after an error of LMDB has invalidated its own."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._stack = ExitStack()
        self.renew()

    def renew(self) -> None:
        """Begin a new transaction; what was read before is invalid."""
        self._stack.close()
        self.reader = Reader(self._environment, self._stack.enter_context(self._environment.read()))

    def close(self) -> None:
        self._stack.close()


def begin_pair(environment: Environment) -> tuple[RenewableReader, RenewableReader]:
    """Return two readers of the same commit, one to walk along a table, one to look records up.

    An error invalidates the transaction it occurs in, and an error of a look-up must not end the
    walk.
    """
    walk, lookup = RenewableReader(environment), RenewableReader(environment)
    while walk.reader.txn.id() != lookup.reader.txn.id():
        walk.renew()
        lookup.renew()
    return walk, lookup


def _entry(head: Head) -> Entry:
    return Entry(head.statement_hash, steps=head.steps, tokens=head.tokens)


def _owned(array: Any, copy: bool) -> Any:
    # Views must be aligned: a value that shares its page with others may start at any even byte.
    return array.copy() if copy or not array.flags.aligned else array
