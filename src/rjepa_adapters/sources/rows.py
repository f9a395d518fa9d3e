"""A source made of records: mappings of field names to values, each with the place it stood at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from rjepa_core.errors import InputError
from rjepa_core.ports.source import SourceRow

from .reader import RowReader

Records = Iterator[tuple[str, Mapping[str, Any]]]


@attrs.frozen
class RecordSource:
    """Reads records again from the start each time.

    Attributes:
        location: as it was given, for messages.
        records: opens the source and yields where each record stands, and the record.
        reader: turns a record into a problem and its solutions.
    """

    location: str
    records: Callable[[], Records]
    reader: RowReader

    def rows(self) -> Iterator[SourceRow]:
        empty = True
        for where, record in self.records():
            empty = False
            yield self.reader.read(record, where)
        if empty:
            raise InputError(f"{self.location}: holds no problem")
