"""The world-model port: latents in, predictions and surprise out; also what a trainer reports.

What a world model promises is tested by `rjepa_core.testing.world_model_suite`.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, Self

import attrs
import numpy as np
from numpy.typing import NDArray

from ..domain.floors import too_few_to_train
from ..domain.identity import LatentSpace
from ..errors import ArgumentError, InputError, UnsupportedError
from ..text import brief, count, duration, html_table, shape_text, shortened

Floats = NDArray[np.float32]
"""Vectors and figures of a world model, float32 whatever the store's dtype."""


class Context(enum.Enum):
    """The steps from which a step is predicted, always together with the prompt's latent."""

    OTHERS = "others"
    """All other steps (leave one out)."""
    PAST = "past"
    """The steps before it."""


class TargetSpace(enum.Enum):
    """The space of a world model's predictions."""

    LLM = "llm"
    """The LLM's own latents, standardised; `WorldModel.unstandardise` inverts this."""
    MODEL = "model"
    """A space that the world model learned."""


@attrs.frozen(eq=False)
class LatentSequence:
    """The latents of one trace, in one layer.

    Attributes:
        latents: float32 [S, D], one per step, as the LLM computed them.
        prompt: float32 [D], the prompt's latent.
        domain: of the problem.
        logprobs: float32 [S], mean log-probability (nats) of each step's tokens; None if not known.
    """

    latents: Floats = attrs.field(repr=shape_text)
    prompt: Floats = attrs.field(repr=shape_text)
    domain: str = ""
    logprobs: Floats | None = attrs.field(default=None, repr=shape_text)


@attrs.frozen(eq=False)
class Verification:
    """What a verifier says about one trace; probabilities from 0 to 1.

    Attributes:
        wrong: float32 [S], of each step, that it is wrong: that a mistake is made there.
        right: that the answer is right.
    """

    __repr__ = brief

    wrong: Floats
    right: float


@attrs.frozen
class WorldModelInfo:
    """What a world model reports about itself.

    Attributes:
        location: of its run, for messages.
        space: the latent space it was trained on, with one layer.
        hidden_size: D.
        target_size: E, the width of its predictions.
        target_space: the space of its predictions.
        objective: the objective it was trained with.
        quantiles: the 101 percentiles, 0 to 100, of the surprise of validation steps, by the number
            of steps S of their traces; key 0 is for all traces.
        compared: of how many traces each of `quantiles` is, by the same keys; empty if it is not
            known.
        problems: how many it was trained on; None if it is not known.
        horizon: how many steps ahead `predict` can be asked for at most.
        network: what predicts; `linear` and `perceptron` are baselines of everything else.
        seed: the seed it was trained with; None if there was none.
        configuration: all other settings that made it, plain values by section and key: models with
            the same configuration differ only in their seeds. Empty if it is not known.
        verifies: whether `verify` can be asked.
        needs_logprobs: whether `verify` needs the sequences' log-probabilities.
    """

    location: str
    space: LatentSpace
    hidden_size: int
    target_size: int
    target_space: TargetSpace
    objective: str
    quantiles: Mapping[int, tuple[float, ...]] = attrs.field(factory=dict)
    compared: Mapping[int, int] = attrs.field(factory=dict, kw_only=True)
    problems: int | None = attrs.field(default=None, kw_only=True)
    horizon: int = 1
    network: str = ""
    seed: int | None = None
    configuration: Mapping[str, Any] = attrs.field(factory=dict)
    verifies: bool = False
    needs_logprobs: bool = False

    def __repr__(self) -> str:
        facts = ", ".join(_facts(self).values())
        return f"WorldModelInfo({shortened(self.location, 60)!r}: {facts})"

    @property
    def too_little(self) -> str | None:
        """What is to be said of a world model that was trained on too few problems."""
        return None if self.problems is None else too_few_to_train(self.problems)


