"""The adaptive scheduler: the batch size follows errors, memory and speed throughout the run."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Any

import attrs
from attrs import validators as v

from rjepa_core.plugins import SchedulerAdapter, hookimpl
from rjepa_core.ports.backend import InFlight, Observation, Room
from rjepa_core.ports.scheduler import Decision
from rjepa_core.text import count

from .hill_climb import Climb
from .ladder import Ladder
from .memory_limits import Ceiling, MemoryWatch, parse_bytes
from .speed_model import Measuring

# Default rows to start with.
_START = 16
# A trial without a full batch among so many is given up: the problems are running out.
_TRIAL_STARVES = 8
# Number of batches from which the load of a row is estimated.
_REMEMBERED = 32


def _check_amount(_: object, attribute: attrs.Attribute[Any], value: int | str | None) -> None:
    if value is None:
        return
    try:
        amount = parse_bytes(value)
    except ValueError as error:
        raise ValueError(f"{attribute.name} {error}") from None
    if amount < 1:
        raise ValueError(f"{attribute.name} must be at least one byte")


def _usual_start(settings: AdaptiveSettings) -> int:
    return max(settings.min_batch_size, min(_START, settings.max_batch_size))


@attrs.frozen(kw_only=True)
class AdaptiveSettings:
    """Settings of the adaptive scheduler.

    Attributes:
        batch_size: rows to start with; by default 16, or the nearest bound.
        min_batch_size: fewest rows, except for the retry of a batch that ran out of memory.
        max_batch_size: most rows.
        encode_tokens: most tokens of one encoding batch, including padding, also of given
            solutions.
        memory_limit: most memory that this run may hold, in bytes or as `8GiB` or `8gb`, units
            being powers of 1,024; none leaves only the limit of the device or the machine.
        high_water: share of the limit to stay below.
        margin: how much faster a larger size must be to be worth it.
        patience: number of successful batches before a larger size is tried again.
    """

    min_batch_size: int = attrs.field(default=1, validator=v.ge(1))
    max_batch_size: int = attrs.field(default=64, validator=v.ge(1))
    batch_size: int = attrs.field(
        default=attrs.Factory(_usual_start, takes_self=True), validator=v.ge(1)
    )
    encode_tokens: int = attrs.field(default=4096, validator=v.ge(1))
    memory_limit: int | str | None = attrs.field(default=None, validator=_check_amount)
    high_water: float = attrs.field(default=0.9, validator=v.and_(v.gt(0.0), v.le(1.0)))
    margin: float = attrs.field(default=0.05, validator=v.and_(v.ge(0.0), v.le(1.0)))
    patience: int = attrs.field(default=8, validator=v.ge(1))

    def __attrs_post_init__(self) -> None:
        low, high = self.min_batch_size, self.max_batch_size
        if low > high:
            raise ValueError(f"min_batch_size must be at most max_batch_size, {high}, got {low}")
        if not low <= self.batch_size <= high:
            raise ValueError(
                f"batch_size must be between min_batch_size and max_batch_size, {low} and {high}, "
                f"got {self.batch_size}"
            )


class AdaptiveScheduler:
    """A scheduler that finds the fastest number of rows within the limits of memory.

    `Climb` compares neighbouring sizes to find how many rows are fastest; `Ceiling` (learned from
    batches that did not fit, in tokens) and `MemoryWatch` (learned from the probe) limit them.
    `changes` returns its decisions.
    """

    def __init__(self, settings: AdaptiveSettings) -> None:
        limit = settings.memory_limit
        low, high = settings.min_batch_size, settings.max_batch_size
        self._settings = settings
        self._ladder = ladder = Ladder(low, high, settings.batch_size)
        self._memory = MemoryWatch(
            ladder,
            settings.high_water,
            None if limit is None else parse_bytes(limit),
            settings.patience,
        )
        self._climb = Climb(ladder, settings.batch_size, settings.patience, settings.margin)
        self._measuring = Measuring()
        # Long problems come once per window: a limit must see one before it rises.
        self._ceiling = Ceiling(2 * settings.patience)
        self._encoding = Ceiling(2 * settings.patience)
        self._retry: int | None = None
        self._in_tokens = False
        self._row_loads: deque[float] = deque(maxlen=_REMEMBERED)
        self._starved = 0.0
        self._changes: list[Decision] = []

    def room(self, in_flight: InFlight) -> Room:
        rows, limit = self._rows(), self._ceiling.limit
        tokens = None
        if self._in_tokens and math.isfinite(limit):
            tokens = max(0, int(limit) - in_flight.tokens)
        encode = self._encode_tokens()
        return Room(
            rows=max(0, rows - in_flight.rows),
            tokens=tokens,
            given_tokens=max(0, encode - in_flight.given_tokens),
            encode_tokens=encode,
        )

    def observe(self, observation: Observation) -> None:
        if observation.phase == "encode":
            self._encoded(observation)
        elif observation.out_of_memory:
            self._ran_out(observation)
        else:
            self._generated(observation)

    def changes(self) -> tuple[Decision, ...]:
        """Return the decisions since the last call, oldest first."""
        made, self._changes = tuple(self._changes), []
        return made

    def _rows(self) -> int:
        """Return the number of rows to ask for."""
        rows = self._climb.size
        if not self._in_tokens and math.isfinite(self._ceiling.limit):
            rows = min(rows, max(self._settings.min_batch_size, int(self._ceiling.limit)))
        return max(1, rows if self._retry is None else min(rows, self._retry))

    def _expected(self) -> int:
        """Return about how many rows there will be, given the limit on their tokens."""
        most = self._ceiling.limit / self._row_load() if self._in_tokens else math.inf
        return max(1, int(min(self._rows(), most)))

    def _row_load(self) -> float:
        """Return the 90th percentile of the load per row of recent batches."""
        loads = sorted(self._row_loads) or [1.0]
        return max(1.0, loads[-1 - len(loads) // 10])

    def _most_by_ceiling(self) -> int:
        """Return the size nearest to what fits; batches may lack its last rows."""
        limit = self._ceiling.limit / (self._row_load() if self._in_tokens else 1.0)
        return self._ladder.nearest(min(limit, self._settings.max_batch_size))

    def _encode_tokens(self) -> int:
        return max(1, int(min(self._settings.encode_tokens, self._encoding.limit)))

    def _load(self, seen: Observation) -> float:
        """Return the load on memory: tokens if the session reports them, else rows."""
        self._in_tokens = self._in_tokens or seen.tokens > 0
        return float(seen.tokens or seen.rows)

    def _ran_out(self, seen: Observation) -> None:
        before, load = self._expected(), self._load(seen)
        self._read_memory(seen, load)
        cap = self._memory.cap
        explained = cap is not None and cap < seen.rows and seen.memory is not None
        if seen.rows > 1:
            self._retry = max(1, min(seen.rows, before) // 2)
        if not explained and (seen.rows > 1 or self._in_tokens):
            self._ceiling.failed(load)
        if not explained and seen.rows > 1:
            self._row_loads.append(load / seen.rows)
            self._climb.ran_out(self._most_by_ceiling())
        self._measuring = Measuring()
        unit = "tokens" if self._in_tokens else "rows"
        detail = f"{count(seen.rows, 'row')} of {load:.0f} {unit} did not fit"
        if explained:
            detail += f"; {self._memory.detail}"
        elif math.isfinite(self._ceiling.limit):
            detail += f"; from now on at most {self._ceiling.limit:.0f} {unit}"
        self._decide(before, "out of memory", detail)

    def _generated(self, seen: Observation) -> None:
        asked, load = self._climb.size, self._load(seen)
        if seen.rows:
            self._row_loads.append(load / seen.rows)
        before = self._expected()
        retried, self._retry = self._retry is not None, None
        self._decide(before, "room again", "the retry fitted")
        before = self._expected()
        bound = load + load / max(1, seen.rows) > self._ceiling.limit
        self._read_memory(seen, load)
        self._decide(before, *self._memory_reason(before))
        before = self._expected()
        if self._ceiling.fits(load, _batches(seen)):
            self._climb.has_room_again()
            detail = f"tokens rise to {self._ceiling.limit:.0f} after batches that fitted"
            self._decide(before, "room again", detail)
        if retried or self._climb.size != asked:
            return
        filled = 0.75 * asked <= seen.rows <= 1.25 * asked or (bound and seen.rows <= asked)
        self._measure(seen, asked, filled)

    def _measure(self, seen: Observation, asked: int, filled: bool) -> None:
        before = self._expected()
        speed = self._measuring.add(seen, asked, filled)
        if not filled and not self._climb.steady:
            self._starved += _batches(seen)
            if self._starved >= _TRIAL_STARVES:
                self._climb.give_up_trial()
                self._decide(before, "back", "no full batch came to try it with")
        if speed is None:
            return
        self._starved = 0.0
        cap, most = self._memory.cap, self._most_by_ceiling()
        move = self._climb.measured(speed, most if cap is None else min(cap, most))
        if move:
            self._decide(before, move.reason, move.detail)

    def _encoded(self, seen: Observation) -> None:
        before, rows = self._encode_tokens(), self._expected()
        load = float(min(before, seen.prompt_tokens))
        pressure = None if seen.memory is None else self._memory.over(seen.memory)
        # A single trace cannot be split, so its memory is no reason to make batches smaller.
        if seen.out_of_memory or (pressure and seen.rows > 1):
            self._encoding.failed(load)
        elif not pressure:
            self._encoding.fits(load)
        after = self._encode_tokens()
        if after != before:
            less = "out of memory" if seen.out_of_memory else "memory pressure"
            reason = less if after < before else "room again"
            detail = f"{before:,} -> {count(after, 'token')} of an encoding batch"
            if reason == "memory pressure":
                detail += f"; {pressure}"
            self._changes.append(Decision(rows, rows, reason, detail))

    def _read_memory(self, seen: Observation, load: float) -> None:
        ended = seen.rows if seen.ended is None else seen.ended
        self._memory.read(seen.memory, seen.rows, load, ended, seen.out_of_memory)
        self._climb.hold_below(self._memory.cap)

    def _memory_reason(self, before: int) -> tuple[str, str]:
        less = self._expected() < before
        detail = self._memory.detail or "no sign of pressure lately"
        return ("memory pressure" if less else "memory free"), detail

    def _decide(self, before: int, reason: str, detail: str) -> None:
        after = self._expected()
        if after != before:
            self._changes.append(Decision(before, after, reason, detail))


def _batches(seen: Observation) -> float:
    """Return what share of a whole batch an observation covers."""
    return 1.0 if seen.ended is None else min(1.0, seen.ended / max(1, seen.rows))


@hookimpl
def rjepa_schedulers() -> Iterable[SchedulerAdapter]:
    return [
        SchedulerAdapter(
            name="adaptive",
            summary="finds the fastest number of rows that fits, all through the run",
            settings=AdaptiveSettings,
            create=AdaptiveScheduler,
        )
    ]
