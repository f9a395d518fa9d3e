"""The measuring use case: the same problems, several batch sizes, and what each of them costs.

One at a time, fixed sizes and a scheduler that finds its own run in turn over the same problems,
in rounds. All of the pipeline is timed (generate, cut, encode); nothing is stored.
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
from .results import BenchResult, BenchRunSettings, Measured, MeasuredBatch, Round

FIXED = "fixed"
# Tokens that the first use of each size is given, before anything is timed.
_WARM_TOKENS = 4
Computing = Callable[[], AbstractContextManager[None]]


@attrs.frozen
class Contender:
    """One of those that are compared.

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
    """How far a measurement is.

    Attributes:
        name: of the contender that runs.
        round: its round, from 0.
        done: its problems done.
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
    opened: Callable[[BenchResult, int], None] = lambda nothing_yet, passes: None,
    report: Callable[[RoundProgress], None] = lambda standing: None,
    kept: Callable[[BenchResult], None] = lambda result: None,
    computing: Computing = nullcontext,
) -> BenchResult:
    """Open what is to be measured, and measure it.

    Args:
        settings: of the measurement.
        registry: finds the adapters.
        say: told what goes on.
        opened: called once before anything is timed, with a result that has no figures yet, and
            how often the problems will be passed through.
        report: called after each step.
        kept: called after each pass with what has been measured so far.
        computing: entered around each step of the model.

    Raises:
        UsageError: anything that the user can mend before anything runs.
    """
    registry = registry or Registry()
    if settings.problems.traces:
        raise UsageError(
            "problems.traces: bench times generating, too; name problems.sources instead"
        )
    adapter = registry.find(BackendAdapter, settings.backend.name)
    options = adapter.configure(settings.backend.options, "backend")
    contenders = list(_contenders(settings, registry))
    asked = Worklist(open_sources(settings.problems, registry), 1, settings.problems.limit)
    say("reading the problems")
    survey = asked.survey()
    left_out = tuple(c.size for c in contenders if c.size and c.size > survey.work)
    contenders = [c for c in contenders if c.size not in left_out]
    if contenders[0].size is None:
        raise SettingsError(
            f"bench.sizes: {survey.work} problems never fill {min(left_out)} rows; "
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
        for found in bench.rounds(contenders, settings.bench.rounds, settings.sampling.seed):
            result = attrs.evolve(result, measured=found)
            kept(result)
    finally:
        backend.close()
    return result


def _contenders(settings: BenchRunSettings, registry: Registry) -> Iterator[Contender]:
    fixed = registry.find(SchedulerAdapter, FIXED)
    own = settings.scheduler
    # What both know of how encoding is batched is the same for both.
    shared = {k: x for k, x in own.options.items() if k == "encode_tokens"}
    for size in sorted(settings.bench.sizes):
        options = fixed.configure({**shared, "batch_size": size}, "scheduler")
        yield Contender(str(size), partial(fixed.create, options), size)
    if own.name == FIXED:
        raise SettingsError("scheduler.name: the fixed sizes are named by bench.sizes")
    deciding = registry.find(SchedulerAdapter, own.name)
    settled = deciding.configure(own.options, "scheduler")
    yield Contender(own.name, partial(deciding.create, settled))


@attrs.define
class Bench:
    """Measures contenders on one open backend.

    Attributes:
        backend: stays open.
        work: done by every contender in every round.
        spec: of the sessions.
        probe: reads the memory, where there is one.
        report: called after each step.
        computing: entered around each step of the model.
        clock: seconds.
    """

    backend: LLMBackend
    work: list[Work]
    spec: SessionSpec
    probe: MemoryProbe | None = None
    report: Callable[[RoundProgress], None] = lambda standing: None
    computing: Computing = nullcontext
    clock: Callable[[], float] = time.perf_counter

    def warm_up(self, contenders: Sequence[Contender]) -> None:
        """Use every fixed size once for a few tokens: first-use cost is to be nobody's."""
        tokens = min(_WARM_TOKENS, self.spec.sampling.max_new_tokens)
        sampling = attrs.evolve(self.spec.sampling, max_new_tokens=tokens)
        spec = attrs.evolve(self.spec, sampling=sampling)
        for one in contenders:
            if one.size is not None:
                self._extract(spec, self.work[: one.size], one.scheduler(), _Watch(self.clock))

    def rounds(
        self, contenders: Sequence[Contender], rounds: int, seed: int = 0
    ) -> Iterator[tuple[Measured, ...]]:
        """Pass by pass, what has been measured so far, in the contenders' order."""
        # A scheduler that learns goes on learning from round to round; a fixed size starts afresh.
        learning = {one.name: one.scheduler() for one in contenders if one.size is None}
        found: dict[str, list[Round]] = {one.name: [] for one in contenders}
        for number, order in enumerate(interleaved(len(contenders), rounds, seed)):
            for place, i in enumerate(order):
                one = contenders[i]
                scheduler = learning.get(one.name) or one.scheduler()
                done = self._pass(one, scheduler, number, place)
                found[one.name].append(done)
                yield tuple(
                    Measured(c.name, c.size, tuple(found[c.name]))
                    for c in contenders
                    if found[c.name]
                )

    def _pass(self, one: Contender, scheduler: BatchScheduler, number: int, place: int) -> Round:
        if self.probe is not None:
            self.probe.read()  # What was held before is nobody's peak.
        watch = _Watch(
            self.clock,
            lambda done, passed: self.report(RoundProgress(one.name, number, done, passed)),
        )
        progress = self._extract(self.spec, self.work, scheduler, watch)
        return Round(
            number=number,
            place=place,
            seconds=watch.passed(),
            problems=progress.records + progress.failures,
            failures=dict(progress.reasons),
            steps=progress.steps,
            prompt_tokens=progress.prompt_tokens,
            new_tokens=progress.new_tokens,
            peak_bytes=watch.peak,
            used_bytes=watch.used,
            limit_bytes=watch.limit,
            out_of_memory=progress.out_of_memory,
            batches=tuple(watch.batches),
            decisions=tuple(watch.decisions),
        )

    def _extract(
        self, spec: SessionSpec, work: Sequence[Work], scheduler: BatchScheduler, watch: _Watch
    ) -> Progress:
        session = self.backend.open_session(spec)
        watch.start()
        try:
            _, progress = extract(
                Pending(work),
                session,
                scheduler,
                SizeSink(),
                probe=self.probe,
                report=watch.see,
                decided=watch.decided,
                computing=self.computing,
            )
        finally:
            session.close()
        return progress