class ShownWorldModel:
    """What a world model that inherits from this has in a notebook: a short repr, `with`, and the
    port's docstrings."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        for name, method in vars(cls).items():
            if inspect.isfunction(method) and method.__doc__ is None:
                method.__doc__ = getattr(vars(WorldModel).get(name), "__doc__", None)

    def __repr__(self: Any) -> str:
        facts = _facts(self.info)
        return f"<{type(self).__name__} {self.info.location}: {', '.join(facts.values())}>"

    def _repr_html_(self: Any) -> str:
        return html_table(f"World model {self.info.location}", _facts(self.info))

    def __enter__(self) -> Self:
        return self

    def __exit__(self: Any, *exception: object) -> None:
        self.close()


def _facts(info: WorldModelInfo) -> dict[str, str]:
    kind = f"{info.network} {info.objective}".strip()
    targets = {TargetSpace.LLM: "the LLM's space", TargetSpace.MODEL: "a space of its own"}
    return {
        "objective": f"{kind}{', a verifier' if info.verifies else ''}",
        "layer": f"layer {', '.join(map(str, info.space.layers))}",
        "predictions": f"[S, {info.target_size}] in {targets[info.target_space]}",
        "horizon": f"up to {count(info.horizon, 'step')} ahead",
    }


class WorldModel(Protocol):
    """A trained world model. All results are deterministic, float32, and owned by the caller.

    A sequence that holds a non-finite value or has another width raises `InputError`; the message
    names its position.
    """

    @property
    def info(self) -> WorldModelInfo: ...

    def predict(
        self,
        sequences: Sequence[LatentSequence],
        context: Context = Context.OTHERS,
        ahead: int = 1,
    ) -> list[Floats]:
        """Predict each step from its context: float32 [S, E] per sequence, in target space.

        `ahead` is for `Context.PAST`: with 2, step s is predicted from the prompt and the steps
        before s - 1, and so on; if there are none, from the prompt alone. Callers never ask for
        more than `info.horizon`, and do not pass `ahead` if that is 1.

        Raises:
            InputError: `ahead` is below 1, or above 1 with another context.
            UnsupportedError: it is above `info.horizon`.
        """
        ...

    def predict_masked(
        self, sequences: Sequence[LatentSequence], masked: Sequence[Sequence[int]]
    ) -> list[Floats]:
        """Predict the masked steps from the visible ones: float32 [M, E] per sequence."""
        ...

    def targets(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        """Return what predictions are compared with: float32 [S, E] per sequence."""
        ...

    def surprise(
        self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
    ) -> list[Floats]:
        """Return the surprise of each step: float32 [S] per sequence.

        It is the mean over E of the squared error of the step's prediction, in the standardised
        target space.
        """
        ...

    def embeddings(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        """Return the encoder's output with all steps visible: float32 [S, W] per sequence."""
        ...

    def verify(self, sequences: Sequence[LatentSequence]) -> list[Verification]:
        """Return the verdict on each sequence.

        Callers never ask where `info.verifies` is false, so that a world model which is no verifier
        may lack the method.

        Raises:
            UnsupportedError: it is no verifier.
            InputError: `info.needs_logprobs`, and a sequence has none, or other than one per step.
        """
        ...

    def unstandardise(self, predictions: Floats) -> Floats:
        """Return predictions [.., D] in the LLM's own latent space.

        Raises:
            UnsupportedError: the model predicts in a space of its own.
        """
        ...

    def close(self) -> None:
        """Release the model."""
        ...


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


def check_sequences(sequences: Any) -> None:
    """Refuse anything but latents of traces, each a `LatentSequence`, in a list or the like.

    Raises:
        ArgumentError: it is something else; the message says what scores that.
    """
    where, wrong = "sequences", sequences
    if isinstance(sequences, Sequence) and not isinstance(sequences, str):
        found = ((n, one) for n, one in enumerate(sequences) if not isinstance(one, LatentSequence))
        place, wrong = next(found, (-1, None))
        if place < 0:
            return
        where = f"sequences[{place}]"
    one = "a " if where != "sequences" else "a list of "
    raise ArgumentError(
        f"{where}: got {type(wrong).__name__}, expected {one}LatentSequence(latents [S, D], prompt "
        "[D]); score(store, keys, world_model) is for records, score_text for texts"
    )


