"""The store's metadata: header, identity, tally and run history.

Functions take a transaction of `Environment.read` or `Environment.write`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from rjepa_core.domain.identity import Identity
from rjepa_core.errors import DamagedRecordError, IdentityError, StoreError

from ..paths import sync_directory
from .directory import SIDECAR
from .environment import Environment
from .format.checksum import MismatchError, checksum
from .format.record import encode_sequence
from .format.values import decode_json, encode_json

FORMAT = "rjepa-lmdb"
VERSION = 1
_HEADER = b"header"
_IDENTITY = b"identity"
TALLY = b"tally"
_DIGEST_RANGE = 2**128
_DIGESTS = ("records_digest", "failures_digest", "history_digest")


@attrs.frozen
class Tally:
    """Counts and digests, updated by every commit, against which the store's content is checked.

    Attributes:
        commit: number of the commit.
        next_sequence: number for the next record's blocks.
        records, problems, steps, tokens, failures: how many.
        records_digest: sum, modulo 2^128, of the checksums of every record's key and head; equal
            for stores with equal records, regardless of the order in which they were written.
        failures_digest: likewise, of the failures' keys and values.
        history: entries of the run history; None in a store whose last commit did not count them.
        history_digest: likewise, of their numbers and values.
    """

    commit: int = 0
    next_sequence: int = 0
    records: int = 0
    problems: int = 0
    steps: int = 0
    tokens: int = 0
    failures: int = 0
    records_digest: int = 0
    failures_digest: int = 0
    history: int | None = 0
    history_digest: int = 0

    def changed(self, sign: int, **amounts: int) -> Tally:
        """Return the tally with amounts added (sign 1) or subtracted (-1)."""
        new = {name: getattr(self, name) + sign * amount for name, amount in amounts.items()}
        for name in _DIGESTS:
            if name in new:
                new[name] %= _DIGEST_RANGE
        return attrs.evolve(self, **new)


def make_header(environment: Environment) -> None:
    """Write the tables, header and first tally of a new store."""
    environment.make_tables()

    def apply(txn: Any) -> None:
        fields = {
            "format": FORMAT,
            "version": VERSION,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        _put(environment, txn, _HEADER, fields)
        write_tally(environment, txn, Tally())

    environment.write(apply)


def has_header(environment: Environment) -> bool:
    """Return whether the store has its header; a store has none while it is being made.

    Raises:
        StoreError: the LMDB file is not a store, or damaged at the root.
    """
    if not environment.has_tables:
        environment.find_tables()
    if not environment.has_tables:
        if not environment.is_blank:
            raise StoreError(
                f"{environment.path}: its LMDB file is not a store, or damaged at the root; check "
                "the path, or repair the store"
            )
        return False
    with environment.read() as txn:
        return txn.get(_HEADER, db=environment.table("meta")) is not None


def check_header(environment: Environment) -> dict[str, Any]:
    """Check the header and return its fields.

    Raises:
        StoreError: the format or its version is not supported, or the header is damaged.
    """
    with environment.read() as txn:
        fields = _get(environment, txn, _HEADER, "header") or {}
    if fields.get("format") != FORMAT:
        raise StoreError(f"{environment.path}: not a store of this kind ({fields.get('format')!r})")
    version = int(fields["version"])
    if version > VERSION:
        raise StoreError(
            f"{environment.path}: the store has format version {version}, this rjepa reads up to "
            f"{VERSION}; update rjepa"
        )
    return fields


def read_identity(environment: Environment, txn: Any) -> Identity | None:
    """Return the store's identity; None before `begin`."""
    fields = _get(environment, txn, _IDENTITY, "identity")
    try:
        return None if fields is None else Identity.from_json(fields)
    except IdentityError as error:
        raise IdentityError(f"{environment.path}: {error}") from None


def write_identity(environment: Environment, txn: Any, identity: Identity) -> None:
    _put(environment, txn, _IDENTITY, identity.to_json())


def read_tally(environment: Environment, txn: Any) -> Tally:
    """Return the counts and digests of the last commit."""
    fields = _get(environment, txn, TALLY, "tally")
    if fields is None:
        raise DamagedRecordError(f"{environment.path}: the tally is missing; run store repair")
    return _tally_from_fields(fields)


def decode_tally(value: Any) -> Tally:
    """Return the tally in a value found on a page.

    Raises:
        MismatchError: the checksum differs.
    """
    return _tally_from_fields(decode_json(TALLY, value))


def _tally_from_fields(fields: dict[str, Any]) -> Tally:
    fields.setdefault("history", None)
    fields.setdefault("history_digest", "0")
    for name in _DIGESTS:
        fields[name] = int(fields[name], 16)
    return Tally(**fields)


def write_tally(environment: Environment, txn: Any, tally: Tally) -> None:
    fields = attrs.asdict(tally)
    for name in _DIGESTS:
        fields[name] = f"{fields[name]:032x}"
    _put(environment, txn, TALLY, fields)


def append_history(environment: Environment, txn: Any, entry: Mapping[str, Any]) -> None:
    """Add an entry to the run history."""
    table = environment.table("history")
    tally = read_tally(environment, txn)
    with txn.cursor(table) as cursor:
        last = int.from_bytes(bytes(cursor.key()), "big") if cursor.last() else -1
        if tally.history is None:
            cursor.first()
            digests = [history_digest(bytes(key), value) for key, value in cursor.iternext()]
            tally = attrs.evolve(tally, history=0)
            for digest in digests:
                tally = tally.changed(1, history=1, history_digest=digest)
    raw_key = encode_sequence(last + 1)
    value = encode_json(raw_key, entry)
    txn.put(raw_key, value, db=table)
    tally = tally.changed(1, history=1, history_digest=history_digest(raw_key, value))
    write_tally(environment, txn, attrs.evolve(tally, commit=tally.commit + 1))


def history_digest(raw_key: bytes, value: Any) -> int:
    """Return an entry's share of the digest over the run history."""
    return int.from_bytes(checksum(raw_key, value), "little")


def _put(environment: Environment, txn: Any, raw_key: bytes, fields: Mapping[str, Any]) -> None:
    txn.put(raw_key, encode_json(raw_key, fields), db=environment.table("meta"))


def _get(environment: Environment, txn: Any, raw_key: bytes, what: str) -> dict[str, Any] | None:
    value = txn.get(raw_key, db=environment.table("meta"))
    if value is None:
        return None
    try:
        return decode_json(raw_key, value)
    except MismatchError as error:
        raise DamagedRecordError(
            f"{environment.path}: the store's {what} is damaged: {error}; repair the store"
        ) from error


def write_sidecar(path: Path, identity: Identity) -> None:
    """Write the copy of the identity beside the store in the directory `path`, atomically."""
    content = identity.to_json()
    fields = {"identity": content, "checksum": _sum(content)}
    new = path / (SIDECAR + ".new")
    with open(new, "w", encoding="utf-8") as file:
        file.write(json.dumps(fields, indent=2, sort_keys=True) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path / SIDECAR)
    sync_directory(path)


def read_sidecar(path: Path) -> Identity | None:
    """Return the copy of the identity, or None if it is missing or damaged."""
    try:
        fields = json.loads((path / SIDECAR).read_text(encoding="utf-8"))
        if fields["checksum"] != _sum(fields["identity"]):
            return None
        return Identity.from_json(fields["identity"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sum(content: object) -> str:
    return checksum(json.dumps(content, sort_keys=True).encode()).hex()
