"""Report the progress of a run, in Prefect's logs and as a progress bar on the run's page."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from uuid import UUID

import attrs
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from rjepa_core.extraction.report import progress_facts
from rjepa_core.ports.executor import Progress
from rjepa_core.ports.maintenance import ToolProgress
from rjepa_core.ports.scheduler import Decision
from rjepa_core.ports.world_model import TrainProgress
from rjepa_core.text import duration, number, rate

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]
SECONDS_BETWEEN, SHORTEST, PARTS = 30.0, 2.0, 10


def run_log() -> Log:
    """Return the log of the task run, which its page shows."""
    return get_run_logger()


class ProgressMeter:
    """A progress display that logs every 30 seconds, and sooner at each part of the work.

    Args:
        key: of the progress artifact; None draws no bar.
        what: name of the work.
        log: where lines are logged.
        parts: number of parts after each of which a line is logged sooner.
        clock: seconds.
    """

    def __init__(
        self,
        key: str | None,
        what: str,
        log: Log,
        parts: int = PARTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key, self._what, self._log = key, what, log
        self._parts, self._clock = parts, clock
        self._bar: UUID | None = None
        self._lost = False
        self.restart()

    @property
    def seconds(self) -> float:
        """Seconds since the start or restart."""
        return self._clock() - self._began

    def restart(self) -> None:
        """Restart the clock and the count."""
        self._began = self._told = self._clock()
        self._part = self._last = 0

    def show(self, done: int, total: int, status: Callable[[], str]) -> None:
        """Show how much is done, if a line is due; only then is `status` called."""
        part = self._parts * done // total if total else 0
        passed = self._clock() - self._told
        due = passed >= (SHORTEST if part > self._part else SECONDS_BETWEEN)
        if not due and not (self._parts and total and done >= total > self._last):
            return
        self._last = done
        self._part, self._told = part, self._clock()
        of = f"/{total:,}" if total else ""
        self._log.info("%s: %s%s%s", self._what, f"{done:,}", of, status())
        if total and self._key is not None:
            self._draw(100 * min(done, total) / total)

    def _draw(self, percent: float) -> None:
        """Draw the bar; if the server is away, give up the bar, not the run."""
        if self._lost or self._key is None:
            return
        try:
            if self._bar is None:
                made = create_progress_artifact(percent, key=self._key, description=self._what)
                assert isinstance(made, UUID)
                self._bar = made
            else:
                update_progress_artifact(self._bar, percent)
        except Exception as error:
            self._lost = True
            self._log.warning("the progress bar is not updated any more: %s", error)


@attrs.define
class ExtractionReport:
    """The report of an extraction, called after each step.

    Attributes:
        meter: shows the progress.
        total: the amount of missing work.
        log: where new kinds of failures are logged.
    """

    meter: ProgressMeter
    total: int
    log: Log
    _told: set[str] = attrs.field(factory=set, init=False)

    def __call__(self, progress: Progress) -> None:
        for reason in progress.reasons:
            if reason not in self._told:
                self._told.add(reason)
                self.log.warning("a problem failed: %s; the run goes on", reason)
        done = progress.records + progress.failures
        self.meter.show(done, self.total, lambda: self._status(progress))

    def decided(self, decision: Decision) -> None:
        """Log a change of batch size."""
        self.log.info("batch size %s", decision)

    def _status(self, progress: Progress) -> str:
        facts = progress_facts(progress, self.meter.seconds)
        parts = [
            f"{rate(facts['done_per_second'])} problems/s",
            f"{rate(facts['tokens_per_second'])} token/s",
            f"{progress.failures} failed",
        ]
        left = self.total - progress.records - progress.failures
        if facts["done_per_second"] and left > 0:
            parts.append(f"{duration(left / facts['done_per_second'])} left")
        return ", " + ", ".join(parts)


@attrs.define
class TrainingReport:
    """The report of a training run, called after each step of the optimiser."""

    meter: ProgressMeter

    def __call__(self, progress: TrainProgress) -> None:
        self.meter.show(
            progress.step,
            progress.steps,
            lambda: f", epoch {progress.epoch + 1}/{progress.epochs}, loss {number(progress.loss)}",
        )


@attrs.define
class PhaseReport:
    """The report of an evaluation, called during its phases."""

    log: Log
    _phase: str = attrs.field(default="", init=False)
    _meter: ProgressMeter | None = attrs.field(default=None, init=False)

    def __call__(self, progress: ToolProgress) -> None:
        if self._meter is None or progress.phase != self._phase:
            self._phase = progress.phase
            # Most phases take seconds: no bar, and lines only for long ones.
            self._meter = ProgressMeter(None, progress.phase, self.log, parts=0)
        self._meter.show(progress.done, progress.total, str)
