"""The block of texts of a record: its trace as bytes."""

from __future__ import annotations

from typing import Any

from rjepa_core.domain.trace import Trace

from ...trace_block import decode_trace
from .checksum import MismatchError


def decode_texts(block: Any) -> Trace:
    """Return the trace in a block of texts.

    Raises:
        MismatchError: it cannot be read.
    """
    try:
        return decode_trace(block)
    except ValueError as error:
        raise MismatchError(str(error)) from error
