"""The extraction loop: work in, stored records out.

The loop only admits and advances. It serves both backends that run whole batches and engines that
refill a row as soon as it ends; to the loop the store is a sink and the problems are pending work.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import attrs

from ..errors import BackendError
from ..ports.backend import Session
from ..ports.executor import Ending, Progress, WorkQueue
from ..ports.probe import MemoryProbe
from ..ports.scheduler import BatchScheduler, Decision, Explains
from ..ports.store import RecordSink
from .in_hand import InHand


def extract(
    pending: WorkQueue,
    session: Session,
    scheduler: BatchScheduler,
    sink: RecordSink,
    *,
    probe: MemoryProbe | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    decided: Callable[[Decision], None] = lambda decision: None,
    stop: Callable[[], bool] = lambda: False,
    computing: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> tuple[Ending, Progress]:
    """Do all pending work.

    Args:
        pending: (problem, sample) pairs.
        session: rows in flight in a backend; closed by the caller.
        scheduler: decides how much there is room for.
        sink: takes finished records and failures, and commits as its settings say.
        probe: reads memory after each step, for the scheduler.
        report: called after each step.
        decided: called with each change of size and its reason, before `report`, if the scheduler
            explains its decisions.
        stop: called after each step; once it returns true nothing more is admitted, and the run
            ends when what is in flight has finished.
        computing: entered around each `advance`: the only place where an interrupt may be raised.

    Returns:
        how it ended, and the counts. Whatever was finished is committed, even if an exception (an
        interrupt, say) ends the run early.

    Raises:
        BackendError: the session makes no progress, or returns other work than it was given.
    """
    progress = Progress()
    stopping = False
    in_hand = InHand()
    try:
        while session.in_flight or (pending and not stopping):
            room = scheduler.room(session.in_flight)
            if not stopping:
                taken = pending.take(room, session.cost, at_least_one=not session.in_flight)
                in_hand.given(taken)
                session.admit(taken)
            progress.in_flight = session.in_flight
            if not progress.in_flight:
                raise BackendError(
                    "no work was admitted and none is in flight: the scheduler has "
                    f"no room ({room})"
                )
            with computing():
                step = session.advance(room)
            in_hand.returned(step, bool(session.in_flight))
            pending.put_back(step.given_back)
            sink.write(step.finished, step.failed)
            progress.count(step.finished, step.failed)
            if step.observation is not None:
                observation = step.observation
                if probe is not None:
                    observation = attrs.evolve(observation, memory=probe.read())
                scheduler.observe(observation)
                progress.see(observation)
                if isinstance(scheduler, Explains):
                    for decision in scheduler.changes():
                        decided(decision)
            report(progress)
            stopping = stop() or stopping
    finally:
        sink.commit()
    return (Ending.STOPPED if pending else Ending.DONE), progress
