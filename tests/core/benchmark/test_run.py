"""Measuring batch sizes, on machines whose clock is turned by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import pytest
from engines import Cramped

from rjepa_adapters.schedulers.adaptive import AdaptiveScheduler, AdaptiveSettings
from rjepa_adapters.schedulers.fixed import FixedScheduler, FixedSettings
from rjepa_core.benchmark.advice import Advice, advise
from rjepa_core.benchmark.results import (
    BenchResult,
    BenchRunSettings,
    BenchSettings,
    Measured,
    MeasuredBatch,
    Round,
)
from rjepa_core.benchmark.run import Bench, Contender, RoundProgress, interleaved, run_bench
from rjepa_core.domain.problem import Problem
from rjepa_core.domain.trace import Completion, Prompt, Work
from rjepa_core.errors import OutOfMemoryError, SettingsError, UsageError
from rjepa_core.extraction.engine import session_spec
from rjepa_core.extraction.work import Survey
from rjepa_core.ports.backend import InFlight, ModelInfo, Observation, Refused, Room
from rjepa_core.ports.probe import MemoryReading
from rjepa_core.settings.extraction import AdapterSettings, ProblemSettings, SamplingSettings
from rjepa_core.testing.seeded import SeededBackend, SeededSettings

SETTINGS = BenchRunSettings(model="m", sampling=SamplingSettings(max_new_tokens=40))
WORK = [Work(Problem(id=f"p{i}", statement=f"{'long ' * i}{i} + 1?")) for i in range(16)]


class Machine(SeededBackend):
    """Takes so many seconds for a batch of so many rows; remembers which batches came when."""

    def __init__(
        self, seconds: Callable[[int], float], rows: int = 10**9, growing: float = 0.0
    ) -> None:
        super().__init__(SETTINGS.model, SeededSettings())
        self.now = 0.0
        self.batches: list[int] = []
        self._seconds, self._rows, self._growing = seconds, rows, growing

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingSettings
    ) -> Sequence[Completion | Refused]:
        self.batches.append(len(prompts))
        if sampling.max_new_tokens < SETTINGS.sampling.max_new_tokens:
            return super().generate(prompts, sampling)  # a warm-up, which takes no time here
        if len(prompts) > self._rows:
            self.now += 0.5
            raise OutOfMemoryError("too many rows")
        self.now += self._seconds(len(prompts)) * (1 + self._growing * self.now)
        return super().generate(prompts, sampling)


class Probe:
    """Reads as peak the rows of the machine's batches since it was last read."""

    def __init__(self, machine: Machine) -> None:
        self._machine, self._before = machine, 0

    def read(self) -> MemoryReading:
        new = self._machine.batches[self._before :]
        self._before = len(self._machine.batches)
        return MemoryReading(used_bytes=50, limit_bytes=10**9, peak_bytes=max(new, default=0))


def cliff(rows: int) -> float:
    """The audit's figures a batch: 41 s alone, 8 rows at 5.67 s each, 16 rows at 18.48."""
    return {1: 41.0, 4: 43.0, 8: 8 * 5.67, 16: 16 * 18.48}[rows]


def linear(rows: int) -> float:
    return 10.0 + rows


def contenders(*sizes: int, adaptive: int | None = None) -> list[Contender]:
    def fixed(size: int) -> Contender:
        settings = FixedSettings(batch_size=size)
        return Contender(str(size), lambda: FixedScheduler(settings), size)

    found = [fixed(size) for size in sizes]
    if adaptive is not None:
        settings = AdaptiveSettings(batch_size=adaptive)
        found.append(Contender("adaptive", lambda: AdaptiveScheduler(settings)))
    return found


def measure(
    machine: Machine, rounds: int = 2, *, some: list[Contender] | None = None, **more: Any
) -> BenchResult:
    some = some or contenders(1, 4, 8, 16)
    spec = session_spec(SETTINGS, (3,), lambda: machine.now)
    bench = Bench(machine, WORK, spec, Probe(machine), clock=lambda: machine.now, **more)
    bench.warm_up(some)
    *_, measured = bench.rounds(some, rounds)
    settings = attrs.evolve(SETTINGS, bench=BenchSettings(rounds=rounds))
    survey = Survey(len(WORK), len(WORK), 0, {"math": len(WORK)}, 100, None)
    return BenchResult(settings, machine.info, survey, measured)


def named(result: BenchResult, name: str) -> Measured:
    return next(one for one in result.measured if one.name == name)


# measuring


def test_every_contender_runs_once_a_round_in_an_order_that_turns_round() -> None:
    result = measure(Machine(linear), 4)
    places = {one.name: [done.place for done in one.rounds] for one in result.measured}
    assert list(places) == ["1", "4", "8", "16"]
    for round_ in range(4):
        assert sorted(found[round_] for found in places.values()) == [0, 1, 2, 3]
    # Backwards every other round: nobody is early or late on the whole.
    assert all(found[0] + found[1] == 3 and found[2] + found[3] == 3 for found in places.values())
    assert places != {name: [i, 3 - i] * 2 for i, name in enumerate(places)}, "never shuffled"


