"""Where a training run is, and what it writes into its folder as it goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from attrs import validators as v
from torch import Tensor

from rjepa_core.ports.trainer import TrainWatch

from . import checkpoint
from .logs import MetricsLog


def _check_curve(_: object, attribute: object, rows: list[dict[str, Any]]) -> None:
    if any(row.get(name) is None for row in rows for name in ("epoch", "step")):
        raise ValueError("curve: a row tells no epoch or step")


def _count() -> Any:
    return attrs.field(default=0, validator=v.ge(0), on_setattr=attrs.setters.NO_OP)


@attrs.define
class Standing:
    """Where a run is; kept in each checkpoint.

    Attributes:
        epoch, batch: the next one to do, from 0.
        step: steps of the optimiser that were done.
        samples: traces that were seen.
        loss_sum, loss_count: over the epoch so far.
        best, best_epoch: best validation value and its epoch, from 1; None and 0 before the first.
        curve: a row an epoch.
    """

    epoch: int = _count()
    batch: int = _count()
    step: int = _count()
    samples: int = _count()
    loss_sum: float = 0.0
    loss_count: int = _count()
    best: float | None = None
    best_epoch: int = _count()
    curve: list[dict[str, int | float | None]] = attrs.field(factory=list, validator=_check_curve)

    def after_step(self, traces: int, loss: float) -> None:
        """Count a step of the optimiser."""
        self.batch += 1
        self.step += 1
        self.samples += traces
        self.loss_sum += loss
        self.loss_count += 1


@attrs.frozen(eq=False)
class Kept:
    """What a checkpoint is made of: the model's tensors, the training's, and the state."""

    model: dict[str, Tensor]
    training: dict[str, Tensor]
    state: dict[str, Any]


class Silent:
    """Of a process that writes nothing: another one does."""

    def step(self, step: int, loss: float, lr: float) -> None:
        """One step of the optimiser."""

    def save(self, step: int, kept: Callable[[], Kept]) -> None:
        """A checkpoint."""

    def epoch(self, step: int, row: dict[str, Any], better: bool, kept: Callable[[], Kept]) -> None:
        """The end of an epoch, with a checkpoint."""

    def close(self) -> None:
        """Let go of the files."""


class Writer(Silent):
    """Logs and checkpoints of a run's folder.

    Args:
        run: the folder.
        after: step of the checkpoint that the run goes on from.
        keep_last: checkpoints to keep beside the best.
        watch: told of each epoch.
    """

    def __init__(self, run: Path, after: int, keep_last: int, watch: TrainWatch) -> None:
        self._run, self._keep_last, self._watch = run, keep_last, watch
        self._log = MetricsLog(run, after, watch.say)

    def step(self, step: int, loss: float, lr: float) -> None:
        """As `Silent`."""
        self._log.step(step, loss, lr)

    def save(self, step: int, kept: Callable[[], Kept]) -> None:
        """As `Silent`."""
        self._write(step, kept())

    def epoch(self, step: int, row: dict[str, Any], better: bool, kept: Callable[[], Kept]) -> None:
        """As `Silent`."""
        place = self._write(step, kept())
        if better:
            checkpoint.name_best(self._run, place, row)
        checkpoint.tidy(self._run, self._keep_last)
        self._log.epoch(row)
        self._watch.kept(row)

    def close(self) -> None:
        """As `Silent`."""
        self._log.close()

    def _write(self, step: int, kept: Kept) -> Path:
        self._log.flush()
        return checkpoint.write(self._run, step, kept.model, kept.training, kept.state)
