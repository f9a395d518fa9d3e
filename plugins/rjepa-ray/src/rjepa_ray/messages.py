"""What a worker says to the driver. Plain values: they travel between processes and machines."""

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
        rows: that its scheduler begins with.
        place: `HOST, process 123`, for messages.
    """

    info: ModelInfo
    rows: int
    place: str


@attrs.frozen
class Parcel:
    """What a worker has done since it was last asked.

    Attributes:
        records, failures: finished; each is in one parcel alone.
        given_back: work that it will not do, because it was told to stop.
        decisions: changes of size.
        progress: its counts since the run began.
        rows: that it has room for, what it holds included.
        idle: it waits for work; whatever it was given has come back, or its session lost it.
        ended: its loop is over.
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
    """A worker's engine raised; it is of no more use."""

    error: Exception


@attrs.frozen
class Lost:
    """A worker is gone: killed, out of memory, its machine off."""

    why: str


Answer = Hello | Parcel | Broken | Lost


def broken(error: BaseException) -> Broken:
    """Return the error itself where it can travel, else its text."""
    if isinstance(error, Exception):
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            pass
        else:
            return Broken(error)
    return Broken(RuntimeError(f"{type(error).__name__}: {error}"))
