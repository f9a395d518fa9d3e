"""Search all pages of a damaged store, as bytes, for records and failures."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rjepa_core.domain.grade import Grade

from ..directory import DATA
from ..format.checksum import MismatchError
from ..format.head import Head, decode_head
from ..format.record import (
    LONGEST_KEY,
    EncodedRecord,
    check_block,
    decode_texts,
    encode_sequence,
    name_key,
)
from ..format.values import decode_failure, decode_grade, true_failure_key
from ..store import LmdbStore
from .pages import Node, leaf_nodes, page_size, read_value
from .subprocess import Channel


class PageSearch:
    """A search of the store at `path` that writes into `store` what is found and missing there.

    Args:
        keep_entry: called with key and value of every small node; keeps it and returns true if it
            is an entry of the run history.
    """

    def __init__(
        self,
        path: Path,
        store: LmdbStore,
        channel: Channel,
        keep_entry: Callable[[bytes, Any], bool],
    ) -> None:
        self._path = path
        self._store = store
        self._channel = channel
        self._keep_entry = keep_entry
        self._grades: dict[bytes, set[tuple[Grade, int]]] = {}

    def run(self) -> list[bytes]:
        """Search; return the keys of records with only a head found, in the order of writing."""
        heads: dict[bytes, Head] = {}
        blocks: dict[bytes, list[Node]] = {}
        bare = []
        with self._channel.heartbeat("pages"):
            for page, total, node in leaf_nodes(self._path):
                self._channel.progress("pages", page, total)
                # A short id's key may have the eight bytes of a block's number.
                if len(node.key) == 8:
                    blocks.setdefault(node.key, []).append(node)
                if node.value is not None and 5 < len(node.key) <= LONGEST_KEY:
                    self._take_node(node, heads)
            size = page_size(self._path)
            with open(self._path / DATA, "rb") as file:
                for raw_key, head in sorted(heads.items(), key=lambda item: item[1].sequence):
                    found = [
                        read_value(file, size, node)
                        for node in blocks.get(encode_sequence(head.sequence), ())
                        if node.size in (head.vectors_bytes, head.texts_bytes)
                    ]
                    record = _assemble(raw_key, head, found)
                    if record is not None:
                        self._store.write_encoded([record])
                        self._write_grade(raw_key, head)
                    else:
                        bare.append(raw_key)
        return bare

    def _write_grade(self, raw_key: bytes, head: Head) -> None:
        """Save the grade of a record, unless the pages hold several for it."""
        found = [g for g, number in self._grades.get(raw_key, ()) if number == head.sequence]
        if len(found) == 1:
            self._store.write_grades(found)
        elif found:
            self._channel.damage("grade", name_key(raw_key, head), "there are several; grade again")

    def _take_node(self, node: Node, heads: dict[bytes, Head]) -> None:
        """Keep the newest head of each key that is not saved yet; save a failure at once."""
        if self._keep_entry(node.key, node.value) or self._store.has_record(node.key):
            return
        with suppress(MismatchError):
            self._grades.setdefault(node.key, set()).add(decode_grade(node.key, node.value))
            return
        try:
            head = decode_head(node.key, node.value)
        except MismatchError:
            try:
                failure = decode_failure(true_failure_key(node.value) or node.key, node.value)
            except MismatchError:
                return
            if self._store.entry(failure.key) is None:
                self._store.write_encoded([], [failure])
            return
        known = heads.get(node.key)
        if known is None or known.sequence < head.sequence:
            heads[node.key] = head


def _assemble(raw_key: bytes, head: Head, found: list[bytes]) -> EncodedRecord | None:
    """Return a record from its head and the blocks that match it; None if one is missing."""
    parts = []
    for total, size, what in (
        (head.vectors_sum, head.vectors_bytes, "vectors"),
        (head.texts_sum, head.texts_bytes, "texts"),
    ):
        for block in found:
            try:
                check_block(raw_key, block, total, size, what)
            except MismatchError:
                continue
            parts.append(block)
            break
    if len(parts) < 2:
        return None
    return EncodedRecord(decode_texts(parts[1]).key, raw_key, head, *parts)
