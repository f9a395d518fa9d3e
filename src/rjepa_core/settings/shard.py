"""The shard of the problems that a run does."""

from __future__ import annotations

import hashlib
import re

import attrs


@attrs.frozen
class Shard:
    """One of several parts of the problems, for runs beside each other.

    A problem is in one shard only, with all its rows and samples, whatever file, place in it and
    version of the library.

    Attributes:
        number: which part, from 1.
        of: how many parts there are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard that a text like `2/8` names.

        Raises:
            ValueError: it names none.
        """
        match = re.fullmatch("([1-9][0-9]{0,8})/([1-9][0-9]{0,8})", text, re.ASCII)
        if match is None or int(match[1]) > int(match[2]):
            raise ValueError(f"must be I/N with I from 1 to N, like 2/8, got {text!r:.80}")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def holds(self, problem_id: str) -> bool:
        """Return whether a problem is in this shard."""
        digest = hashlib.sha256(problem_id.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1
