"""Measure the cost of several batch sizes on the same problems.

Fixed sizes, one row at a time among them, and a scheduler that finds its own size take turns over
the same problems, in rounds. The whole pipeline is timed (generate, cut, encode); nothing is
stored.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import attrs

from ..domain.trace import Work
from ..errors import SettingsError, UsageError
from ..extraction import (
    Pending,
    SizeSink,
    Worklist,
    check_stops,
    extract,
    resolve_layers,
    session_spec,
)
from ..plugins import BackendAdapter, Registry, SchedulerAdapter, find_probe, open_sources
from ..ports.backend import LLMBackend, SessionSpec
from ..ports.executor import Progress
from ..ports.probe import MemoryProbe
from ..ports.scheduler import BatchScheduler, Decision
from ..text import count
from .results import BenchResult, BenchRunSettings, Measured, MeasuredBatch, Round

FIXED = "fixed"
# Number of tokens generated with each size before anything is timed.
_WARM_TOKENS = 4
Computing = Callable[[], AbstractContextManager[None]]


@attrs.frozen
class Contender:
    """One of the compared batch sizes or schedulers.

    Attributes:
        name: the number of rows as text, or the scheduler's name.
        scheduler: makes the scheduler.
        size: rows of a fixed size; None for a scheduler that decides.
    """

    name: str
    scheduler: Callable[[], BatchScheduler]
    size: int | None = None


@attrs.frozen
class RoundProgress:
    """Progress of a measurement.

    Attributes:
        name: of the running contender.
        round: its round, from 0.
        done: number of problems done.
        seconds: since it began this round.
    """

    name: str
    round: int
    done: int
    seconds: float


def run_bench(
    settings: BenchRunSettings,
    registry: Registry | None = None,
    say: Callable[[str], None] = lambda line: None,
    opened: Callable[[BenchResult, int], None] = lambda result, passes: None,
    report: Callable[[RoundProgress], None] = lambda progress: None,
    kept: Callable[[BenchResult], None] = lambda result: None,
    computing: Computing = nullcontext,
) -> BenchResult:
    """Open the model, measure all contenders and return the result.

    Args:
        settings: of the measurement.
        registry: finds the adapters.
        say: called with messages about progress.
        opened: called once before anything is timed, with a result that has no figures yet, and
            the number of passes over the problems.
        report: called after each step.
        kept: called after each pass with the result so far.
        computing: entered around each step of the model.

    Raises:
        UsageError: anything that the user can fix before anything runs.
    """
    registry = registry or Registry()
    if settings.problems.traces:
        raise UsageError(
            "problems.traces: bench times generating, too; name problems.sources instead"
        )
    adapter = registry.find(BackendAdapter, settings.backend.name)
    options = adapter.configure(settings.backend.options, "backend")
    contenders = list(_contenders(settings, registry))
    problems = settings.problems
    sources = open_sources(problems, registry)
    asked = Worklist(sources, 1, problems.limit, shard=problems.part)
    say("reading the problems")
    survey = asked.survey()
    left_out = tuple(c.size for c in contenders if c.size and c.size > survey.work)
    contenders = [c for c in contenders if c.size not in left_out]
    if contenders[0].size is None:
        raise SettingsError(
            f"bench.sizes: {count(survey.work, 'problem')} never fill "
            f"{count(min(left_out), 'row')}; "
            "raise problems.limit, or name smaller sizes"
        )
    say(f"loading {settings.model.name}")
    backend = adapter.create(settings.model, options)
    try:
        check_stops(settings.sampling, backend.info)
        layers = resolve_layers(settings.encoding.layers, backend.info)
        result = BenchResult(settings, backend.info, survey, (), left_out)
        opened(result, len(contenders) * settings.bench.rounds)
        bench = Bench(
            backend,
            list(asked),
            session_spec(settings, layers),
            find_probe(registry, backend.info.device),
            report=report,
            computing=computing,
        )
        say("warming up")
        bench.warm_up(contenders)
        for measured in bench.rounds(contenders, settings.bench.rounds, settings.sampling.seed):
            result = attrs.evolve(result, measured=measured)
            kept(result)
    finally:
        backend.close()
    return result


def _contenders(settings: BenchRunSettings, registry: Registry) -> Iterator[Contender]:
    fixed = registry.find(SchedulerAdapter, FIXED)
    own = settings.scheduler
    # Encoding is batched alike for all.
    shared = {k: x for k, x in own.options.items() if k == "encode_tokens"}
    for size in sorted(settings.bench.sizes):
        options = fixed.configure({**shared, "batch_size": size}, "scheduler")
        yield Contender(str(size), partial(fixed.create, options), size)
    if own.name == FIXED:
        raise SettingsError("scheduler.name: the fixed sizes are named by bench.sizes")
    deciding = registry.find(SchedulerAdapter, own.name)
    options = deciding.configure(own.options, "scheduler")
    yield Contender(own.name, partial(deciding.create, options))


@attrs.define
class Bench:
    """Measures contenders on one open backend.

    Attributes:
        backend: stays open.
        work: done by every contender in every round.
        spec: of the sessions.
        probe: reads the memory, if there is one.
        report: called after each step.
        computing: entered around each step of the model.
        clock: returns seconds.
    """

    backend: LLMBackend
    work: list[Work]
    spec: SessionSpec
    probe: MemoryProbe | None = None
    report: Callable[[RoundProgress], None] = lambda progress: None
    computing: Computing = nullcontext
    clock: Callable[[], float] = time.perf_counter

    def warm_up(self, contenders: Sequence[Contender]) -> None:
        """Run every fixed size once for a few tokens, so that no round pays for first use."""
        tokens = min(_WARM_TOKENS, self.spec.sampling.max_new_tokens)
        sampling = attrs.evolve(self.spec.sampling, max_new_tokens=tokens)
        spec = attrs.evolve(self.spec, sampling=sampling)
        for contender in contenders:
            if (size := contender.size) is not None:
                recorder = _Recorder(self.clock)
                self._extract(spec, self.work[:size], contender.scheduler(), recorder)

    def rounds(
        self, contenders: Sequence[Contender], rounds: int, seed: int = 0
    ) -> Iterator[tuple[Measured, ...]]:
        """Yield after each pass what has been measured so far, in the contenders' order."""
        # A scheduler that learns keeps its state from round to round; a fixed size starts anew.
        learning = {c.name: c.scheduler() for c in contenders if c.size is None}
        measured: dict[str, list[Round]] = {c.name: [] for c in contenders}
        for number, order in enumerate(interleaved(len(contenders), rounds, seed)):
            for place, i in enumerate(order):
                contender = contenders[i]
                scheduler = learning.get(contender.name) or contender.scheduler()
                done = self._pass(contender, scheduler, number, place)
                measured[contender.name].append(done)
                yield tuple(
                    Measured(c.name, c.size, tuple(measured[c.name]))
                    for c in contenders
                    if measured[c.name]
                )

    def _pass(
        self, contender: Contender, scheduler: BatchScheduler, number: int, place: int
    ) -> Round:
        if self.probe is not None:
            self.probe.read()  # So that the peak is of this pass alone.
        recorder = _Recorder(
            self.clock,
            lambda done, seconds: self.report(RoundProgress(contender.name, number, done, seconds)),
        )
        progress = self._extract(self.spec, self.work, scheduler, recorder)
        return Round(
            number=number,
            place=place,
            seconds=recorder.elapsed(),
            problems=progress.records + progress.failures,
            failures=dict(progress.reasons),
            steps=progress.steps,
            prompt_tokens=progress.prompt_tokens,
            new_tokens=progress.new_tokens,
            peak_bytes=recorder.peak,
            used_bytes=recorder.used,
            limit_bytes=recorder.limit,
            out_of_memory=progress.out_of_memory,
            batches=tuple(recorder.batches),
            decisions=tuple(recorder.decisions),
        )

    def _extract(
        self,
        spec: SessionSpec,
        work: Sequence[Work],
        scheduler: BatchScheduler,
        recorder: _Recorder,
    ) -> Progress:
        session = self.backend.open_session(spec)
        recorder.start()
        try:
            _, progress = extract(
                Pending(work),
                session,
                scheduler,
                SizeSink(),
                probe=self.probe,
                report=recorder.see,
                decided=recorder.decided,
                computing=self.computing,
            )
        finally:
            session.close()
        return progress


