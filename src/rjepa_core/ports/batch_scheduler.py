"""The batch scheduler port: how much there is room for now, learned from what was seen."""

from __future__ import annotations

from typing import Protocol

from .llm_backend import InFlight, Observation, Room


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
