"""What predictions are compared with: standardised latents, or a world model's own target space."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import attrs
import numpy as np

from ..ports.world_model import LatentSequence, WorldModel
from .statistics import Doubles, Floats

Batches = Iterable[Sequence[LatentSequence]]


class Targets(Protocol):
    """A space that methods predict in. The training part's mean is at its origin."""

    @property
    def size(self) -> int:
        """E, its width."""
        ...

    def of(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        """float32 [S, E] a sequence."""
        ...

    def place(self, model: WorldModel, predicted: Floats) -> Floats:
        """What a world model predicted, float32 [S, E], in this space."""
        ...


@attrs.frozen(eq=False)
class Standards:
    """The latents of steps and prompts, standardised: each dimension by its mean and spread over
    the training part.

    Attributes:
        mean, scale: float32 [D], of the steps.
        prompt_mean, prompt_scale: float32 [D], of the prompts.
        sequences, steps: that they were taken from.
    """

    mean: Floats
    scale: Floats
    prompt_mean: Floats
    prompt_scale: Floats
    sequences: int
    steps: int

    @property
    def size(self) -> int:
        """D."""
        return len(self.mean)

    def steps_of(self, sequence: LatentSequence) -> Floats:
        """float32 [S, D], standardised."""
        return (sequence.latents - self.mean) / self.scale

    def prompt_of(self, sequence: LatentSequence) -> Floats:
        """float32 [D], standardised."""
        return (sequence.prompt - self.prompt_mean) / self.prompt_scale

    def of(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        """See `Targets`."""
        return [self.steps_of(one) for one in sequences]

    def place(self, model: WorldModel, predicted: Floats) -> Floats:
        """See `Targets`; the model may have been standardised by other steps."""
        return (model.unstandardise(predicted) - self.mean) / self.scale


@attrs.frozen(eq=False)
class ModelTargets:
    """The target space of a world model, moved and scaled as a whole, so that distances compare as
    they do in it and the training part has a variance of 1.

    Attributes:
        model: whose space it is.
        mean: float32 [E], of the training part.
        spread: root of its mean variance over the dimensions.
    """

    model: WorldModel
    mean: Floats
    spread: float

    @property
    def size(self) -> int:
        """E."""
        return len(self.mean)

    def of(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        """See `Targets`."""
        return [self.place(self.model, made) for made in self.model.targets(sequences)]

    def place(self, model: WorldModel, predicted: Floats) -> Floats:
        """See `Targets`."""
        return (predicted - self.mean) / np.float32(self.spread)


def measure(batches: Batches) -> Standards:
    """Standards of some sequences, batch by batch.

    Raises:
        ValueError: there are none.
    """
    steps, prompts = _Moments(), _Moments()
    for batch in batches:
        steps.add(np.concatenate([sequence.latents for sequence in batch]))
        prompts.add(np.stack([sequence.prompt for sequence in batch]))
    if not steps.count:
        raise ValueError("there is nothing to measure")
    return Standards(*steps.standards(), *prompts.standards(), prompts.count, steps.count)


def measure_model(model: WorldModel, batches: Batches) -> ModelTargets:
    """The target space of a world model over some sequences, batch by batch."""
    moments = _Moments()
    for batch in batches:
        moments.add(np.concatenate(model.targets(batch)))
    mean, variance = moments.result()
    return ModelTargets(model, mean.astype(np.float32), float(np.sqrt(variance.mean())) or 1.0)


class _Moments:
    """Sums about the first batch's mean, so that large means cost no digits."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, rows: Floats) -> None:
        if not self.count:
            self._origin = rows.mean(0, dtype=np.float64)
            self._first = np.zeros_like(self._origin)
            self._second = np.zeros_like(self._origin)
        moved = rows - self._origin
        self.count += len(rows)
        self._first += moved.sum(0)
        self._second += (moved**2).sum(0)

    def result(self) -> tuple[Doubles, Doubles]:
        """Mean and variance."""
        shift = self._first / self.count
        return self._origin + shift, np.maximum(self._second / self.count - shift**2, 0.0)

    def standards(self) -> tuple[Floats, Floats]:
        """Mean and spread; what does not vary is left as it is."""
        mean, variance = self.result()
        spread = np.sqrt(variance)
        spread = np.where(spread > 1e-6, spread, 1.0)
        return mean.astype(np.float32), spread.astype(np.float32)
