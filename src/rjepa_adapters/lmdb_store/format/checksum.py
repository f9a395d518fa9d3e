"""Checksums, and the error for bytes that do not match them."""

from __future__ import annotations

from typing import Any

import xxhash

CHECKSUM_BYTES = 16


class MismatchError(Exception):
    """Bytes do not match their checksum or are invalid; the message says which part."""


def checksum(*parts: Any) -> bytes:
    """Return the 16 bytes of xxh3-128 over the parts, one after the other."""
    state = xxhash.xxh3_128(parts[0])
    for part in parts[1:]:
        state.update(part)
    return state.digest()
