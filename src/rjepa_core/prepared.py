"""An extraction whose parts have been checked and opened: run it, or try it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime

import attrs

from .cutting import cut_completion
from .extraction import Ending, Progress
from .identity import Identity
from .journal import Journal
from .pending import Pending
from .ports.batch_scheduler import Decision
from .ports.executor import Executor, Watch
from .ports.latent_store import LatentStore, StoreStats
from .ports.llm_backend import ModelInfo, SessionSpec
from .ports.store_tools import StoreTools
from .prompts import pose
from .rehearsal import Scale, Trial
from .room import Room, room_after_trial
from .run_history import asked_entry, history_entry, run_name
from .settings import ExtractionSettings
from .traces import Prompt, Work
from .worklist import Remaining, StoredTraces, Survey, Worklist, missing, remaining

# Given solutions need no generating, so that a scheduler's rows say little of a batch of them.
_TRIAL_GIVEN = 64


@attrs.frozen
class Summary:
    """What a run did.

    Attributes:
        ending: done, or stopped early.
        progress: counts of this run.
        seconds: wall time of the loop, from the first batch to the last commit.
        survey: what was asked for.
        before: what the store held of it when the run began.
        failed_in_store: failures among the asked-for work, earlier runs' included.
        store: counts of the whole store afterwards.
    """

    ending: Ending
    progress: Progress
    seconds: float
    survey: Survey
    before: Remaining
    failed_in_store: int
    store: StoreStats


@attrs.frozen(kw_only=True)
class Extraction:
    """An extraction whose input, store and model have been checked and opened.

    Made by `open_extraction`; `run` does the work.

    Attributes:
        settings: of the run; for traces of a store, with the prompt and steps of that store.
        survey: what was asked for.
        before: what the store holds of it.
        store: where the records go.
        identity: what the store says of them.
        room: what the run will take and what there is; None where the store does not tell.
        doubts: what could not be compared with the store, or only in part.
    """

    settings: ExtractionSettings
    survey: Survey
    before: Remaining
    store: LatentStore
    identity: Identity
    room: Room | None
    _tools: tuple[StoreTools, str] | None
    _work: Worklist | StoredTraces
    _executor: Executor
    doubts: Sequence[str] = ()

    @property
    def info(self) -> ModelInfo:
        """What the backend says of its model."""
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
            stop: asked after each step; once it is true the run finishes what is in flight and
                ends, as it does after `max_hours`. Asked for each problem, too, while the store is
                searched for what it lacks and holds, so that raising ends that in time.
            computing: entered around each step of the session: whoever turns a signal into an
                exception does it in there, so that it never hits the store while it writes.
            decided: called with each change of size, where the scheduler explains itself.
        """
        settings = self.settings
        began, started = time.perf_counter(), datetime.now(UTC)
        limit = settings.run.max_hours
        latest = Progress()
        journal = Journal(run_name(started))

        def passed() -> float:
            return time.perf_counter() - began

        def remember(progress: Progress) -> None:
            nonlocal latest
            latest = progress
            journal.see(passed(), progress)
            if journal.due(passed()):
                self._keep(journal, passed())
            report(progress)

        def note(decision: Decision) -> None:
            journal.decided(passed(), decision)
            decided(decision)

        def work() -> Iterator[Work]:
            for item in self._work:
                stop()
                yield item

        def should_stop() -> bool:
            late = limit is not None and passed() > limit * 3600
            return stop() or late

        self.store.add_history(asked_entry(settings, self.info, self.survey, started))
        pending = Pending(missing(work(), self.store, settings.run.retry_failed))
        watch = Watch(report=remember, decided=note, stop=should_stop, computing=computing)
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
            seconds = passed()
            self._keep(journal, seconds)
            self.store.add_history(
                history_entry(settings, self.info, self.survey, started, seconds, how, latest)
            )
        after = remaining(work(), self.store, retry_failed=False)
        return Summary(
            ending, latest, seconds, self.survey, self.before, after.failed, self.store.stats()
        )

    def _keep(self, journal: Journal, seconds: float) -> None:
        entry = journal.take(seconds)
        if entry is not None:
            self.store.add_history(entry)

    def trial(self) -> Trial:
        """Run the first rows that the store lacks without storing them, to tell time and room."""
        rows = self._executor.rows
        if self.settings.problems.traces:
            rows = max(rows, _TRIAL_GIVEN)
        work = missing(self._work, self.store, self.settings.run.retry_failed)
        first = list(itertools.islice(work, rows))
        sink = Scale()
        began = time.perf_counter()
        layers = self.identity.space.layers
        _, progress = self._executor.run(layers, Pending(first), len(first), sink, Watch())
        seconds = time.perf_counter() - began
        done = progress.records + progress.failures
        return Trial(
            done, seconds, seconds / max(1, done), sink.bytes / max(1, progress.records), progress
        )

    def room_after(self, trial: Trial) -> Room | None:
        """What the run will take, told from a trial."""
        if self._tools is None:
            return None
        return room_after_trial(*self._tools, self.identity, trial, self.before.missing)


def session_spec(
    settings: ExtractionSettings,
    layers: tuple[int, ...],
    clock: Callable[[], float] = time.perf_counter,
) -> SessionSpec:
    """What a backend's session is opened with for these settings and absolute layers."""

    steps = settings.steps

    def prompt_of(work: Work) -> Prompt:
        prompt = settings.prompt
        return pose(
            work.problem,
            work.sample,
            prompt.templates,
            prompt.system,
            prompt.thinking,
            prompt.date,
        )

    return SessionSpec(
        sampling=settings.sampling,
        encoding=attrs.evolve(settings.encoding, layers=layers),
        pose=prompt_of,
        cut=lambda completion: cut_completion(completion, steps.strategy, steps.thinking),
        clock=clock,
    )
