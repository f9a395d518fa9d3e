"""Machines with a virtual clock, for schedulers: real lengths, real loop, no vectors."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import numpy as np

from rjepa_adapters.schedulers.adaptive import AdaptiveScheduler, AdaptiveSettings
from rjepa_adapters.schedulers.fixed import FixedScheduler, FixedSettings
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.problem import Problem
from rjepa_core.domain.trace import Failure, Trace, Work
from rjepa_core.extraction import Pending, extract
from rjepa_core.ports.backend import InFlight, Observation, Room, Step
from rjepa_core.ports.probe import MemoryReading
from rjepa_core.ports.scheduler import BatchScheduler, Decision

GSM8K = Path(__file__).parents[1].parent / "shared" / "data" / "gsm8k_train.jsonl"

# Seconds of a decoding step (docs: the decoding table of SmolLM2-135M on two cores); below 8 rows
# a step takes 65 to 80 ms.
STEP_ROWS = (1, 8, 16, 32, 64)
STEP_SECONDS = (0.070, 0.086, 0.128, 0.176, 0.234)
PREFILL = 600.0  # prompt tokens a second
NOISE = 0.2
MAX_NEW_TOKENS = 300
CHARACTERS_A_TOKEN = 3.5
TEMPLATE_TOKENS = 60  # instructions and chat format around a statement

MIB = 1 << 20
WEIGHTS = 515 * MIB
TOKEN_BYTES = 46_080  # a key and a value in 30 layers, 3 heads of 64, float32

HARD_LIMIT = 6_000  # tokens in flight
CLIFF_ROWS, CLIFF = 8, 3.3
# 3 GiB have room for about 58,000 tokens, and for 12,700 while another process holds 2,000 MiB of
# them: between these shares of the problems.
MOVING_LIMIT = 3 * 1024 * MIB
OTHER = 2_000 * MIB
TAKEN = ((0.3, 0.5), (0.7, 0.8))


@attrs.frozen
class Lengths:
    """Of one problem, in tokens."""

    prompt: int
    completion: int


@attrs.define
class World:
    """Problems in an order, with what never changes about them prepared once."""

    work: list[Work]
    lengths: dict[str, Lengths]
    records: dict[str, LatentRecord]


def load_lengths() -> list[tuple[str, int, int]]:
    """Statement, and tokens of statement and solution, of GSM8K's training problems."""
    if not GSM8K.exists():
        sys.exit(f"{GSM8K} is not there: the lengths of real solutions are needed")
    found = []
    for line in GSM8K.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        prompt = TEMPLATE_TOKENS + round(len(row["question"]) / CHARACTERS_A_TOKEN)
        new = min(MAX_NEW_TOKENS, max(1, round(len(row["answer"]) / CHARACTERS_A_TOKEN)))
        found.append((row["question"], prompt, new))
    return found


def make_world(rows: Sequence[tuple[str, int, int]], count: int, seed: int) -> World:
    """So many problems in the seed's order; again from the start where there are too few."""
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    world = World([], {}, {})
    vectors, ids = np.zeros((1, 1, 1), np.float16), np.zeros(1, np.int32)
    for i in range(count):
        statement, prompt, new = rows[order[i % len(order)]]
        problem = Problem(f"{i:05}", statement)
        world.work.append(Work(problem))
        world.lengths[problem.id] = Lengths(prompt, new)
        trace = Trace(problem, 0, "", ids, (0, 0), "", ids, (), (), None, "lines", "stop")
        world.records[problem.id] = LatentRecord(trace, vectors, vectors[0])
    return world


@attrs.define
class Machine:
    """How a machine behaves under a batch.

    Attributes:
        name: for the table.
        token_limit: tokens in flight above which a batch runs out of memory.
        slow_above, slow_factor: rows above which everything takes so many times longer.
        moving: the limit is in bytes, moves, and is shown by the probe.
    """

    name: str
    token_limit: float = math.inf
    slow_above: float = math.inf
    slow_factor: float = 1.0
    moving: bool = False

    def limit(self, done: float) -> float:
        """Tokens in flight that fit when this share of the problems is done."""
        if not self.moving:
            return self.token_limit
        return (MOVING_LIMIT - WEIGHTS - self.taken(done)) / TOKEN_BYTES

    def taken(self, done: float) -> int:
        """Bytes that another process holds."""
        return OTHER if any(a <= done < b for a, b in TAKEN) else 0

    def seconds(self, rows: int, prompt: int, steps: int) -> float:
        """Of a padded batch, without noise."""
        step = float(np.interp(rows, STEP_ROWS, STEP_SECONDS))
        usual = rows * prompt / PREFILL + steps * step
        return usual * (self.slow_factor if rows > self.slow_above else 1.0)


MACHINES = (
    Machine("no limit"),
    Machine("hard limit", token_limit=HARD_LIMIT),
    Machine("silent cliff", slow_above=CLIFF_ROWS, slow_factor=CLIFF),
    Machine("moving limit", moving=True),
)


