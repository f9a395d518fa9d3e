"""How far an evaluation is: a phase after the other, and the extractions in between."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rjepa_core.extraction import Extraction
from rjepa_core.ports.executor import Ending
from rjepa_core.ports.maintenance import ToolProgress

from .interrupts import Interrupts
from .meter import Meter
from .progress import ProgressReport
from .screen import Screen
from .words import count, duration

# Seconds without a line.
_SHORT = 5.0


class Stages:
    """Entered around an evaluation; `report` and `encode` are handed to it."""

    def __init__(self, screen: Screen, interrupts: Interrupts) -> None:
        self._screen, self._interrupts = screen, interrupts
        self._meter: Meter | None = None
        self._phase = ""

    def report(self, progress: ToolProgress) -> None:
        """A phase goes on."""
        self._interrupts.check()
        if self._meter is None:
            self._meter = Meter(self._screen, short=_SHORT, stays=False)
            self._meter.__enter__()
            self._phase = ""
        meter = self._meter
        if progress.phase != self._phase:
            self._phase = progress.phase
            meter.restart(progress.total)
        meter.show(progress.done, lambda: _status(progress, meter.seconds))

    def encode(self, extraction: Extraction) -> None:
        """Run an extraction, shown as `rjepa-cli extract` shows it."""
        self._leave()
        with (
            ProgressReport(self._screen, extraction.before.missing) as progress,
            self._interrupts.holding(),
            self._screen.noted(extraction.store.add_history),
        ):
            summary = extraction.run(
                progress, self._interrupts.check, self._interrupts.computing, progress.decided
            )
        assert summary.ending is Ending.DONE
        if summary.progress.failures:
            failed = count(summary.progress.failures, "solution")
            self._screen.warn(f"{failed} could not be encoded and will be left out")

    def _leave(self) -> None:
        if self._meter is not None:
            self._meter.__exit__(None, None, None)
            self._meter = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()


def _status(progress: ToolProgress, seconds: float) -> str:
    left = progress.total - progress.done
    if not progress.done or left <= 0:
        return progress.phase
    return f"{progress.phase}, {duration(left * seconds / progress.done)} left"