def check_verifies(info: WorldModelInfo, sequences: Sequence[LatentSequence]) -> None:
    """Refuse what `WorldModel.verify` does not promise.

    Raises:
        UnsupportedError: the world model is no verifier.
        InputError: it needs log-probabilities, and a sequence has none, or not one per step; the
            message names its position.
    """
    check_sequences(sequences)
    if not info.verifies:
        raise UnsupportedError(
            f"{info.location} is no verifier (objective {info.objective}); train one with "
            "model.objective=verifier"
        )
    if not info.needs_logprobs:
        return
    for number, one in enumerate(sequences):
        if one.logprobs is None:
            raise InputError(
                f"sequence {number}: has no log-probabilities, and {info.location} needs them; "
                "encode it with encoding.logprobs, or train a verifier with model.logprobs=false"
            )
        if one.logprobs.shape != (len(one.latents),):
            raise InputError(
                f"sequence {number}: log-probabilities {list(one.logprobs.shape)}, expected "
                f"[{len(one.latents)}], one per step"
            )
        if not np.isfinite(one.logprobs).all():
            raise InputError(f"sequence {number}: a log-probability is NaN or infinite")


# The file in a run's folder that holds its settings; `--config` of a later run may take it.
RUN_CONFIG = "config.yaml"
# Suffix of unfinished files in a run's folder; a killed process leaves them behind.
UNFINISHED = ".unfinished"


@attrs.frozen
class TrainProgress:
    """Progress of a training run.

    Attributes:
        epoch, epochs: the current epoch, from 0, and the most there will be.
        step, steps: of the optimiser, over the whole run.
        samples: traces seen by this process.
        loss: of the last step.
        lr: learning rate of the last step.
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
    """The result of a training run.

    Attributes:
        run: its folder.
        epochs, steps, samples: how many were done, resumed parts included.
        seconds: wall time of this part.
        best_epoch: the epoch of the best checkpoint, from 1; 0 is the state before the first step.
        best: its validation value, of the measure that `training.select` names (no unit); NaN if
            none was validated yet.
        ending: `done`, `early` (validation stopped improving) or `stopped`.
        curve: one row of values per epoch, as in `metrics.csv`.
        report: its HTML page, if it has one.
        rank: of this process among those that trained together; rank 0 wrote the run.
        too_little: what is to be said if it was trained on too few problems.
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
    too_little: str | None = None

    def __repr__(self) -> str:
        return (
            f"TrainSummary({shortened(self.run, 60)!r}: {self.ending}, "
            f"{count(self.epochs, 'epoch')}, {count(self.samples, 'trace')} in "
            f"{duration(self.seconds)}; best epoch {self.best_epoch}, "
            f"{self.best:.4g} on validation)"
        )


@attrs.frozen
class TrainWatch:
    """How the caller follows a training run.

    Attributes:
        resume: continue the run in the folder.
        say: called with messages about progress.
        warn: called with warnings.
        report: called after each step of the optimiser.
        kept: called after each epoch with its row of values.
        stop: called after each step; once it returns true, a checkpoint is written and the run
            ends.
        computing: entered around each step of the optimiser.
        reading: entered while stores are read, before anything is written: an interrupt may be
            raised there at any time.
    """

    __repr__ = brief

    resume: bool = False
    say: Callable[[str], None] = lambda line: None
    warn: Callable[[str], None] = lambda line: None
    report: Callable[[TrainProgress], None] = lambda progress: None
    kept: Callable[[dict[str, Any]], None] = lambda row: None
    stop: Callable[[], bool] = lambda: False
    computing: Callable[[], AbstractContextManager[None]] = nullcontext
    reading: Callable[[], AbstractContextManager[None]] = nullcontext
