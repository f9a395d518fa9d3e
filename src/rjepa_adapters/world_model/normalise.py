"""Mean and spread of each dimension, by which latents are standardised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs
import numpy as np
from numpy.typing import NDArray

from .batches import LengthBatches
from .dataset import Batch, LatentDataset
from .workers import Loader

Floats = NDArray[np.float32]
_BATCH = 256
# A dimension that never moves must not become noise: its spread counts as this share of the median.
_FLOOR = 1e-3
_LEAST = 1e-6


@attrs.frozen(eq=False)
class Standardiser:
    """`(x - mean) / std` a dimension, for steps and for prompts.

    Attributes:
        step_mean, step_std: float32 [D], over all steps of all traces.
        prompt_mean, prompt_std: float32 [D], over all prompts.
    """

    step_mean: Floats
    step_std: Floats
    prompt_mean: Floats
    prompt_std: Floats

    @classmethod
    def fit(cls, dataset: LatentDataset, batches: Iterable[Batch] | None = None) -> Standardiser:
        """One pass over the dataset, batch by batch, in float64.

        Spreads are those of the whole (divided by N), and none is below a thousandth of their
        median.

        Args:
            dataset: to be measured.
            batches: all of it, in the order of `measured`; read in this process by default.
        """
        width = dataset.index.hidden_size
        steps, prompts = _Moments.empty(width), _Moments.empty(width)
        if batches is None:
            batches = Loader(dataset, measured(dataset))
        for batch in batches:
            steps = steps.joined(batch.latents.numpy().reshape(-1, width))
            prompts = prompts.joined(batch.prompts.numpy())
        return cls(*steps.mean_and_std(), *prompts.mean_and_std())

    @classmethod
    def identity(cls, hidden_size: int) -> Standardiser:
        """Leaves latents as they are."""
        zeros, ones = np.zeros(hidden_size, np.float32), np.ones(hidden_size, np.float32)
        return cls(zeros, ones, zeros, ones)

    @property
    def hidden_size(self) -> int:
        """D."""
        return len(self.step_mean)

    def to_tensors(self) -> dict[str, Floats]:
        """Its four arrays by name, as safetensors keeps them."""
        return {name: getattr(self, name) for name in _NAMES}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Floats]) -> Standardiser:
        """Inverse of `to_tensors`; other tensors in the mapping are left alone.

        Raises:
            ValueError: an array is missing, or not a float32 vector of the others' length.
        """
        found = {name: tensors[name] for name in _NAMES if name in tensors}
        missing = ", ".join(name for name in _NAMES if name not in found)
        if missing:
            raise ValueError(f"the standardisation lacks {missing}")
        if len({(a.dtype, a.shape) for a in found.values()}) > 1 or found[_NAMES[0]].ndim != 1:
            shapes = ", ".join(f"{name} {a.dtype} {a.shape}" for name, a in found.items())
            raise ValueError(f"the standardisation's arrays do not fit together: {shapes}")
        return cls(**{name: np.asarray(a, np.float32) for name, a in found.items()})


_NAMES = tuple(field.name for field in attrs.fields(Standardiser))


def measured(dataset: LatentDataset) -> LengthBatches:
    """The order in which a dataset is measured."""
    return LengthBatches(dataset.index.steps, _BATCH, ordered=True)


@attrs.frozen(eq=False)
class _Moments:
    """Count, mean and sum of squared deviations of rows, joined as Chan et al. (1979) do."""

    count: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def empty(cls, width: int) -> _Moments:
        return cls(0, np.zeros(width), np.zeros(width))

    def joined(self, rows: Floats) -> _Moments:
        wide = rows.astype(np.float64)
        count = self.count + len(wide)
        mean = wide.mean(0)
        squares = np.square(wide - mean).sum(0)
        apart = mean - self.mean
        return _Moments(
            count,
            self.mean + apart * (len(wide) / count),
            self.squares + squares + np.square(apart) * (self.count * len(wide) / count),
        )

    def mean_and_std(self) -> tuple[Floats, Floats]:
        std = np.sqrt(self.squares / max(1, self.count))
        floor = max(_FLOOR * float(np.median(std)), _LEAST)
        return self.mean.astype(np.float32), np.maximum(std, floor).astype(np.float32)
