"""What a trainer trains: a world model that predicts steps, or a verifier that judges them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rjepa_core.settings import TrainSettings

from .batches import LengthBatches
from .calibration import Judged, figures, platt
from .dataset import Batch, LatentDataset
from .masks import Masker
from .network import Network
from .objectives import Losses
from .selection import DECIDING
from .validation import Validation, collapse_on, look, loss_on, sample
from .verifier import Logits, verifier_loss
from .workers import Loader

VALIDATION_BATCH = 128


class Task(Protocol):
    """What a trainer asks of it.

    Attributes:
        deciding: figures of a look that decide which epoch is the best, and when training ends.
    """

    deciding: tuple[str, ...]

    def loss(self, part: Batch) -> Tensor:
        """The loss of a part of a batch, with its gradients."""
        ...

    def after_step(self, progress: float) -> None:
        """What follows a step of the optimiser; `progress` runs from 0 to 1."""
        ...

    def validation_loss(self) -> float:
        """The loss on the validation part."""
        ...

    def look(self) -> Validation:
        """Look at the validation part; what is kept with the model is set by it."""
        ...

    def collapse(self, batch: Batch) -> str | None:
        """A warning, if the targets of a training batch have collapsed."""
        ...


class PredictionTask:
    """Masked steps are predicted from the visible ones.

    Args:
        network: to be trained; on its device.
        compute: its forward pass.
        settings: of the run.
        validation: the validation part.
        generator: draws masks and projections.
        several: whether several processes train together.
        bfloat16: whether the forward pass runs in it.
    """

    deciding = DECIDING

    def __init__(
        self,
        network: Network,
        compute: Any,
        settings: TrainSettings,
        validation: LatentDataset,
        generator: torch.Generator,
        several: bool,
        bfloat16: bool,
    ) -> None:
        self._network, self._compute, self._generator = network, compute, generator
        self._several, self._bfloat16 = several, bfloat16
        self._seed, self._device = settings.training.seed, network.step_mean.device
        self._masker = Masker(settings.masker)
        steps = validation.index.steps
        chosen = sample(steps, self._seed)
        others = np.setdiff1d(np.arange(len(validation)), chosen)
        self._validation = ordered(validation)
        self._sample, self._rest = ordered(validation, chosen), ordered(validation, others)

    def loss(self, part: Batch) -> Tensor:
        """See `Task`."""
        share = part.share
        mask = self._masker.draw(share.rows, part.latents.shape[1], self._generator)
        here = part.to(self._device, non_blocking=True)
        place = mask.rows(share.taken).to(self._device)
        steps, prompts = self._network.standardise(here.latents, here.prompts)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            seen = self._masker.swap(steps, self._generator)
            found: Losses = self._compute(
                steps,
                prompts,
                here.domains,
                place,
                self._generator,
                seen,
                share if self._several else None,
            )
        return found.total

    def after_step(self, progress: float) -> None:
        """See `Task`."""
        self._network.objective.after_step(self._network.jepa, progress)

    def validation_loss(self) -> float:
        """See `Task`."""
        return loss_on(self._network, self._validation, self._device, self._seed)

    def look(self) -> Validation:
        """See `Task`."""
        return look(self._network, self._sample, self._rest, self._device)

    def collapse(self, batch: Batch) -> str | None:
        """See `Task`."""
        return collapse_on(self._network, batch, self._device)


class VerificationTask:
    """Steps and answers are judged, by labels.

    Args:
        network: to be trained; on its device.
        compute: the verifier's forward pass.
        settings: of the run.
        validation: the validation part.
        quantiles: of the surprise of the world model.
        bfloat16: whether the forward pass runs in it.
    """

    deciding: tuple[str, ...] = ()

    def __init__(
        self,
        network: Network,
        compute: Any,
        settings: TrainSettings,
        validation: LatentDataset,
        quantiles: dict[int, list[float]],
        bfloat16: bool,
    ) -> None:
        self._network, self._compute, self._bfloat16 = network, compute, bfloat16
        self._device = network.step_mean.device
        self._validation, self._quantiles = ordered(validation), quantiles
        self._judged: Judged | None = None

    def loss(self, part: Batch) -> Tensor:
        """See `Task`."""
        here = part.to(self._device, non_blocking=True)
        assert here.labels is not None
        prompt = self._network.standardise(here.latents, here.prompts)[1]
        seen = self._network.verifier_inputs(
            here.latents, here.prompts, here.domains, here.labels.logprobs
        )
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16):
            found: Logits = self._compute(*seen, prompt)
        steps, answers = verifier_loss(found, here.labels.wrong, here.labels.right)
        return steps + answers

    def after_step(self, progress: float) -> None:
        """See `Task`: the world model stays as it is."""

    def validation_loss(self) -> float:
        """See `Task`: the mean of the log losses of steps and of answers, calibrated."""
        self._judged = judged(self._network, self._validation, self._device)
        return self._judged.loss

    def look(self) -> Validation:
        """See `Task`: calibrates the verifier."""
        found = self._judged or judged(self._network, self._validation, self._device)
        verifier = self._network.verifier
        assert verifier is not None
        for place, (logits, labels) in enumerate((found.steps, found.answers)):
            slope, shift = platt(logits, labels)
            verifier.slope[place], verifier.shift[place] = slope, shift
        row = figures(found, verifier.slope.tolist(), verifier.shift.tolist())
        return Validation(row, quantiles=self._quantiles)

    def collapse(self, batch: Batch) -> str | None:
        """See `Task`."""
        return None


def ordered(data: LatentDataset, chosen: NDArray[np.int64] | None = None) -> Loader:
    """Batches of records, by length."""
    batches = LengthBatches(data.index.steps, VALIDATION_BATCH, ordered=True, chosen=chosen)
    return Loader(data, batches)


@torch.no_grad()
def judged(network: Network, batches: Iterable[Batch], device: torch.device) -> Judged:
    """The verifier's logits, as they are before calibration, where the labels are known."""
    network.eval()
    found: list[list[NDArray[np.float64]]] = [[], [], [], []]
    for batch in batches:
        here = batch.to(device)
        assert here.labels is not None
        said = network.verdicts(here.latents, here.prompts, here.domains, here.labels.logprobs)
        pairs = ((said.wrong, here.labels.wrong), (said.failed, 1.0 - here.labels.right))
        for place, (logits, labels) in enumerate(pairs):
            known = ~labels.isnan()
            found[2 * place].append(logits[known].double().cpu().numpy())
            found[2 * place + 1].append(labels[known].double().cpu().numpy())
    steps, wrong, answers, failed = map(np.concatenate, found)
    return Judged((steps, wrong > 0.5), (answers, failed > 0.5))


@torch.no_grad()
def measure_scalars(network: Network, batches: Iterable[Batch], device: torch.device) -> None:
    """Standardise surprise and log-probabilities over the training part."""
    verifier = network.verifier
    assert verifier is not None
    network.eval()
    every = []
    for batch in batches:
        here = batch.to(device)
        assert here.labels is not None
        told = network.verifier_inputs(
            here.latents, here.prompts, here.domains, here.labels.logprobs
        )[1]
        every.append(told.flatten(0, 1).double())
    whole = torch.cat(every)
    if not whole.shape[1]:
        return
    verifier.scalar_mean.copy_(whole.mean(0))
    verifier.scalar_std.copy_(whole.std(0, correction=0).clamp(min=1e-6))
