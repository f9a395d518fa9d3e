"""Train, validation and test: by a fixed hash of the statement, the same in every store and run."""

from __future__ import annotations

import enum

_PARTS = 10


class Split(enum.Enum):
    """A part of the problems."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def split_of(statement_hash: str) -> Split:
    """80 / 10 / 10 by the hash of a problem's statement (`Problem.statement_hash`).

    A problem is in one part alone, whatever its ids, samples and stores.
    """
    part = int(statement_hash, 16) % _PARTS
    return Split.TRAIN if part < _PARTS - 2 else Split.VALIDATION if part == 8 else Split.TEST


def half_of(statement_hash: str) -> int:
    """0 or 1, by the same hash: the halves of a set that is fitted and tested crosswise."""
    return (int(statement_hash, 16) // _PARTS) % 2
