"""An opened extraction: run it, or try it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime

import attrs

from ..domain.identity import Identity
from ..ports.backend import ModelInfo
from ..ports.executor import Ending, Executor, Progress, Watch
from ..ports.maintenance import Maintenance
from ..ports.scheduler import Decision
from ..ports.store import LatentStore, StoreStats
from ..settings import ExtractionSettings
from ..text import brief, count, duration, size
from .comparison import Asked, Remaining
from .dry_run import DiskRoom, SizeSink, Trial, room_after_trial
from .history import Journal, asked_entry, history_entry, run_name
from .queue import Pending
from .work import Survey

# Least number of given solutions in a trial: a scheduler's rows count only what is generated.
_TRIAL_GIVEN = 64


@attrs.frozen
class Summary:
    """What a run did.

    Attributes:
        ending: whether it was done or stopped early.
        progress: counts of this run.
        seconds: wall time of the loop, from the first batch to the last commit.
        survey: what was asked for.
        before: how much of it the store held when the run began.
        failed_in_store: failures among the requested work, including those of earlier runs.
        store: counts of the whole store afterwards.
    """

    ending: Ending
    progress: Progress
    seconds: float
    survey: Survey
    before: Remaining
    failed_in_store: int
    store: StoreStats

    def __repr__(self) -> str:
        done, store = self.progress, self.store
        return (
            f"Summary({self.ending.value} in {duration(self.seconds)}: "
            f"{count(done.records, 'record')}, {count(done.failures, 'failure')}, "
            f"{count(done.steps, 'step')}, {count(done.tokens, 'token')}; the store holds "
            f"{count(store.records, 'record')}, {size(store.bytes_on_disk)})"
        )


@attrs.frozen(kw_only=True)
class Extraction:
    """An extraction whose input, store and model have been checked and opened.

    It is made by `open_extraction`; `run` does the work.

    Attributes:
        settings: of the run; for traces of a store, with the prompt and steps of that store.
        asked: the work, as it was read once.
        store: where the records go.
        identity: latent space and generation of the records.
        room: the space needed and the space there is; None if the store cannot estimate it.
        doubts: what could not be compared with the store, or only partly.
    """

    __repr__ = brief

    settings: ExtractionSettings
    asked: Asked
    store: LatentStore
    identity: Identity
    room: DiskRoom | None
    _maintenance: tuple[Maintenance, str] | None
    _executor: Executor
    doubts: Sequence[str] = ()

    @property
    def survey(self) -> Survey:
        """What was asked for."""
        return self.asked.survey

    @property
    def before(self) -> Remaining:
        """How much of it the store holds."""
        return self.asked.before

    @property
    def info(self) -> ModelInfo:
        """What the backend reports about its model."""
        return self._executor.info

    def run(
        self,
        report: Callable[[Progress], None] = lambda progress: None,
        stop: Callable[[], bool] = lambda: False,
        computing: Callable[[], AbstractContextManager[None]] = nullcontext,
        decided: Callable[[Decision], None] = lambda decision: None,
    ) -> Summary:
        """Do what the store lacks. An interrupt commits what is finished and is raised again.

        Args:
            report: called after each step of the session.
            stop: called after each step; once it returns true the run finishes what is in flight
                and ends, as it does after `max_hours`. It is also called for each problem while the
                sources are searched for missing work, so that it can interrupt this by raising.
            computing: entered around each step of the session; turn signals into exceptions only
                in there, so that they never interrupt the store while it writes.
            decided: called with each change of size, if the scheduler explains its decisions.
        """
        settings = self.settings
        began, started = time.perf_counter(), datetime.now(UTC)
        limit = settings.run.max_hours
        latest = Progress()
        journal = Journal(run_name(started))

        def elapsed() -> float:
            return time.perf_counter() - began

        def on_report(progress: Progress) -> None:
            nonlocal latest
            latest = progress
            journal.see(elapsed(), progress)
            if journal.due(elapsed()):
                self._write_journal(journal, elapsed())
            report(progress)

        def on_decision(decision: Decision) -> None:
            journal.decided(elapsed(), decision)
            decided(decision)

        def should_stop() -> bool:
            over_limit = limit is not None and elapsed() > limit * 3600
            return stop() or over_limit

        self.store.add_history(asked_entry(settings, self.info, self.survey, started))
        earlier = self.store.stats()
        pending = Pending(self.asked.missing(stop))
        watch = Watch(report=on_report, decided=on_decision, stop=should_stop, computing=computing)
        how = "interrupted"
        try:
            ending, latest = self._executor.run(
                self.identity.space.layers, pending, self.before.missing, self.store, watch
            )
            how = ending.value
        except Exception:
            how = "failed"
            raise
        finally:
            seconds = elapsed()
            self._write_journal(journal, seconds)
            stats = self.store.stats()
            # A run changes the failures of its own work alone.
            failed = self.asked.failed + stats.failures - earlier.failures
            entry = history_entry(settings, self.info, self.survey, started, seconds, how, latest)
            stored = self.before.stored + stats.records - earlier.records
            if how == Ending.DONE.value and stored + failed == self.survey.work:
                entry |= self.asked.completed(self.store, failed)
            self.store.add_history(entry)
        return Summary(ending, latest, seconds, self.survey, self.before, failed, stats)

    def _write_journal(self, journal: Journal, seconds: float) -> None:
        entry = journal.take(seconds)
        if entry is not None:
            self.store.add_history(entry)

    @property
    def trial_rows(self) -> int:
        """How many rows a trial runs."""
        rows = self._executor.rows
        if self.settings.problems.traces:
            rows = max(rows, _TRIAL_GIVEN)
        return min(rows, self.before.missing)

    def trial(
        self,
        report: Callable[[Progress], None] = lambda progress: None,
        computing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> Trial:
        """Run the first missing rows without storing them, to estimate time and space.

        Args:
            report: called after each step of the session, with the counts so far.
            computing: entered around each step of the session.
        """
        first = list(itertools.islice(self.asked.missing(), self.trial_rows))
        sink = SizeSink()
        began = time.perf_counter()
        layers = self.identity.space.layers
        watch = Watch(report=report, computing=computing)
        _, progress = self._executor.run(layers, Pending(first), len(first), sink, watch)
        seconds = time.perf_counter() - began
        done = progress.records + progress.failures
        return Trial(
            done, seconds, seconds / max(1, done), sink.bytes / max(1, progress.records), progress
        )

    def room_after(self, trial: Trial) -> DiskRoom | None:
        """Return the space for the run, extrapolated from a trial; None if it is unknown."""
        if self._maintenance is None:
            return None
        return room_after_trial(*self._maintenance, self.identity, trial, self.before.missing)
