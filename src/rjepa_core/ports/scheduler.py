"""The batch scheduler port: decides how much there is room for, from earlier observations."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import attrs

from ..text import count
from .backend import InFlight, Observation, Room


class BatchScheduler(Protocol):
    """Decides batch sizes.

    It has no clock, device or model: time and memory come with the observations, so that it works
    the same in a simulation. The same observations give the same decisions.
    """

    def room(self, in_flight: InFlight) -> Room:
        """Return the room for more; at least one row if nothing is in flight."""
        ...

    def observe(self, observation: Observation) -> None:
        """Learn from one step."""
        ...


@attrs.frozen
class Decision:
    """A change of size, and why.

    Attributes:
        rows_before, rows_after: about how many rows there was and is room for; equal if only the
            tokens of an encoding batch changed.
        reason: one or two words, the same for the same kind of change (`out of memory`, `slower`).
        detail: the figures it is based on, as a sentence for a log.
    """

    rows_before: int
    rows_after: int
    reason: str
    detail: str

    def __str__(self) -> str:
        if self.rows_before == self.rows_after:
            return f"{count(self.rows_after, 'row')}, {self.reason}: {self.detail}"
        return (
            f"{self.rows_before} -> {count(self.rows_after, 'row')}, {self.reason}: {self.detail}"
        )


@runtime_checkable
class Explains(Protocol):
    """An optional ability of a scheduler: to explain its decisions, read after each step."""

    def changes(self) -> tuple[Decision, ...]:
        """Return the decisions since the last call, oldest first."""
        ...
