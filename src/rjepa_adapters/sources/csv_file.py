"""CSV with a header line."""

from __future__ import annotations

import csv
from collections.abc import Iterator

import attrs

from rjepa_core.errors import InputError
from rjepa_core.settings import ProblemSettings

from .files import MAX_LINE, check_file, file_digest, text_lines
from .reader import RowReader
from .rows import Records, RecordSource


def source(location: str, problems: ProblemSettings, delimiter: str | None) -> RecordSource:
    """Return the source of a CSV file."""
    check_file(location)
    reader = RowReader.of(problems)
    return RecordSource(
        location,
        lambda: _records(location, reader, delimiter),
        reader,
        lambda: f"csv {delimiter!r} {file_digest(location)}",
    )


@attrs.define
class _NumberedLines:
    """Lines for `csv.reader`; `number` is that of the last line it read."""

    lines: Iterator[tuple[int, str]]
    number: int = 0

    def __iter__(self) -> Iterator[str]:
        for number, line in self.lines:
            self.number = number
            yield line


def _records(location: str, reader: RowReader, delimiter: str | None) -> Records:
    lines = _NumberedLines(text_lines(location))
    feed = iter(lines)
    first = next(feed)
    if delimiter is None:
        delimiter = max(",;\t", key=first.count)
    # The module's own limit is 128 KiB per field; a long solution has more.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    table = csv.reader(_chain(first, feed), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    taken = 0
    while True:
        where = f"{location}:{taken + 1}"
        try:
            cells = next(table)
        except StopIteration:
            break
        except csv.Error as error:
            raise InputError(f"{where}: broken CSV: {error}") from None
        taken = lines.number
        if not cells:
            continue
        if header is None:
            header = _header(cells, where, reader)
        elif len(cells) != len(header):
            raise InputError(
                f"{where}: {_count(len(cells))}, but the header has {len(header)}; "
                "put cells that hold the delimiter in double quotes"
            )
        else:
            # A column without a name is an index that a table program wrote.
            yield where, {name: cell for name, cell in zip(header, cells, strict=True) if name}


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _header(cells: list[str], where: str, reader: RowReader) -> list[str]:
    header = [cell.strip() for cell in cells]
    named = [name for name in header if name]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise InputError(f"{where}: the header names {twice[0]!r} twice")
    if not reader.fields.has_statement(named):
        shown = ", ".join(repr(n if len(n) <= 40 else n[:39] + "…") for n in named[:8])
        raise InputError(
            f"{where}: no column for the statement in the header ({shown or 'it is blank'}); "
            "name it: problems.fields.statement=NAME, or add the header line if there is none"
        )
    return header


def _count(cells: int) -> str:
    return "1 cell" if cells == 1 else f"{cells} cells"
