"""Problems: what is to be solved, its identity, and the split of the data it belongs to."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping

import attrs

from ..text import brief

DEFAULT_DOMAIN = "math"
# Metadata key of a trace for the digest of the given solution it was made from.
SOLUTION_DIGEST = "solution_digest"


def statement_hash(statement: str) -> str:
    """Return the hash of a stripped statement: the first 32 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(statement.strip().encode("utf-8", "surrogatepass")).hexdigest()[:32]


def derived_id(domain: str, statement: str) -> str:
    """Return an id for a problem whose source has none, from its domain and statement.

    It does not depend on the line number, so that shuffled, sliced or joined files give the same
    problem the same id.
    """
    return f"{domain}-{statement_hash(statement)[:16]}"


@attrs.frozen
class Problem:
    """A problem to be solved.

    Attributes:
        id: key of the problem in every store; `derived_id` if the source has none.
        statement: the text to be solved.
        domain: selects the prompt template (`math`, `code`, …).
        subdomain: finer label of the source, if any.
        answer: reference answer of the source, if any.
        metadata: other fields of the source worth keeping, as strings.
    """

    __repr__ = brief

    id: str = attrs.field(validator=attrs.validators.min_len(1))
    statement: str = attrs.field(validator=attrs.validators.min_len(1))
    domain: str = DEFAULT_DOMAIN
    subdomain: str | None = None
    answer: str | None = None
    metadata: Mapping[str, str] = attrs.field(factory=dict)

    @classmethod
    def make(cls, statement: str, domain: str = DEFAULT_DOMAIN, id: str | None = None) -> Problem:
        """Return a problem made from its statement, with a derived id unless one is given."""
        return cls(id or derived_id(domain, statement), statement, domain)

    @property
    def statement_hash(self) -> str:
        return statement_hash(self.statement)


@attrs.frozen
class GivenSolution:
    """A solution that already exists and is only to be encoded.

    Attributes:
        text: the whole solution, to be cut by the run's strategy; or
        steps: the solution's own steps, in order, which are kept as they are.
        metadata: labels that belong to this solution (`correct`, `model`, …), as strings.
    """

    __repr__ = brief

    text: str | None = None
    steps: tuple[str, ...] = ()
    metadata: Mapping[str, str] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if (self.text is None) == (not self.steps):
            raise ValueError("a given solution has either a text or steps")

    @property
    def length(self) -> int:
        """Number of characters of the solution."""
        return len(self.text) if self.text is not None else sum(len(s) + 1 for s in self.steps)

    @property
    def lines(self) -> int:
        """Number of lines of the text that are not blank."""
        return sum(bool(line.strip()) for line in (self.text or "").splitlines())

    @property
    def empty_step(self) -> int | None:
        """Index of the first step without text. It cannot be encoded, and leaving it out would
        renumber those after it."""
        return next((i for i, step in enumerate(self.steps) if not step.strip()), None)

    @property
    def digest(self) -> str:
        """Hash of the text or steps, by which a resumed run recognises it: 16 hex digits."""
        parts = self.steps if self.text is None else ("", self.text)
        joined = "\0".join(parts).encode("utf-8", "surrogatepass")
        return hashlib.sha256(joined).hexdigest()[:16]


_PARTS = 10


class Split(enum.Enum):
    """A part of the problems: for training, for validation or for testing."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def split_of(statement_hash: str) -> Split:
    """Return the split of a problem (80 / 10 / 10) from `Problem.statement_hash`.

    A problem is in one split only, whatever its ids, samples and stores.
    """
    part = int(statement_hash, 16) % _PARTS
    return Split.TRAIN if part < _PARTS - 2 else Split.VALIDATION if part == 8 else Split.TEST


def half_of(statement_hash: str) -> int:
    """Return 0 or 1 from the same hash: the half of a set used for two-fold cross-fitting."""
    return (int(statement_hash, 16) // _PARTS) % 2
