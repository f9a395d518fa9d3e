"""What a JSON body can be refused for without parsing it, which may take long."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from . import problems
from .problems import ProblemError

# A string, scanned once whatever stands in it, and whether it is a key.
_STRING = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"?(\s*+:)?', re.DOTALL)


def check_outline(body: bytes, known: Collection[str], commas: int, quotes: int) -> None:
    """Refuse more than a request can hold, and keys that are unknown or come twice.

    Args:
        body: of a flat object. What else it may be is left to the parser.
        known: the keys of the object.
        commas, quotes: most of them, in texts and around values; there may be two backslashes for
            each quotation mark.

    Raises:
        ProblemError: what is wrong, and where.
    """
    marks = ((b",", commas), (b'"', quotes), (b"\\", 2 * quotes))
    if any(body.count(mark) > most for mark, most in marks):
        raise ProblemError(problems.BAD_INPUT, "holds more values than a request may", "")
    seen: set[str] = set()
    for string in _STRING.finditer(body):
        if not string[2]:
            continue
        try:
            key = json.loads(b'"%b"' % string[1])
        except ValueError:
            return
        if key in seen or key not in known:
            detail = "comes twice" if key in seen else "is not known"
            raise ProblemError(problems.BAD_BODY, detail, f"/{escaped(key)}")
        seen.add(key)


def escaped(part: object) -> str:
    """As a part of a JSON pointer, and no longer than fits a line."""
    return str(part)[:80].replace("~", "~0").replace("/", "~1")
