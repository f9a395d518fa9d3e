"""The batch scheduler port: how much there is room for now, learned from what was seen."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import attrs

from .backend import InFlight, Observation, Room


class BatchScheduler(Protocol):
    """Decides sizes. It holds no clock, no device and no model: time and memory come in with the
    observations, so that it runs in a simulation exactly as it runs for real. The same
    observations give the same decisions."""

    def room(self, in_flight: InFlight) -> Room:
        """Room for more. With nothing in flight there is room for at least one row."""
        ...

    def observe(self, observation: Observation) -> None:
        """Learn from one step."""
        ...


@attrs.frozen
class Decision:
    """A change of size, and why.

    Attributes:
        rows_before, rows_after: about how many rows there was and is room for; equal where only
            the tokens of an encoding batch changed.
        reason: one or two words, the same for the same kind of change (`out of memory`, `slower`).
        detail: the figures behind it, as a sentence for a log.
    """

    rows_before: int
    rows_after: int
    reason: str
    detail: str

    def __str__(self) -> str:
        if self.rows_before == self.rows_after:
            return f"{self.rows_after} rows, {self.reason}: {self.detail}"
        return f"{self.rows_before} -> {self.rows_after} rows, {self.reason}: {self.detail}"


@runtime_checkable
class Explains(Protocol):
    """What a scheduler may also do: say what it did. The loop passes it on after each step."""

    def changes(self) -> tuple[Decision, ...]:
        """Decisions since last asked, oldest first."""
        ...
