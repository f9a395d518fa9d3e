"""JSON Lines: one object per line."""

from __future__ import annotations

import json
from typing import Any

from rjepa_core.errors import InputError
from rjepa_core.settings import ProblemSettings

from .files import check_file, file_digest, text_lines
from .reader import RowReader
from .record import kind_of
from .rows import Records, RecordSource


def source(location: str, problems: ProblemSettings) -> RecordSource:
    """Return the source of a JSON Lines file."""
    check_file(location)
    return RecordSource(
        location,
        lambda: _records(location),
        RowReader.of(problems),
        lambda: f"jsonl {file_digest(location)}",
    )


def _records(location: str) -> Records:
    first = True
    for number, line in text_lines(location):
        text = line.strip()
        if not text:
            continue
        where = f"{location}:{number}"
        if first and text.startswith("["):
            raise InputError(
                f"{where}: a JSON array, not one object per line; "
                "convert it first: jq -c '.[]' OLD > NEW.jsonl"
            )
        first = False
        try:
            record = json.loads(text, object_pairs_hook=_object_without_repeats)
        except json.JSONDecodeError as error:
            spread = "; a row must be on one line" if text in ("{", "}") else ""
            raise InputError(
                f"{where}: broken JSON: {error.msg} (column {error.colno}){spread}"
            ) from None
        except _RepeatedError as error:
            raise InputError(
                f"{where}: {error} occurs twice in an object; one of its values would be lost"
            ) from None
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: JSON that cannot be read: {error}") from None
        if not isinstance(record, dict):
            raise InputError(f"{where}: a row is {kind_of(record)}; it must be an object {{…}}")
        yield where, record


class _RepeatedError(ValueError):
    pass


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; refuse one with a repeated key, whose first value would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedError(repr(next(name for name in names if names.count(name) > 1)))
    return found
