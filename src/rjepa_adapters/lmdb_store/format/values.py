"""JSON with a checksum, the format of header, identity, tally, history and failures."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import attrs

from rjepa_core.domain.grade import Grade, check_grade
from rjepa_core.domain.trace import Failure, RecordKey
from rjepa_core.errors import ArgumentError

from .checksum import CHECKSUM_BYTES, MismatchError, checksum
from .record import encode_key


def encode_json(raw_key: bytes, fields: Mapping[str, Any]) -> bytes:
    """Encode the fields as JSON after a checksum."""
    text = json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    content = text.encode("utf-8", "surrogatepass")
    return checksum(raw_key, content) + content


def decode_json(raw_key: bytes, value: Any) -> dict[str, Any]:
    """Return the fields in a value that `encode_json` made.

    Raises:
        MismatchError: the checksum differs, or the value is not JSON.
    """
    value = bytes(value)
    found, content = value[:CHECKSUM_BYTES], value[CHECKSUM_BYTES:]
    if len(found) < CHECKSUM_BYTES or checksum(raw_key, content) != found:
        raise MismatchError("its value does not match its checksum")
    try:
        fields: dict[str, Any] = json.loads(content.decode("utf-8", "surrogatepass"))
    except ValueError as error:
        raise MismatchError("its value is another kind's") from error
    return fields


def encode_failure(failure: Failure) -> tuple[bytes, bytes]:
    """Return a failure's key and value in the failures table."""
    raw_key = encode_key(failure.key)
    fields = attrs.asdict(failure)
    fields["key"] = [failure.key.problem_id, int(failure.key.sample)]
    return raw_key, encode_json(raw_key, fields)


def true_failure_key(value: Any) -> bytes | None:
    """Return the key inside a failure's value, wherever it was found; None if it is invalid."""
    content = bytes(value)[CHECKSUM_BYTES:]
    try:
        raw_key = encode_key(
            RecordKey(*json.loads(content.decode("utf-8", "surrogatepass"))["key"])
        )
        decode_json(raw_key, value)
    except (ValueError, KeyError, TypeError, AttributeError, struct.error, MismatchError):
        return None
    return raw_key


def decode_failure(raw_key: bytes, value: Any) -> Failure:
    """Return the failure in a value of the failures table.

    Raises:
        MismatchError: the checksum differs, or the value is not a failure.
    """
    fields = decode_json(raw_key, value)
    try:
        fields["key"] = RecordKey(*fields["key"])
        return Failure(**fields)
    except (KeyError, TypeError) as error:
        raise MismatchError("it is no failure") from error


# In the table of grades, beside the records' keys, none of which is so short.
GRADES_TALLY = b"tally"


def encode_grade(grade: Grade, sequence: int) -> tuple[bytes, bytes]:
    """Key and value among the grades; `sequence` is the number of the record that it is of."""
    raw_key = encode_key(grade.key)
    fields = attrs.asdict(grade)
    fields["key"] = [grade.key.problem_id, int(grade.key.sample)]
    return raw_key, encode_json(_salted(raw_key), {**fields, "number": sequence})


def decode_grade(raw_key: bytes, value: Any) -> tuple[Grade, int]:
    """Inverse of `encode_grade`.

    Raises:
        MismatchError: the checksum differs.
    """
    fields = decode_json(_salted(raw_key), value)
    try:
        sequence = int(fields.pop("number"))
        fields["key"] = RecordKey(*fields["key"])
        grade = Grade(**fields)
        check_grade(grade)
    except (KeyError, TypeError, ValueError, ArgumentError) as error:
        raise MismatchError("it is no grade") from error
    return grade, sequence


def encode_grades_tally(count: int, digest: int) -> bytes:
    """How many grades there are, and the digest of all."""
    return encode_json(_salted(GRADES_TALLY), {"grades": count, "digest": f"{digest:032x}"})


def decode_grades_tally(value: Any) -> tuple[int, int]:
    """Inverse of `encode_grades_tally`.

    Raises:
        MismatchError: the checksum differs.
    """
    fields = decode_json(_salted(GRADES_TALLY), value)
    return int(fields["grades"]), int(fields["digest"], 16)


def grade_digest(raw_key: bytes, value: Any) -> int:
    """What a grade adds to the digest of all."""
    return int.from_bytes(checksum(raw_key, value), "little")


def _salted(raw_key: bytes) -> bytes:
    """So that no grade on a damaged page passes for a failure, whose keys are the same."""
    return b"grade\0" + raw_key
