"""How far a run is: a bar on a terminal, a log line now and then without one."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rjepa_core.extraction import Progress

from .report import progress_facts
from .screen import Screen
from .words import duration, rate

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_SECONDS_BETWEEN_LINES = 30.0
_QUARTERS = 4


class ProgressReport:
    """Called with the counts after each step of a run; `total` is the work that was missing."""

    def __init__(self, screen: Screen, total: int) -> None:
        self.latest = Progress()
        self.began = time.monotonic()
        self._screen = screen
        self._total = total
        self._bar: Bar | None = None
        self._last_line = -_SECONDS_BETWEEN_LINES
        self._quarter = 0
        self._told: set[str] = set()

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self.began

    def __call__(self, progress: Progress) -> None:
        self.latest = progress
        done = progress.records + progress.failures
        self._tell_news(progress)
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=done, status=self.status())
            return
        quarter = _QUARTERS * done // max(1, self._total)
        late = self.seconds - self._last_line >= _SECONDS_BETWEEN_LINES
        if done and (late or quarter > self._quarter):
            self._quarter, self._last_line = quarter, self.seconds
            clock = time.strftime("%H:%M:%S")
            self._screen.say(f"{clock}  {done:,}/{self._total:,}  {self.status()}")

    def status(self) -> str:
        """Rates, rows in flight, failures, time left."""
        progress = self.latest
        facts = progress_facts(progress, self.seconds)
        parts = [
            f"{rate(facts['done_per_second'])} problems/s",
            f"{rate(facts['tokens_per_second'])} token/s",
            f"{progress.failures} failed",
        ]
        left = self._total - progress.records - progress.failures
        if left > 0:
            parts.insert(2, f"{progress.in_flight.rows} in flight")
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
        if seen is not None and seen.out_of_memory:
            text = f"out of memory: {seen.phase} of {seen.rows} rows; trying fewer"
            if text not in self._told:
                self._told.add(text)
                self._screen.say(text)

    def __enter__(self) -> Self:
        self.began = time.monotonic()
        if self._screen.terminal and self._total:
            self._start_bar()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._screen.write_line = self._line_before

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        console = Console(file=self._screen.err)
        self._bar = Bar(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            console=console,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._bar.add_task("", total=self._total, status="starting")
        self._line_before = self._screen.write_line
        self._screen.write_line = lambda text: console.print(
            text, markup=False, highlight=False, soft_wrap=True
        )
        self._bar.start()
