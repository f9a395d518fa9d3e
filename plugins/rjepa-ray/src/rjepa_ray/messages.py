"""The messages of a worker to the driver: plain values, sent between processes and machines."""

from __future__ import annotations

import pickle

import attrs

from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.trace import Failure, Work
from rjepa_core.ports.backend import ModelInfo
from rjepa_core.ports.executor import Progress
from rjepa_core.ports.scheduler import Decision


@attrs.frozen
class Hello:
    """A worker has loaded its model.

    Attributes:
        info: of the model.
        rows: number of rows that its scheduler begins with.
        place: `HOST, process 123`, for messages.
    """

    info: ModelInfo
    rows: int
    place: str


@attrs.frozen
class Parcel:
    """The results of a worker since it was last asked.

    Attributes:
        records, failures: finished work; each is in one parcel only.
        given_back: work that it will not do, because it was told to stop.
        decisions: changes of size.
        progress: its counts since the run began.
        rows: number of rows that it has room for, including those it holds.
        idle: whether it waits for work; then all its work has come back, or its session lost it.
        ended: whether its loop has ended.
    """

    records: tuple[LatentRecord, ...] = ()
    failures: tuple[Failure, ...] = ()
    given_back: tuple[Work, ...] = ()
    decisions: tuple[Decision, ...] = ()
    progress: Progress = attrs.field(factory=Progress)
    rows: int = 1
    idle: bool = False
    ended: bool = False


@attrs.frozen
class Broken:
    """A worker's engine raised an error and cannot be used any more."""

    error: Exception


@attrs.frozen
class Lost:
    """A worker has died: it was killed, ran out of memory, or its machine is off."""

    why: str


Answer = Hello | Parcel | Broken | Lost


def broken(error: BaseException) -> Broken:
    """Return the message of an error, which holds the error itself if it can be pickled."""
    if isinstance(error, Exception):
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            pass
        else:
            return Broken(error)
    return Broken(RuntimeError(f"{type(error).__name__}: {error}"))