def interleaved(contenders: int, rounds: int, seed: int) -> Iterator[list[int]]:
    """An order a round: shuffled, and the next time backwards, so that a machine which grows
    slower from hour to hour harms none more than another."""
    shuffle = random.Random(seed)
    order = list(range(contenders))
    for number in range(rounds):
        if number % 2 == 0:
            shuffle.shuffle(order)
        else:
            order.reverse()
        yield list(order)


class _Watch:
    """Follows one pass: batches, decisions, memory."""

    def __init__(
        self,
        clock: Callable[[], float],
        report: Callable[[int, float], None] = lambda done, passed: None,
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

    def passed(self) -> float:
        return self._clock() - self._began

    def decided(self, decision: Decision) -> None:
        self.decisions.append((self.passed(), decision))

    def see(self, progress: Progress) -> None:
        seen = progress.last
        if seen is not None and seen is not self._last:
            self._last = seen
            if seen.phase == "generate":
                at, oom = self.passed(), seen.out_of_memory
                self.batches.append(
                    MeasuredBatch(at, seen.rows, seen.new_tokens, seen.seconds, oom)
                )
            if seen.memory is not None:
                self.peak = _larger(self.peak, seen.memory.peak_bytes)
                self.used = _larger(self.used, seen.memory.used_bytes)
                self.limit = seen.memory.limit_bytes
        self._report(progress.records + progress.failures, self.passed())


def _larger(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else max(a, b)
