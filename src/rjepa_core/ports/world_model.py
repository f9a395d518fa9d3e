"""The world-model port: latents in, predictions and surprise out; what a trainer reports.

What a world model promises is tested by `rjepa_core.testing.world_model_suite`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

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


# The file in a run's folder that holds its settings, as a later run may take them.
RUN_CONFIG = "config.yaml"
# Behind the name of what is not whole yet in a run's folder; a killed process leaves it.
UNFINISHED = ".unfinished"


@attrs.frozen
class TrainProgress:
    """How far a training run is.

    Attributes:
        epoch, epochs: from 0, and how many there are at most.
        step, steps: of the optimiser, over the whole run.
        samples: traces seen by this process.
        loss: of the last step.
        lr: of the last step.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    samples: int
    loss: float
    lr: float


@attrs.frozen
class TrainSummary:
    """What a training run ended with.

    Attributes:
        run: its folder.
        epochs, steps, samples: done, over all its parts.
        seconds: wall time of this part.
        best_epoch, best: the epoch whose checkpoint is the best, from 1 (0: none yet), and its
            validation value.
        ending: `done`, `early` (validation got no better) or `stopped`.
        curve: a row of values an epoch, as `metrics.csv` has them.
        report: its page for people, if it has one.
        rank: which of several processes that trained together says so; 0 is the one that wrote.
    """

    run: str
    epochs: int
    steps: int
    samples: int
    seconds: float
    best_epoch: int
    best: float
    ending: str
    curve: tuple[dict[str, Any], ...] = ()
    rank: int = 0
    report: str | None = None


@attrs.frozen
class TrainWatch:
    """How the caller follows a training run.

    Attributes:
        resume: go on with the run that is there.
        say: told what goes on.
        warn: told what is wrong, visibly.
        report: called after each step of the optimiser.
        kept: called after each epoch with its row of values.
        stop: asked after each step; once it is true, a checkpoint is written and the run ends.
        computing: entered around each step of the optimiser.
        reading: entered while stores are read before anything is written: an interrupt may strike
            in there at any moment.
    """

    resume: bool = False
    say: Callable[[str], None] = lambda line: None
    warn: Callable[[str], None] = lambda line: None
    report: Callable[[TrainProgress], None] = lambda progress: None
    kept: Callable[[dict[str, Any]], None] = lambda row: None
    stop: Callable[[], bool] = lambda: False
    computing: Callable[[], AbstractContextManager[None]] = nullcontext
    reading: Callable[[], AbstractContextManager[None]] = nullcontext
