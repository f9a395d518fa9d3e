"""The world-model port: latents of a reasoning in, predictions and surprise out.

What a world model promises is tested by `rjepa_core.testing.world_model_suite`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs
import numpy as np
from numpy.typing import NDArray

from ..domain.identity import LatentSpace
from ..errors import InputError, UnsupportedError
from ..text import count

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
        horizon: how many steps ahead `predict` can be asked for at most.
        network: what predicts: `linear` and `perceptron` are baselines of whatever else there is.
        seed: it was trained with; None where there was none.
        configuration: all other settings that made it, plain values by section and key: models of
            the same configuration differ in their seeds alone. Empty where it is not known.
    """

    location: str
    space: LatentSpace
    hidden_size: int
    target_size: int
    target_space: TargetSpace
    objective: str
    quantiles: Mapping[int, tuple[float, ...]] = attrs.field(factory=dict)
    horizon: int = 1
    network: str = ""
    seed: int | None = None
    configuration: Mapping[str, Any] = attrs.field(factory=dict)


class WorldModel(Protocol):
    """A trained world model. All answers are deterministic, float32, and the caller's own.

    Sequences that hold a value which is not finite, or are of another width, raise `InputError`;
    the message names the position of the sequence.
    """

    @property
    def info(self) -> WorldModelInfo: ...

    def predict(
        self,
        sequences: Sequence[LatentSequence],
        context: Context = Context.OTHERS,
        ahead: int = 1,
    ) -> list[Floats]:
        """Each step predicted from its context: float32 [S, E] a sequence, in target space.

        `ahead` is for `Context.PAST`: with 2, step s is predicted from the prompt and the steps
        before s - 1, and so on; where there are none, from the prompt alone. Nobody asks for more
        than `info.horizon`, nor names `ahead` where that is 1.

        Raises:
            InputError: `ahead` is below 1, or above it with another context.
            UnsupportedError: it is above `info.horizon`.
        """
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


def check_ahead(info: WorldModelInfo, context: Context, ahead: int) -> None:
    """Refuse a look ahead that `WorldModel.predict` does not promise.

    Raises:
        InputError: there is no such look ahead.
        UnsupportedError: the world model does not look so far.
    """
    if ahead < 1 or (ahead > 1 and context is not Context.PAST):
        raise InputError(
            f"ahead: got {ahead} with context {context.value}; it is 1 or, from the past, more"
        )
    if ahead > info.horizon:
        raise UnsupportedError(
            f"{info.location} predicts {count(info.horizon, 'step')} ahead at most, not {ahead}"
        )
