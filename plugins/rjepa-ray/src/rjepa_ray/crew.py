"""The workers as the driver sees them: one request at a time each, and any may be lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import attrs

from rjepa_core.domain.trace import RecordKey, Work
from rjepa_core.errors import BackendError, RJepaError
from rjepa_core.ports.backend import ModelInfo
from rjepa_core.ports.executor import Progress
from rjepa_core.settings import ExtractionSettings

from .messages import Answer, Broken, Hello, Lost

# What must agree for vectors of two workers to be the same; names, devices and notes may differ.
_SAME = (
    "content",
    "quantisation",
    "compute_dtype",
    "hidden_size",
    "hidden_states",
    "chat_format",
    "tokenizer",
    "reads_clock",
    "end_ids",
    "sampler",
)
# Losses without a record between them after which the run is given up.
_MOST_LOST, _MOST_LOST_A_WORKER = 10, 4


class Pool(Protocol):
    """Worker processes. Each gets one request at a time; numbers are never reused."""

    def start(self, number: int, settings: ExtractionSettings) -> None:
        """Start a worker and request it to load its model; its answer is a `Hello`."""
        ...

    def begin(self, number: int, layers: tuple[int, ...]) -> None:
        """Tell a worker to begin a run; there is no answer."""
        ...

    def exchange(self, number: int, work: Sequence[Work], stop: bool) -> None:
        """Hand work to a worker; its answer is a `Parcel`."""
        ...

    def end(self, number: int) -> None:
        """Tell a worker to end the run; there is no answer."""
        ...

    def wait(self, timeout: float) -> tuple[int, Answer] | None:
        """Return the next answer; None after `timeout` seconds without one."""
        ...

    def discard(self, number: int) -> None:
        """Kill a worker; it will not answer any more."""
        ...


@attrs.define
class Member:
    """A worker.

    Attributes:
        number: of the worker.
        started: when it was requested.
        hello: its answer once its model was loaded.
        held: work handed to it that has not come back.
        asked: whether it has yet to answer a request.
        begun, ended: whether it takes part in the present run; whether its loop has ended.
        rows: number of rows that it has room for, including `held`.
        progress: its counts of the present run.
    """

    number: int
    started: float
    hello: Hello | None = None
    held: dict[RecordKey, Work] = attrs.field(factory=dict)
    asked: bool = True
    begun: bool = False
    ended: bool = False
    rows: int = 1
    progress: Progress = attrs.field(factory=Progress)

    @property
    def name(self) -> str:
        place = f" ({self.hello.place})" if self.hello else ""
        return f"worker {self.number}{place}"


class Crew:
    """The workers of a run: lost ones are replaced, and all must have loaded the same model.

    Args:
        pool: starts and kills workers.
        settings: of the run, sent to each worker.
        wanted: number of workers.
        patience: seconds to wait for a worker while there is none.
    """

    def __init__(
        self, pool: Pool, settings: ExtractionSettings, wanted: int, patience: float
    ) -> None:
        self.pool = pool
        self.members: dict[int, Member] = {}
        self.wanted = wanted
        self._settings = settings
        self._patience = patience
        self._alone_since = time.monotonic()
        self._info: ModelInfo | None = None
        self._rows = 1
        self._lost_in_a_row = 0
        self._numbers = 0
        self._last_loss = ""
        for _ in range(wanted):
            self._start()

    @property
    def info(self) -> ModelInfo:
        """The model's info; waits for the first worker."""
        self._await_first()
        assert self._info is not None
        return self._info

    @property
    def rows(self) -> int:
        """The rows that all workers together begin with; waits for the first worker."""
        self._await_first()
        return self._rows * self.wanted

    @property
    def ready(self) -> list[Member]:
        """The workers that have loaded their model."""
        return [member for member in self.members.values() if member.hello is not None]

    def begin(self) -> None:
        """Prepare a new run, in which no worker takes part yet."""
        for member in self.ready:
            member.begun = member.ended = False
            member.rows = self._rows

    def wait(self, timeout: float) -> tuple[Member, Answer] | None:
        """Return a worker and its answer, after handling a `Hello` or a loss."""
        self._check_patience()
        came = self.pool.wait(timeout)
        if came is None:
            return None
        member, answer = self.members[came[0]], came[1]
        member.asked = False
        if isinstance(answer, Broken):
            if isinstance(answer.error, RJepaError):
                # It would occur in every worker.
                raise answer.error
            answer = Lost(f"{type(answer.error).__name__}: {answer.error}".splitlines()[0])
        if isinstance(answer, Hello):
            self._welcome(member, answer)
        elif isinstance(answer, Lost):
            self._lose(member, answer.why)
        elif answer.records:
            self._lost_in_a_row = 0
        return member, answer

    def close(self) -> None:
        """Kill all workers."""
        for number in list(self.members):
            self._discard(number)

    def _await_first(self) -> None:
        while self._info is None:
            self.wait(1.0)

    def _start(self) -> None:
        self._numbers += 1
        self.members[self._numbers] = Member(self._numbers, time.monotonic())
        self.pool.start(self._numbers, self._settings)

    def _discard(self, number: int) -> None:
        del self.members[number]
        self.pool.discard(number)

    def _welcome(self, member: Member, hello: Hello) -> None:
        if self._info is None:
            self._info, self._rows = hello.info, hello.rows
        for name in _SAME:
            ours, theirs = getattr(self._info, name), getattr(hello.info, name)
            if ours != theirs:
                raise BackendError(
                    f"{hello.place} loaded another model than the other workers: {name} is "
                    f"{theirs} there and {ours} elsewhere; give every node the same files and "
                    "packages, and name --dtype and --device"
                )
        member.hello, member.rows = hello, hello.rows

    def _lose(self, member: Member, why: str) -> None:
        self._lost_in_a_row += 1
        self._last_loss = f"{member.name}: {why}"
        self._discard(member.number)
        if self._lost_in_a_row >= max(_MOST_LOST, _MOST_LOST_A_WORKER * self.wanted):
            raise BackendError(
                f"{self._lost_in_a_row} workers were lost without a record in between; the last, "
                f"{self._last_loss}"
            )
        if not self.ready:
            self._alone_since = time.monotonic()
        self._start()

    def _check_patience(self) -> None:
        if self.ready:
            self._alone_since = time.monotonic()
        elif time.monotonic() - self._alone_since > self._patience:
            last = f"; the last one lost: {self._last_loss}" if self._last_loss else ""
            raise BackendError(
                f"no worker has started for {self._patience / 60:g} minutes: the cluster has no "
                f"room for one, or its nodes cannot load the model{last}"
            )