def test_the_order_depends_on_the_seed_alone() -> None:
    assert list(interleaved(5, 3, 1)) == list(interleaved(5, 3, 1))
    orders = {tuple(next(interleaved(5, 1, seed))) for seed in range(9)}
    assert len(orders) > 3


def test_a_machine_that_grows_slower_harms_none_more_than_another() -> None:
    """Three of the same size: over two rounds they agree, over one they do not."""
    same = [attrs.evolve(one, name=name) for name in "abc" for one in contenders(4)]
    once = measure(Machine(linear, growing=0.0005), 1, some=same)
    twice = measure(Machine(linear, growing=0.0005), 2, some=same)

    def apart(result: BenchResult) -> float:
        medians = [one.seconds_per_problem.median for one in result.measured]
        return max(medians) / min(medians) - 1

    assert apart(once) > 0.03
    assert apart(twice) < apart(once) / 4


def test_seconds_tokens_and_speed_up_are_those_of_the_clock() -> None:
    machine = Machine(cliff)
    result = measure(machine)
    one, eight, sixteen = (named(result, name) for name in ("1", "8", "16"))
    assert one.seconds_per_problem.median == pytest.approx(41)
    assert eight.seconds_per_problem.median == pytest.approx(5.67)
    assert result.speed_up(eight) == pytest.approx(41 / 5.67)
    assert result.hours(sixteen) == pytest.approx(18.48 * 21456 / 3600)
    assert 109 < result.hours(sixteen) < 111, "the audit's 110 hours"
    [tokens] = {done.new_tokens for m in result.measured for done in m.rounds}
    assert one.tokens_per_second.median == pytest.approx(tokens / (41 * len(WORK)))


def test_the_median_stands_between_the_smallest_and_the_largest() -> None:
    result = measure(Machine(linear, growing=0.001), 3)
    spread = named(result, "4").seconds_per_problem
    rounds = [done.seconds / len(WORK) for done in named(result, "4").rounds]
    assert (spread.least, spread.median, spread.most) == tuple(sorted(rounds))
    assert spread.least < spread.median < spread.most


def test_the_peak_is_each_contenders_own() -> None:
    result = measure(Machine(linear))
    assert [one.peak_bytes for one in result.measured] == [1, 4, 8, 16]


def test_what_was_held_before_is_no_ones_peak() -> None:
    machine = Machine(linear)
    bench = Bench(machine, WORK, session_spec(SETTINGS, (3,)), Probe(machine))
    machine.batches.append(999)
    *_, [one] = bench.rounds(contenders(4), 1)
    assert one.peak_bytes == 4


def test_the_warm_up_uses_each_size_and_is_no_ones_time() -> None:
    machine = Machine(linear)
    result = measure(machine)
    assert machine.batches[:4] == [1, 4, 8, 16]
    assert sum(done.seconds for m in result.measured for done in m.rounds) == machine.now


def test_the_scheduler_that_learns_goes_on_learning() -> None:
    result = measure(Machine(cliff_between), 6, some=contenders(1, 8, adaptive=16))
    rounds = named(result, "adaptive").rounds
    rows = [[batch.rows for batch in done.batches] for done in rounds]
    assert rows[0][0] == 16
    assert all(batch <= 8 for done in rows[-2:] for batch in done), rows
    assert rounds[0].decisions
    assert rounds[0].seconds > 2 * rounds[-1].seconds


def cliff_between(rows: int) -> float:
    return linear(rows) * (5 if rows > 8 else 1)


def test_batches_that_do_not_fit_are_counted_and_the_problems_are_done_all_the_same() -> None:
    result = measure(Machine(linear, rows=8))
    sixteen = named(result, "16")
    assert sixteen.out_of_memory == 2, "once a round"
    assert sixteen.failed == 0
    assert all(done.problems == len(WORK) for done in sixteen.rounds)
    assert [batch.out_of_memory for batch in sixteen.rounds[0].batches][:2] == [True, False]
    assert named(result, "8").out_of_memory == 0


def test_it_tells_how_far_it_is() -> None:
    seen: list[RoundProgress] = []
    measure(Machine(linear), report=seen.append)
    assert {(s.name, s.round) for s in seen if s.done == len(WORK)} == {
        (name, number) for name in ("1", "4", "8", "16") for number in (0, 1)
    }


