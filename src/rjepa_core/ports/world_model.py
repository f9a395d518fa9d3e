"""The world-model port: latents of a reasoning in, predictions and surprise out.

What a world model promises is tested by `rjepa_core.testing.world_model_suite`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

import attrs
import numpy as np
from numpy.typing import NDArray

from ..domain.identity import LatentSpace

Floats = NDArray[np.float32]


class Context(enum.Enum):
    """Which steps a step is predicted from; the prompt's latent always belongs to them."""

    OTHERS = "others"
    """All other steps: leave one out."""
    PAST = "past"
    """The steps before it."""


class TargetSpace(enum.Enum):
    """Where a world model's predictions live."""

    LLM = "llm"
    """The LLM's own latents, standardised; `WorldModel.unstandardise` leads back to them."""
    MODEL = "model"
    """A space that the world model learned."""


@attrs.frozen(eq=False)
class LatentSequence:
    """The latents of one trace, in one layer.

    Attributes:
        latents: float32 [S, D], one a step, as the LLM gave them.
        prompt: float32 [D], the prompt's latent.
        domain: of the problem.
    """

    latents: Floats
    prompt: Floats
    domain: str = ""


@attrs.frozen
class WorldModelInfo:
    """What a world model says of itself.

    Attributes:
        location: of its run, for messages.
        space: the latent space it was trained on, with one layer.
        hidden_size: D.
        target_size: E, the width of its predictions.
        target_space: where they live.
        objective: it was trained with.
        quantiles: of the surprise of validation's steps, by the number of steps S of their traces:
            percentiles 0 to 100, 101 values; key 0 holds those of all traces.
    """

    location: str
    space: LatentSpace
    hidden_size: int
    target_size: int
    target_space: TargetSpace
    objective: str
    quantiles: Mapping[int, tuple[float, ...]] = attrs.field(factory=dict)


class WorldModel(Protocol):
    """A trained world model. All answers are deterministic, float32, and the caller's own.

    Sequences that hold a value which is not finite, or are of another width, raise `InputError`;
    the message names the position of the sequence.
    """

    @property
    def info(self) -> WorldModelInfo: ...

    def predict(
        self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
    ) -> list[Floats]:
        """Each step predicted from its context: float32 [S, E] a sequence, in target space."""
        ...

    def predict_masked(
        self, sequences: Sequence[LatentSequence], masked: Sequence[Sequence[int]]
    ) -> list[Floats]:
        """The masked steps, all predicted from the visible ones: float32 [M, E] a sequence."""
        ...

    def targets(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        """What a prediction is compared with: float32 [S, E] a sequence."""
        ...

    def surprise(
        self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
    ) -> list[Floats]:
        """float32 [S] a sequence: the mean over E of the squared error of each step's prediction,
        in the standardised target space."""
        ...

    def embeddings(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        """The context encoder's output with every step visible: float32 [S, W] a sequence."""
        ...

    def unstandardise(self, predictions: Floats) -> Floats:
        """Predictions [.., D] in the LLM's own latent space.

        Raises:
            UnsupportedError: the model predicts in a space of its own.
        """
        ...

    def close(self) -> None: ...
