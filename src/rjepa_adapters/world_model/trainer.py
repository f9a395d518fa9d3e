"""The training loop: one epoch after the other, killable at any moment, resumable to the digit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rjepa_core.errors import UsageError
from rjepa_core.ports.world_model import TrainProgress, TrainSummary, TrainWatch
from rjepa_core.settings import TrainSettings

from . import checkpoint
from .batches import LengthBatches
from .checkpoint import DamagedCheckpointError, Shapes
from .dataset import Batch, LatentDataset
from .distributed import ALONE, Processes
from .logs import Kept, Silent, Standing, Writer
from .network import Network
from .optimiser import (
    check_optimiser,
    computes_in_bfloat16,
    learning_rate,
    optimiser_of,
    optimiser_tensors,
    restore_optimiser,
    set_learning_rate,
)
from .run_state import RandomStates, read_state
from .selection import harm, is_better, measure_of, reason
from .tasks import PredictionTask, Task, VerificationTask
from .validation import Validation
from .workers import Loader, deferred

# Looks for a collapse an epoch, at the targets of the batch that is at hand.
_LOOKS = 4


class Trainer:
    """Trains a network into a run's folder.

    Args:
        run: its folder.
        settings: of the run.
        network: to be trained; on its device.
        data: the training part.
        validation: the validation part.
        facts: what each checkpoint says of the run besides (latent space, domains).
        watch: of the caller.
        processes: that train together; the first one writes.
        quantiles: of the surprise of a verifier's world model.
    """

    def __init__(
        self,
        run: Path,
        settings: TrainSettings,
        network: Network,
        data: LatentDataset,
        validation: LatentDataset,
        facts: dict[str, Any],
        watch: TrainWatch,
        processes: Processes = ALONE,
        quantiles: dict[int, list[float]] | None = None,
    ) -> None:
        self.run, self.settings, self.network, self.watch = run, settings, network, watch
        self.facts, self.processes, self.validation = facts, processes, validation
        self.device = network.step_mean.device
        training = settings.training
        self.sampler = LengthBatches(
            data.index.steps,
            training.batch_size,
            training.seed,
            training.accumulate,
            rank=processes.rank,
            world=processes.world,
            long=facts["limits"].get("long"),
        )
        pin = self.device.type == "cuda"
        self.batches = Loader(data, self.sampler, training.num_workers, pin, warn=self._lost)
        # On the CPU whatever the device: masks and projections are the same everywhere.
        self.generator = torch.Generator().manual_seed(training.seed)
        self.random = RandomStates(self.generator, self.device)
        self.optimiser = optimiser_of(network, settings)
        self.standing = Standing()
        self.quantiles: dict[int, list[float]] = quantiles or {}
        self.last_look: Validation | None = None
        self.task = self._task(validation, computes_in_bfloat16(training.precision, self.device))

    def _task(self, validation: LatentDataset, bfloat16: bool) -> Task:
        network, settings, engine = self.network, self.settings, self._engine()
        if settings.model.verifies:
            return VerificationTask(network, engine, settings, validation, self.quantiles, bfloat16)
        several = self.processes.world > 1
        return PredictionTask(
            network, engine, settings, validation, self.generator, several, bfloat16
        )

    def _engine(self) -> Callable[..., Any]:
        """The forward pass of what is trained, its gradients shared where several processes are."""
        engine: nn.Module = self.network.verifier or self.network
        if self.processes.world > 1:
            self.network.objective.processes = self.processes
            # Which parameters take part differs with the mask, alike on all processes.
            engine = DistributedDataParallel(
                self.network, find_unused_parameters=True, broadcast_buffers=False
            )
        return torch.compile(engine) if self.settings.training.compile else engine

    def _lost(self, line: str) -> None:
        """A worker was killed: whatever ends the run may end its workers, too."""
        if not self.watch.stop():
            self.watch.warn(line)

    @property
    def steps(self) -> int:
        """Steps of the optimiser in a run that does not end early."""
        return self.sampler.batches * self.settings.training.max_epochs

    def _has_waited(self) -> bool:
        """Whether as many epochs as there is patience for brought nothing better, and the one that
        was begun is done."""
        standing, patience = self.standing, self.settings.training.patience
        begun = standing.step - standing.epoch * self.sampler.batches
        return begun == 0 and 0 < patience <= standing.epoch - standing.best_epoch

    def fit(self) -> TrainSummary:
        """Train to the end; checkpoints on the way. An interrupt writes one and is raised again.

        Raises:
            UsageError: the loss is no number any more.
        """
        began = time.perf_counter()
        training, standing = self.settings.training, self.standing
        writer = Silent()
        if self.processes.first:
            writer = Writer(self.run, standing.step, training.keep_last, self.watch)
        ending = "done"
        try:
            if not standing.step and standing.ridge and standing.best is None:
                self._start(writer)
            while standing.epoch < training.max_epochs:
                # Before each epoch: a run that has ended is over when it is resumed, too.
                if self._has_waited():
                    ending = "early"
                    break
                if not self._epoch(writer):
                    ending = "stopped"
                    break
                self._end_of_epoch(writer)
        except KeyboardInterrupt:
            # A step is taken whole or not at all: see `_step`.
            writer.save(standing.step, self._kept)
            raise
        finally:
            self.batches.close()
            writer.close()
        return TrainSummary(
            run=str(self.run),
            epochs=standing.epoch,
            steps=standing.step,
            samples=standing.samples,
            seconds=time.perf_counter() - began,
            best_epoch=standing.best_epoch,
            best=math.nan if standing.best is None else standing.best,
            ending=ending,
            curve=tuple(standing.curve),
            rank=self.processes.rank,
        )

    def _epoch(self, writer: Silent) -> bool:
        """Go through what is left of the epoch; False where the caller stopped it."""
        standing, training = self.standing, self.settings.training
        self.sampler.set_epoch(standing.epoch)
        self.sampler.start(standing.batch)
        saved = time.monotonic()
        looks = max(1, self.sampler.batches // _LOOKS)
        for parts in _whole(iter(self.batches)):
            with self.watch.computing():
                loss, lr, stopping = self._step(parts, writer)
            self.watch.report(
                TrainProgress(
                    standing.epoch,
                    training.max_epochs,
                    standing.step,
                    self.steps,
                    standing.samples,
                    loss,
                    lr,
                )
            )
            if self.processes.first and standing.batch % looks == 0:
                self._tell(self.task.collapse(parts[0]))
            if stopping:
                writer.save(standing.step, self._kept)
                return False
            if time.monotonic() - saved > training.checkpoint_minutes * 60:
                writer.save(standing.step, self._kept)
                saved = time.monotonic()
        return True

    def _step(self, parts: list[Batch], writer: Silent) -> tuple[float, float, bool]:
        """One step of the optimiser; its loss and learning rate, and whether to stop after it.

        Interrupted, weights, counters and random numbers are those before it, or those after it.
        """
        training, standing, step = self.settings.training, self.standing, self.standing.step
        self.network.train()
        lr = learning_rate(step, self.steps, self.sampler.batches, self.settings)
        set_learning_rate(self.optimiser, lr)
        self.optimiser.zero_grad(set_to_none=True)
        whole = parts[0].whole
        sums: list[Tensor] = []
        before = self.random.tensors()
        try:
            for part in parts:
                share = part.share.rows / whole
                whole_loss = self.task.loss(part)
                torch.autograd.backward(whole_loss * share)
                sums.append(whole_loss.detach() * share)
            if training.grad_clip:
                nn.utils.clip_grad_norm_(self.network.parameters(), training.grad_clip)
            loss = float(torch.stack(sums).sum())
            loss, asked = self.processes.sum([loss, float(self.watch.stop())])
            loss /= self.processes.world
            if not math.isfinite(loss):
                raise UsageError(
                    f"the loss is {loss} at step {step + 1}: lower training.lr, or keep to "
                    "training.precision=float32; checkpoints up to here are sound"
                )
            with deferred():
                self.optimiser.step()
                self.task.after_step(step / max(1, self.steps))
                standing.after_step(whole, loss)
                writer.step(standing.step, loss, lr)
        except KeyboardInterrupt:
            if standing.step == step:
                # The step comes again after resuming, and has to draw what it drew.
                self.random.restore(before)
            raise
        return loss, lr, asked > 0

    def _start(self, writer: Silent) -> None:
        """Look at the state before the first step: it is the best until an epoch is better."""
        select, standing = self.settings.training.select, self.standing
        row = {"epoch": 0, "step": 0, "val_loss": self._validated(), **self._looked()}
        with deferred():
            if self.settings.model.network == "transformer":
                # The baselines are for comparing: they may buy ranks with error.
                standing.start = {name: row[name] for name in standing.ridge}
            standing.measure = measure_of(select)
            standing.best = row[standing.measure]
            writer.start(row, self._kept)
        for what, figures in (("ridge regression", standing.ridge), ("start", row)):
            shown = ", ".join(f"{name} {figures[name]:.4g}" for name in standing.ridge)
            self.watch.say(f"{what}: {shown}")

    def _end_of_epoch(self, writer: Silent) -> None:
        standing, training = self.standing, self.settings.training
        row: dict[str, Any] = {
            "epoch": standing.epoch + 1,
            "step": standing.step,
            "loss": standing.loss_sum / max(1, standing.loss_count),
            "val_loss": self._validated(),
        }
        select, measure = training.select, measure_of(training.select)
        # An older version chose by another figure.
        best = standing.best if standing.measure == measure else None
        last = standing.epoch + 1 == training.max_epochs
        due = last or (standing.epoch + 1) % training.evaluate_every == 0
        better = select == "loss" and is_better(select, row["val_loss"], best)
        if better or due:
            row |= self._looked()
            better = is_better(select, row[measure], best) and not harm(row, standing.start)
        with deferred():
            standing.curve.append(row)
            standing.epoch, standing.batch = standing.epoch + 1, 0
            standing.loss_sum, standing.loss_count = 0.0, 0
            if better:
                standing.best, standing.measure = row[measure], measure
                standing.best_epoch = standing.epoch
            writer.epoch(standing.step, row, better, self._kept)

    def _validated(self) -> float:
        """The loss on validation, of the first process for all."""
        loss = 0.0
        if self.processes.first:
            loss = self.task.validation_loss()
        return self.processes.told([loss])[0]

    def _looked(self) -> dict[str, Any]:
        """What a look at validation adds to the curve; the others are told what decides."""
        deciding = self.task.deciding
        row: dict[str, Any] = dict.fromkeys(deciding, 0.0)
        if self.processes.first:
            seen = self.task.look()
            self.last_look, self.quantiles, row = seen, seen.quantiles, seen.row
            self._tell(seen.warning)
        told = self.processes.told([row[name] for name in deciding])
        return {**row, **dict(zip(deciding, told, strict=True))}

    def _tell(self, collapse: str | None) -> None:
        """Warn of a collapse, once in a run."""
        if collapse and not self.standing.collapse_told:
            self.standing.collapse_told = True
            self.watch.warn(f"epoch {self.standing.epoch + 1}: {collapse}")

    def chosen(self) -> str:
        """Which state is the best, and why."""
        standing = self.standing
        last = standing.curve[-1] if standing.curve else {}
        figures = {name: float(value) for name, value in last.items() if value is not None}
        select = self.settings.training.select
        return reason(select, standing.best, standing.best_epoch, standing.start, figures)

    def _kept(self) -> Kept:
        state = {
            **self.facts,
            "standing": attrs.asdict(self.standing),
            "quantiles": {str(steps): values for steps, values in self.quantiles.items()},
        }
        training = {**self.random.tensors(), **optimiser_tensors(self.optimiser)}
        return Kept(self.network.tensors(), training, state)

    def restore(self, found: checkpoint.Checkpoint) -> None:
        """Go on where a checkpoint of the same settings and data stopped.

        Raises:
            DamagedCheckpointError: it is none of theirs.
        """
        state, where = read_state(found), found.path / checkpoint.TRAINING
        if state.standing.batch > self.sampler.batches:
            raise DamagedCheckpointError(
                f"{found.path}: is at batch {state.standing.batch:,} of an epoch of "
                f"{self.sampler.batches:,}"
            )
        self.standing = state.standing
        self.quantiles = {int(k): list(v) for k, v in state.quantiles.items()}

        def vet(shapes: Shapes) -> None:
            own = self.random.check(shapes)
            rest = {name: shape for name, shape in shapes.items() if name not in own}
            check_optimiser(self.optimiser, rest)

        try:
            training = found.training(vet)
            self.random.restore(training)
        except (RuntimeError, ValueError) as error:
            raise DamagedCheckpointError(f"{where}: {str(error).splitlines()[0]}") from None
        restore_optimiser(self.optimiser, training)


def _whole(parts: Iterator[Batch]) -> Iterator[list[Batch]]:
    """Parts gathered to the batches of the optimiser."""
    gathered: list[Batch] = []
    for part in parts:
        gathered.append(part)
        if part.last:
            yield gathered
            gathered = []