@attrs.define
class Batch:
    """What happened in one batch: rows, whether it fitted, and the share done before it."""

    rows: int
    out_of_memory: bool
    done: float
    seconds: float


class SimulatedSession:
    """Runs whole padded batches on a machine, in virtual time. It is its own memory probe."""

    def __init__(self, machine: Machine, world: World, seed: int) -> None:
        self._machine, self._world = machine, world
        self._random = random.Random(f"{machine.name} {seed}")
        self._new: list[Work] = []
        self._done = 0
        self._peak = WEIGHTS
        self.clock = 0.0
        self.batches: list[Batch] = []

    @property
    def in_flight(self) -> InFlight:
        return InFlight(len(self._new), 0, sum(self.cost(work) for work in self._new))

    def cost(self, work: Work) -> int:
        return self._world.lengths[work.problem.id].prompt + MAX_NEW_TOKENS

    def admit(self, work: Sequence[Work]) -> None:
        self._new.extend(work)

    def advance(self, room: Room) -> Step:
        works, self._new = self._new, []
        rows, tokens = len(works), sum(self.cost(work) for work in works)
        lengths = [self._world.lengths[work.problem.id] for work in works]
        prompt = max(length.prompt for length in lengths)
        steps = max(length.completion for length in lengths)
        share = self._done / len(self._world.work)
        failed = rows * (prompt + steps) > self._machine.limit(share)
        noise = self._random.lognormvariate(-NOISE * NOISE / 2, NOISE)
        seconds = self._machine.seconds(rows, prompt, steps) * noise * (0.5 if failed else 1.0)
        self.clock += seconds
        self.batches.append(Batch(rows, failed, share, seconds))
        fitted = min(rows * (prompt + steps), self._machine.limit(share))
        self._peak = WEIGHTS + (int(fitted * TOKEN_BYTES) if math.isfinite(fitted) else 0)
        if failed:
            seen = Observation("generate", rows, 0, 0, seconds, True, tokens=tokens)
            if rows > 1:
                return Step(given_back=tuple(works), observation=seen)
            [work] = works
            failure = Failure(work.key, work.problem.statement_hash, "out of memory", "")
            return Step(failed=(failure,), observation=seen)
        self._done += rows
        read = sum(length.prompt for length in lengths)
        new = sum(length.completion for length in lengths)
        seen = Observation("generate", rows, read, new, seconds, tokens=tokens)
        records = tuple(self._world.records[work.problem.id] for work in works)
        return Step(finished=records, observation=seen)

    def close(self) -> None:
        self._new = []

    def read(self) -> MemoryReading:
        """What a probe would say: only the moving limit is visible."""
        if not self._machine.moving:
            return MemoryReading()
        # Memory is taken and returned right behind a reading: the batch that follows runs blind.
        other = self._machine.taken(self.batches[-1].done)
        return MemoryReading(WEIGHTS + other, MOVING_LIMIT, self._peak, held_bytes=WEIGHTS)


class Counting:
    """A sink that only counts."""

    def __init__(self) -> None:
        self.records = self.failures = 0

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        self.records += len(records)
        self.failures += len(failures)

    def commit(self) -> None:
        return None


class ShrinkOnError:
    """As `find_executable_batch_size` does it: halve at an error, and never look again."""

    def __init__(self, size: int) -> None:
        self._size = size

    def room(self, in_flight: InFlight) -> Room:
        return Room(max(0, self._size - in_flight.rows), None, 4096, 4096)

    def observe(self, observation: Observation) -> None:
        if observation.out_of_memory:
            self._size = max(1, self._size // 2)


@attrs.frozen
class Run:
    """One simulated run.

    Attributes:
        seconds: virtual time.
        batches: all of them.
        decisions: each with the number of batches before it.
        failures: problems that did not fit alone.
    """

    seconds: float
    batches: list[Batch]
    decisions: list[tuple[int, Decision]]
    failures: int

    @property
    def out_of_memory(self) -> int:
        return sum(batch.out_of_memory for batch in self.batches)


def simulate(machine: Machine, world: World, make: Callable[[], BatchScheduler], seed: int) -> Run:
    """The real loop over the real queue, on a simulated machine."""
    session, sink = SimulatedSession(machine, world, seed), Counting()
    decisions: list[tuple[int, Decision]] = []
    extract(
        Pending(world.work),
        session,
        make(),
        sink,
        probe=session,
        decided=lambda decision: decisions.append((len(session.batches), decision)),
    )
    if sink.records + sink.failures != len(world.work):
        raise AssertionError(f"{sink.records} records of {len(world.work)} problems")
    return Run(session.clock, session.batches, decisions, sink.failures)


def fixed(size: int) -> Callable[[], BatchScheduler]:
    return lambda: FixedScheduler(FixedSettings(batch_size=size))


def adaptive() -> BatchScheduler:
    return AdaptiveScheduler(AdaptiveSettings())
