"""The executor port: where extraction loops run, and how many in parallel.

What an executor promises is tested by `rjepa_core.testing.executor_suite`. Each of its workers is
an `Engine` (`rjepa_core.extraction.Engine`): a loaded LLM with its own session and scheduler.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import attrs

from ..domain.latents import LatentRecord
from ..domain.trace import Failure, Work
from ..text import brief
from .backend import InFlight, ModelInfo, Observation, Room
from .scheduler import Decision
from .store import RecordSink


class WorkQueue(Protocol):
    """Pending work as the loop sees it; true while there may be more."""

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
        cut_off: how many of these records ended at their limit of new tokens.
        prompt_tokens, new_tokens: read and generated.
        in_flight: what the session holds.
        out_of_memory: batches that did not fit.
        reasons: number of failures by reason.
        last: the latest observation.
    """

    __repr__ = brief

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
    cut_off: int = 0

    def count(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        """Add what was stored."""
        for record in records:
            self.records += 1
            self.steps += len(record.trace.spans)
            self.tokens += len(record.trace.completion_ids)
            self.cut_off += record.trace.finish_reason == "length"
        for failure in failures:
            self.failures += 1
            self.reasons[failure.reason] = self.reasons.get(failure.reason, 0) + 1

    def see(self, observation: Observation) -> None:
        """Add what an observation counts."""
        self.last = observation
        self.out_of_memory += observation.out_of_memory
        if observation.phase == "generate":
            self.prompt_tokens += observation.prompt_tokens
            self.new_tokens += observation.new_tokens


@attrs.frozen(kw_only=True)
class Watch:
    """Callbacks during an extraction, called only in the thread that called `run`.

    Attributes:
        report: called with the counts of all workers together, at least after each step that
            finished or failed something.
        decided: called with each change of size and its reason, before `report`.
        stop: called after each step; once it returns true nothing more is admitted, and the run
            ends when what is in flight has finished.
        computing: entered wherever the executor waits for a result: the only place where an
            interrupt may be raised.
    """

    __repr__ = brief

    report: Callable[[Progress], None] = lambda progress: None
    decided: Callable[[Decision], None] = lambda decision: None
    stop: Callable[[], bool] = lambda: False
    computing: Callable[[], AbstractContextManager[None]] = nullcontext


class Executor(Protocol):
    """Does pending work with one worker or many. Created with the LLM loaded; not thread-safe."""

    @property
    def info(self) -> ModelInfo:
        """What the backend of every worker reports about its model."""
        ...

    @property
    def rows(self) -> int:
        """Rows that all workers together start with, so that a trial is representative."""
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
        the sink accepts the results. Each work item taken reaches the sink exactly once, as a
        record or a failure, or is put back into `pending`, even if a worker is lost.

        Args:
            layers: absolute indices.
            pending: (problem, sample) pairs.
            missing: how many there are.
            sink: takes finished records and failures, and commits as its settings say.
            watch: callbacks for the caller to follow the run.

        Returns:
            how it ended (stopped if `pending` is not empty), and the counts. Whatever has reached
            this process is committed, even if an exception ends the run early.

        Raises:
            BackendError: a worker's session makes no progress, or workers are lost repeatedly.
        """
        ...

    def close(self) -> None:
        """Release the workers and their models; closing again does nothing."""
        ...
