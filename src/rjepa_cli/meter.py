"""How far a command is: a bar on a terminal, a line now and then without one."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO, cast

from rjepa_core.ports.maintenance import ToolProgress

from .interrupts import Interrupts
from .screen import Screen
from .words import duration, rate, visible

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_SECONDS_BETWEEN_LINES = 30.0
_SECONDS_BETWEEN_UPDATES = 0.1
_SHORT = 5.0
_QUARTERS = 4


class Meter:
    """Entered around the work; `show` is called as it goes on.

    Args:
        screen: to draw on.
        total: of what is counted; 0 where it is not known.
        short: seconds without a line; what takes no longer tells its result alone.
        stays: the bar is left behind when the work is over.
    """

    def __init__(
        self, screen: Screen, total: int = 0, short: float = 0.0, stays: bool = True
    ) -> None:
        self.began = time.monotonic()
        self._screen = screen
        self._total = total
        self._short = short
        self._stays = stays
        self._bar: Bar | None = None
        self._last_line = -_SECONDS_BETWEEN_LINES
        self._quarter = 0

    @property
    def seconds(self) -> float:
        """Since the work, or the present phase of it, began."""
        return time.monotonic() - self.began

    def restart(self, total: int) -> None:
        """Another phase begins, which counts from nothing."""
        self.began = time.monotonic()
        self._total, self._quarter = total, 0
        self._last_line = self._short - _SECONDS_BETWEEN_LINES
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=0, total=total or None, status="", count="")

    def show(self, done: int, status: Callable[[], str]) -> None:
        """So much is done; `status` is asked only where it is shown."""
        count = f"{done:,}/{self._total:,}" if self._total else f"{done:,}"
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=done, status=visible(status()), count=count)
            return
        quarter = _QUARTERS * done // self._total if self._total else 0
        late = self.seconds - self._last_line >= _SECONDS_BETWEEN_LINES
        next_quarter = quarter > self._quarter and self.seconds >= self._short
        if done and (late or next_quarter):
            self._quarter, self._last_line = quarter, self.seconds
            self._screen.say(f"{time.strftime('%H:%M:%S')}  {count}  {status()}")

    def __enter__(self) -> Self:
        self.began = time.monotonic()
        self._last_line = self._short - _SECONDS_BETWEEN_LINES
        if self._screen.terminal:
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

        console = Console(file=cast("TextIO", self._screen.err))
        self._bar = Bar(
            SpinnerColumn("dots" if console.encoding.startswith("utf") else "line"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[status]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            redirect_stdout=False,
            redirect_stderr=False,
            transient=not self._stays,
        )
        self._bar.add_task("", total=self._total or None, status="starting", count="")
        self._line_before = self._screen.write_line
        self._screen.write_line = lambda text: console.print(
            text, markup=False, highlight=False, soft_wrap=True
        )
        self._bar.start()


class ToolMeter:
    """The report of a store's tool, with rate and time left; entered around the tool.

    Args:
        screen: to draw on.
        interrupts: asked at every report, so that a signal strikes between two records.
        total: records, where the caller knows and the tool may not.
    """

    def __init__(
        self, screen: Screen, interrupts: Interrupts | None = None, total: int = 0
    ) -> None:
        self._meter = Meter(screen, total, short=_SHORT, stays=False)
        self._interrupts = interrupts
        self._total = total
        self._phase = ""
        self._shown = 0.0
        self._before = 0

    def __call__(self, progress: ToolProgress) -> None:
        if self._interrupts is not None:
            self._interrupts.check()
        now = time.monotonic()
        total = progress.total or self._total
        if progress.phase != self._phase:
            self._phase, self._before = progress.phase, progress.done
            self._meter.restart(total)
        elif now - self._shown < _SECONDS_BETWEEN_UPDATES:
            return
        self._shown = now
        self._meter.show(progress.done, lambda: self._status(progress.done, total))

    def _status(self, done: int, total: int) -> str:
        a_second = (done - self._before) / max(self._meter.seconds, 1e-9)
        if a_second <= 0:
            return self._phase
        left = f", {duration((total - done) / a_second)} left" if total > done else ""
        return f"{self._phase}, {rate(a_second)} records/s{left}"

    def __enter__(self) -> Self:
        self._meter.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._meter.__exit__(kind, error, trace)
