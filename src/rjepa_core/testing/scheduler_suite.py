"""The promises of every batch scheduler, tested on a simulated machine with little memory.

    class TestMyScheduler(SchedulerContract):
        def make(self):
            return MyScheduler(MySettings())

Each failure names the broken promise.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..domain.latents import Encoding, LatentRecord
from ..domain.problem import Problem
from ..domain.prompt import pose
from ..domain.segmentation import cut_completion
from ..domain.trace import OUT_OF_MEMORY, Completion, Failure, Prompt, RecordKey, Trace, Work
from ..errors import BackendError, OutOfMemoryError
from ..extraction import Pending, extract
from ..ports.backend import InFlight, Observation, Refused, SessionSpec
from ..ports.probe import MemoryReading
from ..ports.scheduler import BatchScheduler, Explains
from ..settings import DEFAULT_TEMPLATES, EncodingSettings, ModelSettings, SamplingSettings
from .seeded import SeededBackend, SeededSettings

# Several schedulers inherit the same tests, which this health check would report.
inherited = settings(suppress_health_check=[HealthCheck.differing_executors], deadline=None)

IN_FLIGHT = st.builds(
    InFlight, st.integers(0, 200), st.integers(0, 20_000), st.integers(0, 100_000)
)
OBSERVATIONS = st.builds(
    Observation,
    phase=st.sampled_from(["generate", "encode"]),
    rows=st.integers(1, 200),
    prompt_tokens=st.integers(0, 50_000),
    new_tokens=st.integers(0, 50_000),
    seconds=st.floats(0, 1e4, allow_nan=False),
    out_of_memory=st.booleans(),
    memory=st.none()
    | st.builds(
        MemoryReading,
        used_bytes=st.none() | st.integers(0, 1 << 40),
        limit_bytes=st.none() | st.integers(1, 1 << 40),
        peak_bytes=st.none() | st.integers(0, 1 << 40),
        retries=st.none() | st.integers(0, 3),
        stalled=st.none() | st.floats(0, 1),
        held_bytes=st.none() | st.integers(0, 1 << 40),
    ),
    tokens=st.just(0) | st.integers(1, 100_000),
    ended=st.none() | st.integers(0, 200),
)


class SchedulerContract:
    """Inherit and implement `make`."""

    def make(self) -> BatchScheduler:
        """Return a new scheduler with the settings to be tested."""
        raise NotImplementedError("implement make()")

    @inherited
    @given(st.lists(OBSERVATIONS, max_size=30))
    def test_there_is_always_room_for_one(self, seen: list[Observation]) -> None:
        """With nothing in flight there is room for a row, and for encoding some tokens."""
        scheduler = self.make()
        for observation in seen:
            scheduler.observe(observation)
            room = scheduler.room(InFlight())
            assert room.rows >= 1, f"no room for a row after {observation}: the run stands still"
            assert room.given_tokens >= 1, "no room for a given solution: the run stands still"
            assert room.encode_tokens >= 1, "no room to encode: the run stands still"

    @inherited
    @given(st.lists(st.tuples(IN_FLIGHT, OBSERVATIONS), max_size=30))
    def test_the_same_observations_give_the_same_decisions(
        self, seen: list[tuple[InFlight, Observation]]
    ) -> None:
        one, other = self.make(), self.make()
        for in_flight, observation in seen:
            assert one.room(in_flight) == other.room(in_flight), "hidden state decides"
            one.observe(observation)
            other.observe(observation)

    @inherited
    @given(st.lists(OBSERVATIONS, max_size=30), IN_FLIGHT)
    def test_room_is_what_is_left(self, seen: list[Observation], in_flight: InFlight) -> None:
        """Room is never negative, and never larger with rows in flight than without."""
        scheduler = self.make()
        for observation in seen:
            scheduler.observe(observation)
        room, empty = scheduler.room(in_flight), scheduler.room(InFlight())
        assert 0 <= room.rows <= empty.rows, "rows in flight take no room"
        assert 0 <= room.given_tokens <= empty.given_tokens, "given solutions in flight take room"
        assert room.tokens is None or 0 <= room.tokens <= (empty.tokens or 0), (
            "tokens in flight take room"
        )

    @inherited
    @given(st.lists(OBSERVATIONS, max_size=30), st.integers(0, 200))
    def test_rows_in_flight_take_room(self, seen: list[Observation], rows: int) -> None:
        scheduler = self.make()
        for observation in seen:
            scheduler.observe(observation)
        empty = scheduler.room(InFlight()).rows
        room = scheduler.room(InFlight(rows)).rows
        assert room <= max(0, empty - rows), (
            f"the scheduler loses sight of the rows in flight: room for {empty} without any and "
            f"for {room} more beside {rows}"
        )

    @inherited
    @given(st.integers(1, 9), st.integers(300, 3000))
    def test_a_run_does_every_problem_once(self, rows: int, tokens: int) -> None:
        """On a machine that runs out of memory above a number of rows and tokens."""
        run_on_a_small_machine(self.make(), rows, tokens)

    @inherited
    @given(st.integers(2, 64))
    def test_out_of_memory_makes_the_retry_smaller(self, rows: int) -> None:
        scheduler = self.make()
        size = scheduler.room(InFlight()).rows
        tried = min(rows, size)
        failed = Observation("generate", tried, 100, 0, 1.0, out_of_memory=True)
        scheduler.observe(failed)
        if tried > 1:
            assert scheduler.room(InFlight()).rows < tried, (
                "the scheduler repeats itself: the same batch would fail again"
            )
            if isinstance(scheduler, Explains) and tried == size:
                decisions = [d for d in scheduler.changes() if d.rows_after < d.rows_before]
                assert decisions, "a decision was lost: fewer rows after out of memory is not told"

    def test_out_of_memory_in_encode_lowers_the_encoding_alone(self) -> None:
        scheduler = self.make()
        before = scheduler.room(InFlight())
        scheduler.observe(
            Observation("encode", 4, before.encode_tokens, 0, 1.0, out_of_memory=True)
        )
        after = scheduler.room(InFlight())
        assert after.encode_tokens < before.encode_tokens, "the encoding would fail again"
        assert after.rows == before.rows, "generating has nothing to do with it"

    @inherited
    @given(st.lists(OBSERVATIONS, max_size=30))
    def test_changes_are_told_once(self, seen: list[Observation]) -> None:
        """If a scheduler explains its decisions, each has a reason and is returned once."""
        scheduler = self.make()
        if not isinstance(scheduler, Explains):
            return
        for observation in seen:
            scheduler.observe(observation)
            for decision in scheduler.changes():
                assert decision.reason, f"no reason: {decision}"
                assert decision.rows_before >= 1, f"no rows before: {decision}"
                assert decision.rows_after >= 1, f"no rows after: {decision}"
            assert scheduler.changes() == (), "a decision was told twice"


PROBLEMS = 24
# Halving finds a size that fits in six tries; this is twice as many.
MOST_TRIES = 12


class SmallMachine(SeededBackend):
    """A backend that runs out of memory above some rows in `generate` or tokens in `encode`."""

    def __init__(self, rows: int, tokens: int) -> None:
        super().__init__(ModelSettings(name="small"), SeededSettings(hidden_size=2, max_steps=2))
        self._rows, self._tokens = rows, tokens
        self._tries = 0

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingSettings
    ) -> Sequence[Completion | Refused]:
        self._fit(len(prompts) <= self._rows, f"{len(prompts)} rows")
        return super().generate(prompts, sampling)

    def encode(
        self, traces: Sequence[Trace], encoding: EncodingSettings
    ) -> Sequence[Encoding | Refused]:
        tokens = sum(trace.encoded_length for trace in traces)
        self._fit(len(traces) == 1 or tokens <= self._tokens, f"{tokens} tokens to encode")
        return super().encode(traces, encoding)

    def _fit(self, fits: bool, what: str) -> None:
        self._tries = 0 if fits else self._tries + 1
        assert self._tries <= MOST_TRIES, (
            "the scheduler repeats itself: a batch that ran out of memory was tried "
            f"{self._tries} times in a row, last with {what}"
        )
        if not fits:
            raise OutOfMemoryError(f"{what} do not fit")


class CountingSink:
    """A sink that keeps the keys of records, and failures."""

    def __init__(self) -> None:
        self.records: list[RecordKey] = []
        self.failures: list[Failure] = []

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        self.records += [record.key for record in records]
        self.failures += failures

    def commit(self) -> None:
        pass


def run_on_a_small_machine(scheduler: BatchScheduler, rows: int, tokens: int) -> None:
    """Run some problems under the scheduler; each must be stored exactly once.

    Args:
        scheduler: a new one.
        rows, tokens: the most that fit into `generate` and `encode`.
    """
    work = [Work(Problem(f"p{i}", f"What is {i} plus {i * i}?")) for i in range(PROBLEMS)]
    spec = SessionSpec(
        sampling=SamplingSettings(max_new_tokens=80),
        encoding=EncodingSettings(layers=(0,)),
        pose=lambda item: pose(item.problem, item.sample, DEFAULT_TEMPLATES),
        cut=cut_completion,
        clock=time.perf_counter,
    )
    sink = CountingSink()
    with SmallMachine(rows, tokens) as backend:
        session = backend.open_session(spec)
        try:
            extract(Pending(work), session, scheduler, sink)
        except BackendError as error:
            raise AssertionError(f"the scheduler stalls the run: {error}") from error
    failed = [f for f in sink.failures if f.reason == OUT_OF_MEMORY]
    assert not failed, f"a problem that fits alone was lost to memory: {failed[:1]}"
    found = Counter([*sink.records, *(f.key for f in sink.failures)])
    wanted = {item.key for item in work}
    assert not wanted - found.keys(), f"problems were lost: {sorted(wanted - found.keys())}"
    twice = sorted(key for key, count in found.items() if count > 1)
    assert not twice, f"problems were repeated: {twice}"
