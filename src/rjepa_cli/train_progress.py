"""How far a training run is: loss, samples a second, time left."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Self

from rjepa_core.ports.trainer import TrainProgress

from .meter import Meter
from .screen import Screen
from .words import duration, rate

_LAST = 50


class TrainProgressReport:
    """Entered around a training run, and called after each step of its optimiser."""

    def __init__(self, screen: Screen) -> None:
        self._meter = Meter(screen)
        self._first: TrainProgress | None = None
        self._losses: deque[float] = deque(maxlen=_LAST)

    def __call__(self, progress: TrainProgress) -> None:
        self._losses.append(progress.loss)
        if self._first is None:
            # What came before, reading and compiling, says nothing of the time left.
            self._first = progress
            self._meter.restart(progress.steps)
        self._meter.show(progress.step, lambda: self.status(progress))

    def status(self, progress: TrainProgress) -> str:
        """Epoch, mean loss of the last steps, samples a second, time left."""
        assert self._first is not None
        loss = sum(self._losses) / len(self._losses)
        parts = [f"epoch {progress.epoch + 1}/{progress.epochs}", f"loss {loss:.4g}"]
        seconds = self._meter.seconds
        done = progress.step - self._first.step
        if done and seconds:
            parts.append(f"{rate((progress.samples - self._first.samples) / seconds)} samples/s")
            left = (progress.steps - progress.step) * seconds / done
            if left >= 1:
                parts.append(f"{duration(left)} left at most")
        return ", ".join(parts)

    def __enter__(self) -> Self:
        self._meter.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._meter.__exit__(kind, error, trace)
