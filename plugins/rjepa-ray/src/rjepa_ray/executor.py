"""The Ray executor, whose workers are Ray actors."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import attrs
import ray
from ray.exceptions import ActorDiedError, RayError

from rjepa_core.domain.trace import Work
from rjepa_core.ports.backend import ModelInfo
from rjepa_core.ports.executor import Ending, Progress, Watch, WorkQueue
from rjepa_core.ports.store import RecordSink
from rjepa_core.settings import ExtractionSettings

from .cluster import RayCluster, join, leave
from .crew import Crew
from .dispatch import Dispatch
from .messages import Answer, Lost
from .settings import RaySettings
from .worker import Worker

# Seconds after which a worker without results reports its counts.
_HEARTBEAT = 2.0
# Seconds within which a finished result must arrive over the network.
_FETCH = 120.0


class ActorPool:
    """Workers as actors; see `Pool`. If a call fails in Ray for any reason, the worker is lost."""

    def __init__(self, place: RayCluster) -> None:
        # The crew replaces a worker that dies, because it knows what the worker held.
        self._actor = ray.remote(Worker).options(
            num_cpus=place.cpus, num_gpus=place.gpus, max_restarts=0, max_task_retries=0
        )
        self._actors: dict[int, Any] = {}
        self._asked: dict[Any, int] = {}

    def start(self, number: int, settings: ExtractionSettings) -> None:
        self._actors[number] = actor = self._actor.remote()
        self._asked[actor.open.remote(settings)] = number

    def begin(self, number: int, layers: tuple[int, ...]) -> None:
        self._actors[number].begin.remote(layers)

    def exchange(self, number: int, work: Sequence[Work], stop: bool) -> None:
        answer = self._actors[number].exchange.remote(work, stop, _HEARTBEAT)
        self._asked[answer] = number

    def end(self, number: int) -> None:
        self._actors[number].end.remote()

    def wait(self, timeout: float) -> tuple[int, Answer] | None:
        if not self._asked:
            time.sleep(timeout)
            return None
        ready, _ = ray.wait(list(self._asked), num_returns=1, timeout=timeout)
        if not ready:
            return None
        number = self._asked.pop(ready[0])
        try:
            answer: Answer = ray.get(ready[0], timeout=_FETCH)
        except RayError as error:
            answer = Lost(_why(error))
        return number, answer

    def discard(self, number: int) -> None:
        self._asked = {ref: n for ref, n in self._asked.items() if n != number}
        ray.kill(self._actors.pop(number), no_restart=True)


class RayExecutor:
    """See `rjepa_core.ports.executor.Executor`."""

    def __init__(self, run: ExtractionSettings, own: RaySettings) -> None:
        self._crew: Crew | None = None
        self._place: RayCluster | None = join(run, own)
        try:
            pool = ActorPool(self._place)
            self._crew = Crew(pool, _portable(run), own.workers, own.start_minutes * 60)
            info = self._crew.info
        except BaseException:
            self.close()
            raise
        self._info = attrs.evolve(info, notes={**info.notes, "workers": self._place.text})

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def rows(self) -> int:
        assert self._crew is not None
        return self._crew.rows

    def run(
        self,
        layers: tuple[int, ...],
        pending: WorkQueue,
        missing: int,
        sink: RecordSink,
        watch: Watch,
    ) -> tuple[Ending, Progress]:
        """See the port."""
        assert self._crew is not None
        return Dispatch(self._crew, layers, pending, missing, sink, watch).run()

    def close(self) -> None:
        crew, place = self._crew, self._place
        self._crew = self._place = None
        try:
            if crew is not None:
                crew.close()
        finally:
            if place is not None and place.ours:
                leave(place.started)


def _portable(run: ExtractionSettings) -> ExtractionSettings:
    """Return settings with an absolute model path: workers run in another folder."""
    if os.path.exists(run.model.name):
        return attrs.evolve(
            run, model=attrs.evolve(run.model, name=os.path.abspath(run.model.name))
        )
    return run


def _why(error: RayError) -> str:
    """Return the reason of Ray's error in one line; its own messages have many."""
    text = " ".join(str(error).split())
    if isinstance(error, ActorDiedError):
        _, found, cause = text.partition("The actor is dead because ")
        text = f"it died: {cause.partition('. The')[0]}" if found else text
    return text[:200] or type(error).__name__
