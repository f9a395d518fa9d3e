"""Machines for the schedulers' tests: whole batches and streams of rows, in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import attrs

from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.trace import Failure, Work
from rjepa_core.ports.backend import InFlight, Observation, Room, Step
from rjepa_core.ports.probe import MemoryReading
from rjepa_core.ports.scheduler import BatchScheduler, Decision, Explains

PROMPT, NEW, COST = 100, 100, 400


def batching(rows: int) -> float:
    """Seconds of a step on a machine where more rows are faster: twice the rows, 1.4 the speed."""
    return 0.01 * rows**0.5


@attrs.define
class Driver:
    """Feeds a scheduler with batches, or with a stream of rows, and keeps what it did.

    Attributes:
        scheduler: under test.
        step: seconds of a decoding step with so many rows.
        fits: whether so many tokens (of `COST` a row) fit.
        memory: the reading after a batch, given the tokens that were in flight.
        noise: standard deviation of each time, as a share.
        told: whether observations tell the tokens.
    """

    scheduler: BatchScheduler
    step: Callable[[int], float] = batching
    fits: Callable[[int], bool] = lambda tokens: True
    memory: Callable[[int], MemoryReading | None] = lambda tokens: None
    noise: float = 0.0
    told: bool = True
    rows: list[int] = attrs.field(factory=list)
    failed: list[int] = attrs.field(factory=list)
    decisions: list[Decision] = attrs.field(factory=list)
    _random: random.Random = attrs.field(factory=lambda: random.Random(0))
    _stream: list[int] = attrs.field(factory=list)

    def batches(self, count: int, slow: float = 1.0) -> list[int]:
        """Run so many whole batches; the rows of each. `slow` stretches their times."""
        ran = []
        for _ in range(count):
            room = self.scheduler.room(InFlight())
            rows = room.rows
            if room.tokens is not None:
                rows = max(1, min(rows, room.tokens // COST))
            tokens, fitted = rows * COST, self.fits(rows * COST)
            seconds = slow * NEW * self.step(rows) * self._noise() * (1.0 if fitted else 0.5)
            ran.append(rows)
            if not fitted:
                self.failed.append(tokens)
            self._tell(
                Observation(
                    "generate",
                    rows,
                    rows * PROMPT if fitted else 0,
                    rows * NEW if fitted else 0,
                    seconds,
                    not fitted,
                    self.memory(tokens),
                    tokens if self.told else 0,
                )
            )
        self.rows += ran
        return ran

    def stream(self, observations: int, tokens: int = 8) -> list[int]:
        """Refill rows as they end, with an observation each few tokens; the rows of each."""
        ran = []
        for _ in range(observations):
            held = len(self._stream)
            room = self.scheduler.room(InFlight(held, 0, held * COST))
            new = room.rows if room.tokens is None else min(room.rows, room.tokens // COST)
            new = max(new, 1 if not held else 0)
            # Lengths differ, so that rows do not end together.
            self._stream += [self._random.randint(NEW // 2, NEW * 3 // 2) for _ in range(new)]
            rows = len(self._stream)
            seconds = tokens * self.step(rows) * self._noise()
            self._stream = [left - tokens for left in self._stream if left > tokens]
            ran.append(rows)
            self._tell(
                Observation(
                    "generate",
                    rows,
                    new * PROMPT,
                    rows * tokens,
                    seconds,
                    False,
                    self.memory(rows * COST),
                    rows * COST if self.told else 0,
                    rows - len(self._stream),
                )
            )
        self.rows += ran
        return ran

    def _noise(self) -> float:
        return max(0.2, self._random.gauss(1.0, self.noise)) if self.noise else 1.0

    def _tell(self, seen: Observation) -> None:
        self.scheduler.observe(seen)
        if isinstance(self.scheduler, Explains):
            self.decisions += self.scheduler.changes()


@attrs.frozen
class Outcome:
    """What happens in one `advance`, whatever is in it."""

    out_of_memory: bool
    seconds: float
    memory: MemoryReading | None
    ends: int


class ArbitrarySession:
    """Does what a list of outcomes says, again from the start when it is over.

    An out-of-memory gives all rows back, or fails a row that is alone. Otherwise so many of the
    oldest rows end (at least one), and the others stay in flight.
    """

    def __init__(
        self,
        outcomes: Sequence[Outcome],
        finish: Callable[[Work], LatentRecord],
        cost: Callable[[Work], int],
    ) -> None:
        self._outcomes, self._finish, self._cost = outcomes, finish, cost
        self._rows: list[Work] = []
        self._reading: MemoryReading | None = None
        self.sizes: list[int] = []

    @property
    def in_flight(self) -> InFlight:
        return InFlight(len(self._rows), 0, sum(self._cost(work) for work in self._rows))

    def cost(self, work: Work) -> int:
        return self._cost(work)

    def admit(self, work: Sequence[Work]) -> None:
        self._rows.extend(work)

    def advance(self, room: Room) -> Step:
        outcome = self._outcomes[len(self.sizes) % len(self._outcomes)]
        rows, tokens = len(self._rows), self.in_flight.tokens
        self.sizes.append(rows)
        self._reading = outcome.memory
        if outcome.out_of_memory:
            works, self._rows = self._rows, []
            seen = Observation("generate", rows, 0, 0, outcome.seconds, True, tokens=tokens)
            if rows > 1:
                return Step(given_back=tuple(works), observation=seen)
            [work] = works
            failure = Failure(work.key, work.problem.statement_hash, "out of memory", "")
            return Step(failed=(failure,), observation=seen)
        ended = min(rows, max(1, outcome.ends))
        done, self._rows = self._rows[:ended], self._rows[ended:]
        seen = Observation(
            "generate", rows, 9 * ended, 7 * rows, outcome.seconds, tokens=tokens, ended=ended
        )
        return Step(finished=tuple(self._finish(work) for work in done), observation=seen)

    def read(self) -> MemoryReading:
        return self._reading or MemoryReading()

    def close(self) -> None:
        self._rows = []
