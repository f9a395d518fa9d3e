"""How far a measurement is, and about how long it will still take."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rjepa_core.benchmark.results import BenchResult
from rjepa_core.benchmark.run import Standing

from .meter import Meter
from .screen import Screen
from .words import count, duration


class BenchProgress:
    """Entered around a measurement, and called after each of its steps."""

    def __init__(self, screen: Screen, rounds: int) -> None:
        self._screen = screen
        self._rounds = rounds
        self._meter: Meter | None = None
        self._result: BenchResult | None = None
        self._passes = self._passed = self._work = 0

    def opened(self, nothing_yet: BenchResult, passes: int) -> None:
        """The model is loaded; so many passes over the problems are to come."""
        info, self._result, self._passes = nothing_yet.info, nothing_yet, passes
        self._work = nothing_yet.survey.work
        self._screen.say(
            f"measuring {info.name} on {info.device}: {count(self._work, 'problem')}, "
            f"{passes} times"
        )
        self._meter = Meter(self._screen, self._work * passes)
        self._meter.__enter__()

    def kept(self, result: BenchResult) -> None:
        """A pass is over."""
        self._result = result
        self._passed += 1

    def __call__(self, standing: Standing) -> None:
        if self._meter is not None:
            done = self._passed * self._work + standing.done
            self._meter.show(done, lambda: self._status(standing))

    def _status(self, standing: Standing) -> str:
        name = standing.name
        rows = count(int(name), "row") if name.isdigit() else name
        left = self._left(standing)
        time_left = f", about {duration(left)} left" if left is not None and left >= 1 else ""
        return f"round {standing.round + 1} of {self._rounds}, {rows}{time_left}"

    def _left(self, standing: Standing) -> float | None:
        """Seconds: what was measured counts for itself, what was not as the mean of the others."""
        assert self._result is not None
        known = {one.name: one.seconds_per_problem.median for one in self._result.measured}
        passed = {one.name: len(one.rounds) for one in self._result.measured}
        if standing.done:
            known.setdefault(standing.name, standing.seconds / standing.done)
        if not known:
            return None
        mean = sum(known.values()) / len(known)
        contenders = self._passes // self._rounds
        unknown = contenders - len(known)
        left = self._work * (unknown * mean * self._rounds)
        for name, seconds in known.items():
            left += self._work * seconds * (self._rounds - passed.get(name, 0))
        return max(0.0, left - standing.done * known.get(standing.name, mean))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._meter is not None:
            self._meter.__exit__(kind, error, trace)
