"""Checksums, and the error of bytes that do not match theirs."""

from __future__ import annotations

from typing import Any

import xxhash

CHECKSUM_BYTES = 16


class MismatchError(Exception):
    """Bytes do not match their checksum or make no sense; the message says which part."""


def checksum(*parts: Any) -> bytes:
    """xxh3-128 over the parts, one after the other: 16 bytes."""
    state = xxhash.xxh3_128(parts[0])
    for part in parts[1:]:
        state.update(part)
    return state.digest()