def test_the_session_is_closed_when_a_pass_is_interrupted() -> None:
    machine = Machine(linear)
    spec = session_spec(SETTINGS, (3,))
    opened = []

    def open_session(given: Any) -> Any:
        opened.append(SeededBackend.open_session(machine, given))
        return opened[-1]

    machine.open_session = open_session  # type: ignore[method-assign]

    def strike(standing: RoundProgress) -> None:
        raise KeyboardInterrupt

    bench = Bench(machine, WORK, spec, report=strike)
    with pytest.raises(KeyboardInterrupt):
        next(bench.rounds(contenders(4), 1))
    assert not opened[0].in_flight


# put together


def bench_settings(**changes: Any) -> BenchRunSettings:
    return attrs.evolve(
        SETTINGS,
        backend=AdapterSettings(name="seeded"),
        problems=ProblemSettings(sources=("demo",), limit=8),
        **changes,
    )


def test_all_of_it_by_the_adapters_names() -> None:
    said: list[str] = []
    result = run_bench(bench_settings(bench=BenchSettings(sizes=(8, 1), rounds=1)), say=said.append)
    assert [one.name for one in result.measured] == ["1", "8", "adaptive"]
    assert result.survey.problems == 8
    assert result.measured[0].peak_bytes, "no probe was found"
    assert said == ["reading the problems", "loading m", "warming up"]


def test_sizes_that_are_never_filled_are_left_out_and_named() -> None:
    result = run_bench(bench_settings(bench=BenchSettings(sizes=(1, 8, 9), rounds=1)))
    assert [one.size for one in result.measured] == [1, 8, None]
    assert result.left_out == (9,)
    assert any("9 rows were left out" in doubt for doubt in advise(result).doubts)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bench": BenchSettings(sizes=(9, 16))}, "bench.sizes: 8 problems never fill 9 rows"),
        ({"scheduler": AdapterSettings(name="fixed")}, "scheduler.name"),
        (
            {"scheduler": AdapterSettings(name="adaptive", options={"batch_sise": 2})},
            "did you mean scheduler.batch_size?",
        ),
    ],
)
def test_mistakes_are_found_before_the_model_is_loaded(
    changes: Mapping[str, Any], says: str
) -> None:
    said: list[str] = []
    with pytest.raises(SettingsError, match=says.replace("?", r"\?")):
        run_bench(bench_settings(**changes), say=said.append)
    assert not any("loading" in line for line in said)


