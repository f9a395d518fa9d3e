"""Parquet files, read a batch of rows at a time."""

from __future__ import annotations

from typing import Any

from rjepa_core.errors import InputError, UsageError
from rjepa_core.settings import ProblemSettings

from ..optional import install_extra
from .files import check_file, file_digest, packed_as
from .reader import RowReader
from .rows import Records, RecordSource, as_text_source, repeated, short_floats

BATCH_ROWS = 256


def source(location: str, problems: ProblemSettings) -> RecordSource:
    """Return the source of a Parquet file.

    Raises:
        UsageError: pyarrow is not installed.
    """
    check_file(location)
    arrow, parquet = _pyarrow(location)
    return RecordSource(
        location,
        lambda: _records(location, arrow, parquet),
        RowReader.of(problems),
        lambda: f"parquet {file_digest(location)}",
    )


def _pyarrow(location: str) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError(
            f"{location}: reading Parquet needs pyarrow: {install_extra('data')}"
        ) from None
    return pyarrow, pyarrow.parquet


def _records(location: str, arrow: Any, parquet: Any) -> Records:
    path = check_file(location)
    if not path.stat().st_size:
        raise InputError(f"{location}: is empty")
    if packed := packed_as(path):
        raise InputError(
            f"{location}: Parquet packed as {packed}, which is not supported: it is "
            "compressed inside already; unpack it"
        )
    number = 0
    try:
        # Arrow cannot open a path whose bytes are not UTF-8.
        with path.open("rb") as opened, parquet.ParquetFile(opened) as file:
            schema = file.schema_arrow
            if name := repeated(schema.names):
                raise InputError(
                    f"{location}: the column {name!r} occurs twice; one of them would be lost"
                )
            short = short_floats({field.name: field.type for field in schema})
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                for record in batch.to_pylist():
                    number += 1
                    yield f"{location}, row {number}", as_text_source(record, short)
    except InputError:
        raise
    except (arrow.ArrowException, OSError, ValueError, NotImplementedError) as error:
        place = f"{location}, row {number + 1}" if number else location
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{place}: not a Parquet file, or a damaged one: {line}") from None
