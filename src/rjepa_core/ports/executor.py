"""The executor port: where the extraction loop runs, and how many of it side by side.

What an executor promises is tested by `rjepa_core.testing.executor_suite`. Each of its workers is
an `Engine` (`rjepa_core.extraction.Engine`): a loaded LLM with a session and a scheduler of its
own.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import attrs

from ..domain.trace import Work
from .backend import InFlight, ModelInfo, Observation, Room
from .scheduler import Decision
from .store import RecordSink


class WorkQueue(Protocol):
    """Pending work as the loop sees it; true means that more may come."""

    def __bool__(self) -> bool: ...

    def take(
        self, room: Room, cost: Callable[[Work], int], at_least_one: bool = False
    ) -> list[Work]: ...

    def put_back(self, work: Sequence[Work]) -> None: ...


class Ending(enum.Enum):
    """How a run ended."""

    DONE = "done"
    STOPPED = "stopped"


@attrs.define
class Progress:
    """Counts of a run so far.

    Attributes:
        records, failures: stored so far.
        steps, tokens: reasoning steps of these records, and tokens of their completions.
        prompt_tokens, new_tokens: read and generated.
        in_flight: what the session holds.
        out_of_memory: batches that did not fit.
        reasons: failures a reason.
        last: the latest observation.
    """

    records: int = 0
    failures: int = 0
    steps: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    new_tokens: int = 0
    in_flight: InFlight = attrs.field(factory=InFlight)
    out_of_memory: int = 0
    reasons: dict[str, int] = attrs.field(factory=dict)
    last: Observation | None = None

    def see(self, observation: Observation) -> None:
        self.last = observation
        self.out_of_memory += observation.out_of_memory
        if observation.phase == "generate":
            self.prompt_tokens += observation.prompt_tokens
            self.new_tokens += observation.new_tokens


@attrs.frozen(kw_only=True)
class Watch:
    """Who looks on while an extraction runs; called in the thread that called `run`, no other.

    Attributes:
        report: called with the counts of all workers together, at least after each step that
            brought something.
        decided: called with each change of size and its reason, before `report`.
        stop: asked after each step; once it is true nothing more is admitted, and the run ends
            when what is in flight has been finished.
        computing: entered wherever the executor waits for a result: the one place where an
            interrupt may strike.
    """

    report: Callable[[Progress], None] = lambda progress: None
    decided: Callable[[Decision], None] = lambda decision: None
    stop: Callable[[], bool] = lambda: False
    computing: Callable[[], AbstractContextManager[None]] = nullcontext


class Executor(Protocol):
    """Does pending work with one worker or many. Made with the LLM loaded; not safe for threads."""

    @property
    def info(self) -> ModelInfo:
        """What the backend of every worker says of its model."""
        ...

    @property
    def rows(self) -> int:
        """Rows that all workers begin with together: what a trial needs to tell the whole."""
        ...

    def run(
        self,
        layers: tuple[int, ...],
        pending: WorkQueue,
        missing: int,
        sink: RecordSink,
        watch: Watch,
    ) -> tuple[Ending, Progress]:
        """Do all pending work; may be called again once it has returned.

        The sink has one writer, the caller's thread. Work is taken from `pending` only as fast as
        the sink takes what comes of it. Each taken work reaches the sink exactly once, as a record
        or a failure, or is put back into `pending`; a worker that is lost changes nothing of that.

        Args:
            layers: absolute indices.
            pending: (problem, sample) pairs.
            missing: how many these are.
            sink: takes finished records and failures, and commits as it was set.
            watch: told what goes on.

        Returns:
            how it ended (stopped where `pending` still holds something), and the counts. Whatever
            has reached this process is committed, also when an exception ends the run early.

        Raises:
            BackendError: a worker's session makes no progress, or workers are lost again and again.
        """
        ...

    def close(self) -> None:
        """Let go of the workers and their models; closing again does nothing."""
        ...