def test_given_solutions_are_refused() -> None:
    problems = ProblemSettings(traces=("solutions.jsonl",))
    with pytest.raises(UsageError, match="generating"):
        run_bench(attrs.evolve(bench_settings(), problems=problems))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"sizes": ()}, "at least one"),
        ({"sizes": (0, 4)}, ">= 1, got 0"),
        ({"sizes": (4, 4)}, "differ"),
        ({"rounds": 0}, "rounds"),
        ({"total": 0}, "total"),
    ],
)
def test_settings_are_checked(given: Mapping[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        BenchSettings(**given)


# the advice


def figures(
    name: str, *seconds: float, oom: int = 0, failed: int = 0, batches: int = 30
) -> Measured:
    """A contender whose rounds took so many seconds a problem, 10 problems each."""
    rounds = tuple(
        Round(
            number=i,
            place=0,
            seconds=10 * each,
            problems=10,
            failures={"out of memory": failed} if failed else {},
            steps=20,
            prompt_tokens=100,
            new_tokens=100,
            peak_bytes=None,
            used_bytes=None,
            limit_bytes=None,
            out_of_memory=oom,
            batches=(MeasuredBatch(1.0, 4, 10, 1.0),) * batches,
            decisions=(),
        )
        for i, each in enumerate(seconds)
    )
    return Measured(name, int(name) if name.isdigit() else None, rounds)


def advice(*measured: Measured, rounds: int = 2) -> Advice:
    settings = attrs.evolve(SETTINGS, bench=BenchSettings(rounds=rounds))
    info = ModelInfo("sha256:1", "m", "none", "float32", 8, 4)
    return advise(BenchResult(settings, info, Survey(10, 10, 0, {}, 9, None), measured))


def test_the_audits_cliff() -> None:
    found = advice(figures("1", 41, 41), figures("8", 5.67, 5.67), figures("16", 18.48, 18.48))
    assert found.name == "8"
    assert found.sentence == (
        "Use scheduler.name=fixed scheduler.batch_size=8: 7.2 times as fast as one at a time; "
        "16 rows took 3.3 times as long."
    )
    assert found.doubts == ()


def test_a_larger_size_that_runs_out_of_memory_is_never_recommended() -> None:
    found = advice(figures("1", 10, 10), figures("4", 4, 4), figures("8", 2, 2, oom=1))
    assert found.name == "4"
    assert "8 rows ran out of memory" in found.sentence


@pytest.mark.parametrize(("larger", "name"), [(3.81, "4"), (3.79, "8"), (4.0, "4"), (4.1, "4")])
def test_the_smaller_of_two_that_are_as_fast(larger: float, name: str) -> None:
    """4.0 s is within 5 % of 3.81 s (3.81 * 1.05 = 4.0005), and not of 3.79 s."""
    found = advice(figures("1", 10, 10), figures("4", 4.0, 4.0), figures("8", larger, larger))
    assert found.name == name


def test_a_little_faster_is_said_to_be_only_that() -> None:
    found = advice(figures("1", 10, 10), figures("4", 4, 4), figures("8", 3.85, 3.85))
    assert "8 rows were only 4 % faster" in found.sentence
    found = advice(figures("1", 10, 10), figures("4", 4, 4), figures("8", 4, 4))
    assert "8 rows were no faster" in found.sentence
    found = advice(figures("1", 10, 10), figures("4", 4, 4), figures("8", 4.4, 4.4))
    assert "8 rows took 10 % longer" in found.sentence


def test_the_largest_that_was_measured_asks_for_larger_ones() -> None:
    found = advice(figures("4", 4, 4), figures("8", 2, 2))
    assert "2.0 times as fast as 4 at a time" in found.sentence
    assert "bench.sizes=8,16,32 problems.limit=64" in found.sentence


def test_one_at_a_time_may_be_the_best() -> None:
    found = advice(figures("1", 4, 4), figures("4", 8, 8))
    assert found.sentence == (
        "Use scheduler.name=fixed scheduler.batch_size=1: 4 rows took 2.0 times as long."
    )


@pytest.mark.parametrize(
    ("seconds", "name", "says"),
    [
        (2.08, "adaptive", "within 4 % of the best fixed size, 8 rows"),
        (2.0, "adaptive", "as fast as the best fixed size, 8 rows"),
        (1.6, "adaptive", "25 % faster than the best fixed size, 8 rows"),
        (2.4, "8", "adaptive took 20 % longer over so few problems"),
        (9.0, "8", "adaptive took 4.5 times as long"),
    ],
)
def test_adaptive_where_it_is_as_fast(seconds: float, name: str, says: str) -> None:
    found = advice(figures("1", 9, 9), figures("8", 2, 2), figures("adaptive", seconds, seconds))
    assert found.name == name
    assert says in found.sentence


def test_adaptive_that_is_close_to_the_chosen_and_not_to_the_best_is_not_called_close() -> None:
    """4 rows are chosen for being within 5 % of 8; adaptive is within 5 % of 4, not of 8."""
    some = figures("4", 2.09, 2.09), figures("8", 2, 2), figures("adaptive", 2.18, 2.18)
    assert "within 9 % of the best" in advice(*some).sentence


def test_where_every_size_runs_out_of_memory() -> None:
    some = figures("4", 4, 4, oom=1), figures("8", 2, 2, oom=1)
    assert advice(*some).name is None
    found = advice(*some, figures("adaptive", 9, 9, oom=3))
    assert found.name == "adaptive"
    assert "every fixed size ran out of memory" in found.sentence


def test_a_contender_whose_problems_all_failed_is_not_fast() -> None:
    found = advice(figures("1", 4, 4), figures("4", 0.1, 0.1, failed=10))
    assert found.name == "1"
    assert any("4 rows 20 of 20 problems failed" in doubt for doubt in found.doubts)
    assert advice(figures("1", 0.1, 0.1, failed=10)).name is None


def test_what_is_to_be_doubted() -> None:
    [one] = advice(figures("1", 4), rounds=1).doubts
    assert "only one round" in one
    [one] = advice(figures("1", 4, 4), figures("4", 2, 2.5)).doubts
    assert "rounds of 4 rows differ by 22 %" in one
    [one] = advice(figures("1", 4, 4), figures("adaptive", 9, 9, batches=3)).doubts
    assert "adaptive had 6 batches" in one


def test_cramped_backends_are_measured_to_the_end() -> None:
    """Out of memory while encoding is counted as well."""
    machine = Cramped(tokens=600)
    spec = session_spec(SETTINGS, (3,))
    *_, measured = Bench(machine, WORK, spec).rounds(contenders(16), 1)
    assert measured[0].out_of_memory > 0
    assert measured[0].rounds[0].problems == len(WORK)
    assert machine.encoded, "nothing was encoded"


def test_schedulers_are_asked_as_by_an_extraction() -> None:
    """A scheduler that explains itself is listened to, and one without a word is no trouble."""

    class Silent:
        def room(self, in_flight: InFlight) -> Room:
            return Room(max(0, 2 - in_flight.rows), None, 0, 4096)

        def observe(self, observation: Observation) -> None:
            pass

    result = measure(Machine(linear), 1, some=[*contenders(1), Contender("silent", Silent)])
    assert named(result, "silent").rounds[0].decisions == ()
    assert {batch.rows for batch in named(result, "silent").rounds[0].batches} == {2}