def interleaved(contenders: int, rounds: int, seed: int) -> Iterator[list[int]]:
    """Yield the order of the contenders in each round: shuffled, then reversed.

    This way a machine that slows down over time affects all contenders alike.
    """
    shuffle = random.Random(seed)
    order = list(range(contenders))
    for number in range(rounds):
        if number % 2 == 0:
            shuffle.shuffle(order)
        else:
            order.reverse()
        yield list(order)


class _Recorder:
    """Records the batches, decisions and memory of one pass."""

    def __init__(
        self,
        clock: Callable[[], float],
        report: Callable[[int, float], None] = lambda done, seconds: None,
    ) -> None:
        self._clock, self._report = clock, report
        self._began = clock()
        self._last: object = None
        self.batches: list[MeasuredBatch] = []
        self.decisions: list[tuple[float, Decision]] = []
        self.peak: int | None = None
        self.used: int | None = None
        self.limit: int | None = None

    def start(self) -> None:
        self._began = self._clock()

    def elapsed(self) -> float:
        return self._clock() - self._began

    def decided(self, decision: Decision) -> None:
        self.decisions.append((self.elapsed(), decision))

    def see(self, progress: Progress) -> None:
        last = progress.last
        if last is not None and last is not self._last:
            self._last = last
            if last.phase == "generate":
                at, oom = self.elapsed(), last.out_of_memory
                self.batches.append(
                    MeasuredBatch(at, last.rows, last.new_tokens, last.seconds, oom)
                )
            if last.memory is not None:
                self.peak = _larger(self.peak, last.memory.peak_bytes)
                self.used = _larger(self.used, last.memory.used_bytes)
                self.limit = last.memory.limit_bytes
        self._report(progress.records + progress.failures, self.elapsed())


def _larger(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else max(a, b)
