"""A source made of records; typed values are converted to those of a text file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import numpy as np

from rjepa_core.errors import InputError
from rjepa_core.ports.source import SourceRow

from .reader import RowReader

Records = Iterator[tuple[str, Mapping[str, Any]]]


@attrs.frozen
class RecordSource:
    """A problem source over records, read from the start each time.

    Attributes:
        location: as given, for messages.
        records: opens the source and yields the location and the values of each record.
        reader: turns a record into a problem and its solutions.
        content: returns a digest of what is read, and of settings other than the reader's; None if
            there is no cheap one.
    """

    location: str
    records: Callable[[], Records]
    reader: RowReader
    content: Callable[[], str] | None = None

    def rows(self) -> Iterator[SourceRow]:
        empty = True
        for where, record in self.records():
            empty = False
            yield self.reader.read(record, where)
        if empty:
            raise InputError(f"{self.location}: holds no problem")

    def fingerprint(self) -> str | None:
        """See `Fingerprints`."""
        return None if self.content is None else f"{self.content()} {self.reader!r}"


_SHORT_FLOATS = {"float": np.float32, "float32": np.float32, "halffloat": np.float16}
_SHORT_FLOATS["float16"] = np.float16


def short_floats(types: Mapping[str, object]) -> dict[str, type]:
    """Return the types of columns with short floats, of which Python would show extra digits."""
    return {n: _SHORT_FLOATS[str(t)] for n, t in types.items() if str(t) in _SHORT_FLOATS}


def as_text_source(row: Mapping[str, Any], short: Mapping[str, type]) -> dict[str, Any]:
    """Return a row with values as in JSON, and decimals.

    Args:
        short: from `short_floats`.
    """
    plain = {name: _plain(value) for name, value in row.items()}
    for name, kind in short.items():
        value = plain.get(name)
        if isinstance(value, float) and math.isfinite(value):
            # 0.1, not the 0.10000000149011612 of the nearest float32.
            plain[name] = float(str(kind(value)))
    return plain


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return _text_or_bytes(bytes(value))
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, UUID | timedelta):
        return str(value)
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        if value and all(_is_pair(item) for item in value):
            return _plain(dict(value))
        return [_plain(item) for item in value]
    return value


def _is_pair(value: Any) -> bool:
    """Return whether a value is an entry of an Arrow map; elements of lists are never tuples."""
    return isinstance(value, tuple) and len(value) == 2


def _text_or_bytes(value: bytes) -> str | bytes:
    """Return bytes as text if they are UTF-8: many programs write text into a column of bytes."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return value
    return value if "\0" in text else text


def _moment(value: datetime) -> str | None:
    """Return a moment as text; midnight is a date that a table program turned into a moment."""
    if value != value:  # pandas' NaT
        return None
    midnight = value.time() == time() and not getattr(value, "nanosecond", 0)
    if value.tzinfo is None and midnight:
        return value.date().isoformat()
    return value.isoformat(sep=" ")


def repeated(names: Iterable[str]) -> str | None:
    """Return the first name that occurs twice, or None."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
