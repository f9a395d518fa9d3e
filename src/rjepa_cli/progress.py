"""How far an extraction is: rates, failures and time left."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rjepa_core.extraction.report import progress_facts
from rjepa_core.ports.executor import Progress
from rjepa_core.ports.scheduler import Decision

from .meter import Meter
from .screen import Screen
from .words import count, duration, rate


class ProgressReport:
    """Called with the counts after each step of a run; `total` is the work that was missing."""

    def __init__(self, screen: Screen, total: int) -> None:
        self.latest = Progress()
        self._screen = screen
        self._total = total
        self._meter = Meter(screen, total)
        self._told: set[str] = set()
        self._change: Decision | None = None

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return self._meter.seconds

    def __call__(self, progress: Progress) -> None:
        self.latest = progress
        self._tell_news(progress)
        self._meter.show(progress.records + progress.failures, self.status)

    def decided(self, decision: Decision) -> None:
        """A change of size: a line, and its reason stays in the bar."""
        self._change = decision
        self._screen.say(f"{time.strftime('%H:%M:%S')}  batch size {decision}")

    def status(self) -> str:
        """Rates, what is in flight, failures, time left."""
        progress = self.latest
        facts = progress_facts(progress, self.seconds)
        parts = [
            f"{rate(facts['done_per_second'])} problems/s",
            f"{rate(facts['tokens_per_second'])} token/s",
            f"{progress.failures} failed",
        ]
        left = self._total - progress.records - progress.failures
        held = progress.in_flight
        if left > 0 and held:
            in_rows = count(held.rows, "row") if held.rows else count(held.given_tokens, "token")
            if self._change is not None and held.rows:
                in_rows += f" ({change_words(self._change)})"
            parts.insert(2, f"{in_rows} in flight")
        if facts["done_per_second"] and left > 0:
            parts.append(f"{duration(left / facts['done_per_second'])} left")
        return ", ".join(parts)

    def _tell_news(self, progress: Progress) -> None:
        """The first failure of each kind, and batches that did not fit, as they happen."""
        for reason in progress.reasons:
            if reason not in self._told:
                self._told.add(reason)
                self._screen.say(f"a problem failed: {reason}; the run goes on")
        seen = progress.last
        if seen is not None and seen.out_of_memory and self._change is None:
            text = f"out of memory: {seen.phase} of {seen.rows} rows; trying fewer"
            if text not in self._told:
                self._told.add(text)
                self._screen.say(text)

    def __enter__(self) -> Self:
        if self._total:
            self._meter.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._meter.__exit__(kind, error, trace)


def change_words(decision: Decision) -> str:
    """`16 -> 8: slower`."""
    if decision.rows_before == decision.rows_after:
        return decision.reason
    return f"{decision.rows_before} -> {decision.rows_after}: {decision.reason}"
