"""Show a command's progress: a bar on a terminal, otherwise a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import attrs

from rjepa_core.extraction.report import progress_facts
from rjepa_core.ports.executor import Progress
from rjepa_core.ports.maintenance import ToolProgress
from rjepa_core.ports.scheduler import Decision
from rjepa_core.text import count, duration, rate, visible

from .console import Screen
from .signals import Interrupts

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


_SECONDS_BETWEEN_LINES = 30.0
_SECONDS_BETWEEN_UPDATES = 0.1
_SHORT = 5.0
_QUARTERS = 4
_BAR_WIDTH = 20


@attrs.frozen
class Status:
    """How work goes on.

    Attributes:
        rest: rates and counts; a narrow terminal shows as much of it as fits.
        left: the time left, which is always shown; empty if it is unknown.
    """

    rest: str = ""
    left: str = ""

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.rest, self.left)))


class Meter:
    """A context around work, during which `show` is called.

    Args:
        screen: to draw on.
        total: of what is counted; 0 if unknown.
        short: seconds without a line, so that short work shows only its result.
        stays: whether the bar stays visible afterwards.
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
        """Seconds since the work, or its current phase, began."""
        return time.monotonic() - self.began

    def restart(self, total: int) -> None:
        """Begin another phase, which counts from 0."""
        self.began = time.monotonic()
        self._total, self._quarter = total, 0
        self._last_line = self._short - _SECONDS_BETWEEN_LINES
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=0, total=total or None, count="", left="", rest="")

    def show(self, done: int, status: Callable[[], Status]) -> None:
        """Show how much is done; `status` is called only if it is shown."""
        count = f"{done:,}/{self._total:,}" if self._total else f"{done:,}"
        if self._bar is not None:
            task = self._bar.task_ids[0]
            now = status()
            self._bar.update(
                task, completed=done, count=count, left=visible(now.left), rest=visible(now.rest)
            )
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
        self._screen.settle()
        if self._screen.animated:
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
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar
        from rich.table import Column

        console = self._screen.console()
        # Whatever the width, these columns keep theirs, and the last one takes what is left.
        kept: dict[str, Any] = {"markup": False, "table_column": Column(no_wrap=True)}
        rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        self._bar = Bar(
            SpinnerColumn("dots" if console.encoding.startswith("utf") else "line"),
            BarColumn(bar_width=_BAR_WIDTH),
            TextColumn("{task.fields[count]}", **kept),
            TextColumn("{task.fields[left]}", **kept),
            TimeElapsedColumn(),
            TextColumn("{task.fields[rest]}", markup=False, table_column=rest),
            console=console,
            redirect_stdout=False,
            redirect_stderr=False,
            transient=not self._stays,
            expand=True,
        )
        self._bar.add_task("", total=self._total or None, count="", left="", rest="starting")
        self._line_before = self._screen.write_line
        self._screen.write_line = lambda text: console.print(
            text, markup=False, highlight=False, soft_wrap=True
        )
        self._bar.start()


class Metered:
    """A context that holds a `Meter`, which may be started after it is entered."""

    _meter: Meter | None = None

    def __enter__(self) -> Self:
        if self._meter is not None:
            self._meter.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._meter is not None:
            self._meter.__exit__(kind, error, trace)


class ToolMeter(Metered):
    """A context around an operation on a store that shows its progress, rate and time left.

    Args:
        screen: to draw on.
        interrupts: checked at every report, so that a signal takes effect between two records.
        total: number of records, if the caller knows it and the operation may not.
    """

    def __init__(
        self, screen: Screen, interrupts: Interrupts | None = None, total: int = 0
    ) -> None:
        self._meter: Meter = Meter(screen, total, short=_SHORT, stays=False)
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

    def _status(self, done: int, total: int) -> Status:
        per_second = (done - self._before) / max(self._meter.seconds, 1e-9)
        if per_second <= 0:
            return Status(self._phase)
        left = f"{duration((total - done) / per_second)} left" if total > done else ""
        return Status(f"{self._phase}, {rate(per_second)} records/s", left)


class ProgressReport(Metered):
    """Shows the counts after each step of a run; `total` is the missing work."""

    def __init__(self, screen: Screen, total: int) -> None:
        self.latest = Progress()
        self._screen = screen
        self._total = total
        self._meter: Meter = Meter(screen, total)
        self._reported: set[str] = set()
        self._change: Decision | None = None
        self._most_rows = 0

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return self._meter.seconds

    def __call__(self, progress: Progress) -> None:
        self.latest = progress
        self._most_rows = max(self._most_rows, progress.in_flight.rows)
        self._report_trouble(progress)
        self._meter.show(progress.records + progress.failures, self.status)

    def decided(self, decision: Decision) -> None:
        """Show a change of size on a line, and its reason in the bar."""
        self._change = decision
        self._screen.say(f"{time.strftime('%H:%M:%S')}  batch size {decision}")

    def status(self) -> Status:
        """Return rates, failures, what is in flight and the time left."""
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
        seconds_left = self._seconds_left()
        time_left = f"{duration(seconds_left)} left" if seconds_left else ""
        return Status(", ".join(parts), time_left)

    def _seconds_left(self) -> float | None:
        """Return the time left at the rate so far; None while that cannot be known.

        Rows that are generated together end at about the same time, so that the first of a batch
        to end say little about the others. Once as many have ended as were ever in flight, the
        tokens that the rows in flight have so far count as done.
        """
        progress = self.latest
        done = progress.records + progress.failures
        left = self._total - done
        if left <= 0 or done == 0 or done < self._most_rows:
            return None
        if not progress.new_tokens or not progress.records:
            return self.seconds * left / done
        each = progress.tokens / progress.records
        begun = min(progress.new_tokens - done * each, progress.in_flight.rows * each)
        return self.seconds * (left * each - max(0.0, begun)) / progress.new_tokens

    def _report_trouble(self, progress: Progress) -> None:
        """Show the first failure of each kind, and batches that did not fit, as they happen."""
        for reason in progress.reasons:
            if reason not in self._reported:
                self._reported.add(reason)
                self._screen.say(f"a problem failed: {reason}; the run continues")
        last = progress.last
        if last is not None and last.out_of_memory and self._change is None:
            text = f"out of memory: {last.phase} of {count(last.rows, 'row')}; trying fewer"
            if text not in self._reported:
                self._reported.add(text)
                self._screen.say(text)


def change_words(decision: Decision) -> str:
    """Format a change of size: `16 -> 8: slower`."""
    if decision.rows_before == decision.rows_after:
        return decision.reason
    return f"{decision.rows_before} -> {decision.rows_after}: {decision.reason}"
