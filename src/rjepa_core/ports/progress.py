"""How far a long job is, for whoever shows it."""

from __future__ import annotations

from collections.abc import Callable

import attrs


@attrs.frozen
class ToolProgress:
    """How far a job over whole stores or runs is.

    Attributes:
        phase: what is being done, in a word or two.
        done, total: records; total 0 where it is not known.
    """

    phase: str
    done: int = 0
    total: int = 0


Report = Callable[[ToolProgress], None]


def ignore(progress: ToolProgress) -> None:
    """A report that nobody reads."""
