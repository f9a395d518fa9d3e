"""A scheduler: one more row after a batch that fitted, half as many after one that did not.

It uses no clock, device or model; the same observations give the same decisions.
"""

from __future__ import annotations

from rjepa_core.ports.backend import InFlight, Observation, Room
from rjepa_core.ports.scheduler import Decision

from .settings import SchedulerSettings

START = 4


class TemplateScheduler:
    """See the module's docstring; it also reports its decisions (`Explains`), which is optional."""

    def __init__(self, settings: SchedulerSettings) -> None:
        self._settings = settings
        self._rows = min(START, settings.most)
        self._encode_tokens = settings.encode_tokens
        self._decisions: list[Decision] = []

    def room(self, in_flight: InFlight) -> Room:
        return Room(
            rows=max(0, self._rows - in_flight.rows),
            tokens=None,
            given_tokens=max(0, self._encode_tokens - in_flight.given_tokens),
            encode_tokens=self._encode_tokens,
        )

    def observe(self, observation: Observation) -> None:
        seen = observation
        if seen.phase == "encode":
            if seen.out_of_memory:
                tried = min(self._encode_tokens, seen.prompt_tokens)
                self._encode_tokens = max(1, tried // 2)
        elif seen.out_of_memory:
            smaller = max(1, min(self._rows, seen.rows) // 2)
            self._change(smaller, "out of memory", f"{seen.rows} rows did not fit")
        elif seen.rows >= self._rows:
            self._change(min(self._rows + 1, self._settings.most), "fits", f"{seen.rows} rows fit")

    def changes(self) -> tuple[Decision, ...]:
        decisions, self._decisions = tuple(self._decisions), []
        return decisions

    def _change(self, rows: int, reason: str, detail: str) -> None:
        if rows != self._rows:
            self._decisions.append(Decision(self._rows, rows, reason, detail))
        self._rows = rows
