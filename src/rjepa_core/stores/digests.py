"""A table of texts that keeps their digests alone: about 30 bytes for each, however long it is."""

from __future__ import annotations

import hashlib
from array import array

# 128 bits of BLAKE2b: two of a billion texts share theirs with a probability of about 1e-21.
DIGEST_BYTES = 16
_SMALLEST = 1024


def digest_of(text: str) -> bytes:
    """Return the digest that stands for a text."""
    raw = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, digest_size=DIGEST_BYTES).digest()


class DigestTable:
    """Numbers distinct texts from 0, in the order in which they were added.

    A hash table with open addressing: a Python set of a million texts would take five times the
    memory.
    """

    def __init__(self) -> None:
        self._digests = bytearray()
        # Of each slot, the number of its text plus 1; 0 if it is free.
        self._slots = array("I", [0]) * _SMALLEST

    def __len__(self) -> int:
        return len(self._digests) // DIGEST_BYTES

    def find(self, text: str) -> int | None:
        """Return the number of a text; None if it was not added."""
        return self._look_up(digest_of(text))[1]

    def add(self, text: str) -> tuple[int, bool]:
        """Return the number of a text, and whether it is new."""
        digest = digest_of(text)
        slot, number = self._look_up(digest)
        if number is not None:
            return number, False
        number = len(self)
        self._digests += digest
        self._slots[slot] = number + 1
        if 3 * len(self) > 2 * len(self._slots):
            self._grow()
        return number, True

    def _look_up(self, digest: bytes) -> tuple[int, int | None]:
        """Return a digest's slot, and the number in it if there is one."""
        slots, mask = self._slots, len(self._slots) - 1
        slot = int.from_bytes(digest[:8], "little") & mask
        while number := slots[slot]:
            start = (number - 1) * DIGEST_BYTES
            if self._digests[start : start + DIGEST_BYTES] == digest:
                return slot, number - 1
            slot = (slot + 1) & mask
        return slot, None

    def _grow(self) -> None:
        slots = self._slots = array("I", [0]) * (2 * len(self._slots))
        mask = len(slots) - 1
        for number, start in enumerate(range(0, len(self._digests), DIGEST_BYTES), 1):
            slot = int.from_bytes(self._digests[start : start + 8], "little") & mask
            while slots[slot]:
                slot = (slot + 1) & mask
            slots[slot] = number
