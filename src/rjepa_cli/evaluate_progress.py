"""How far an evaluation is: a phase after the other, and the extractions in between."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rjepa_core.extraction import Ending
from rjepa_core.ports.store_tools import ToolProgress
from rjepa_core.prepared import Extraction

from .interrupts import Interrupts
from .meter import ToolMeter
from .progress import ProgressReport
from .screen import Screen
from .words import count


class Stages:
    """Entered around an evaluation; `report` and `encode` are handed to it."""

    def __init__(self, screen: Screen, interrupts: Interrupts) -> None:
        self._screen, self._interrupts = screen, interrupts
        self._meter: ToolMeter | None = None

    def report(self, progress: ToolProgress) -> None:
        """A phase goes on."""
        if self._meter is None:
            self._meter = ToolMeter(self._screen, self._interrupts)
            self._meter.__enter__()
        self._meter(progress)

    def encode(self, extraction: Extraction) -> None:
        """Run an extraction, shown as `rjepa-cli extract` shows it."""
        self._leave()
        with (
            ProgressReport(self._screen, extraction.before.missing) as progress,
            self._interrupts.holding(),
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
