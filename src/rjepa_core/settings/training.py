"""Settings of training a world model, in the sections of `train.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
from attrs import validators as v

from ..config import checked, unknown_key
from ..errors import SettingsError
from ..text import brief

# What a world model predicts; the other objective is a verifier's.
OBJECTIVES = ("frozen", "ema", "sigreg")
VERIFIER = "verifier"
# Kinds of damaged solutions, and of edited ones that stay correct.
DAMAGE = ("result", "operation", "quantity", "order", "omission", "similar", "foreign")
EDITS = ("renamed", "reordered")
NETWORKS = ("transformer", "linear", "perceptron")
MASKS = ("leave_one_out", "contiguous", "random", "causal")
SELECT = ("retrieval", "error", "loss")
PRECISIONS = ("auto", "float32", "bfloat16")


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value)


def _whole(least: int) -> Any:
    return v.and_(v.instance_of(int), v.ge(least))


def _share(least: float = 0.0, most: float = 1.0) -> Any:
    return v.and_(v.ge(least), v.le(most))


def _masks(_: object, attribute: attrs.Attribute[Any], value: Mapping[str, float]) -> None:
    for name, weight in value.items():
        if name not in MASKS:
            raise SettingsError(unknown_key(f"masker.{attribute.name}.{name}", MASKS))
        if not weight >= 0:
            raise SettingsError(f"masker.{attribute.name}.{name}: must be >= 0, got {weight}")
    if not sum(value.values()) > 0:
        raise ValueError(f"{attribute.name} must give one of the masks a weight above 0")


@checked("model")
@attrs.frozen(kw_only=True)
class WorldModelSettings:
    """The world model.

    Attributes:
        objective: what is predicted. `frozen`: the standardised LLM latents; `ema`: the output of
            an averaged copy of the encoder; `sigreg`: the encoder's own output, kept from
            collapsing by a regulariser; `verifier`: which step is wrong, and whether the answer is
            right, from labelled solutions.
        network: what predicts. `transformer`: encoder and predictor; `linear` and `perceptron`: the
            baselines on the linear path's inputs, the path alone or one hidden layer beside it,
            trained with the same loss (`frozen`). A verifier's own world model is `linear`.
        width, depth, heads: of the context encoder, or of the verifier; `width` also of the
            perceptron's hidden layer.
        predictor_width, predictor_depth, predictor_heads: of the predictor, the narrower part.
        dropout: in the blocks.
        input_dropout: of the latents' own dimensions, while training.
        linear_path: add a linear map from the neighbouring steps, their mean and the prompt.
        first_apart: give the linear path the prompt once more where no step before is visible: of
            the first step it says other things than of the others.
        ridge: strength of the ridge regression that the linear path starts from (`frozen`); null
            chooses it on validation, 0 starts from nothing.
        prompt: let the encoder see the prompt's latent.
        domains: tell the encoder the problem's domain.
        standardise: scale each dimension by its spread over the training set.
        max_steps: longest trace that has a position of its own for each step.
        world_model: trained run whose weights, which stay as they are, a verifier reads surprise
            from; null for a linear path of its own.
        latents: let the verifier see the latents of the steps and of the prompt; without them it
            has a few numbers of each step to go by.
        surprise: let the verifier see what the world model did not foresee of each step: how much
            and, with `latents`, of which kind.
        logprobs: let the verifier see the log-probability of each step; null does so where all
            records have them.
        causal_verdicts: let the verifier judge a step by those before it alone.
    """

    __repr__ = brief

    objective: str = attrs.field(default="frozen", validator=v.in_((*OBJECTIVES, VERIFIER)))
    network: str = attrs.field(default="transformer", validator=v.in_(NETWORKS))
    width: int = attrs.field(default=256, validator=_whole(8))
    depth: int = attrs.field(default=3, validator=_whole(0))
    heads: int = attrs.field(default=4, validator=_whole(1))
    predictor_width: int = attrs.field(default=192, validator=_whole(8))
    predictor_depth: int = attrs.field(default=2, validator=_whole(1))
    predictor_heads: int = attrs.field(default=4, validator=_whole(1))
    dropout: float = attrs.field(default=0.1, validator=_share(0.0, 0.9))
    input_dropout: float = attrs.field(default=0.0, validator=_share(0.0, 0.9))
    linear_path: bool = True
    first_apart: bool = True
    ridge: float | None = attrs.field(default=None, validator=v.optional(v.ge(0.0)))
    prompt: bool = True
    domains: bool = False
    standardise: bool = True
    max_steps: int = attrs.field(default=64, validator=_whole(2))
    world_model: str | None = None
    latents: bool = True
    surprise: bool = True
    logprobs: bool | None = None
    causal_verdicts: bool = False

    def __attrs_post_init__(self) -> None:
        for width, heads in (("width", "heads"), ("predictor_width", "predictor_heads")):
            if getattr(self, width) % getattr(self, heads):
                raise ValueError(
                    f"{width} must be a multiple of {heads}, "
                    f"got {getattr(self, width)} and {getattr(self, heads)}"
                )
        if self.verifies and self.network != "linear":
            raise ValueError(
                "objective verifier has a linear world model of its own: it needs network linear, "
                f"got {self.network}; name a trained one of another kind in world_model"
            )
        if self.world_model is not None and not self.verifies:
            raise ValueError(f"world_model is for objective verifier, got {self.objective}")
        if self.verifies and not (self.latents or self.surprise) and self.logprobs is False:
            raise ValueError("a verifier needs one of latents, surprise and logprobs")
        if self.network != "transformer":
            if self.own_targets:
                raise ValueError(
                    f"network {self.network} has no encoder to make targets of its own: it needs "
                    f"objective frozen, got {self.objective}"
                )
            if self.domains:
                raise ValueError(f"network {self.network} cannot be told domains")
        if self.network == "linear" and not self.linear_path:
            raise ValueError("network linear is the linear path alone: it needs linear_path")

    @property
    def verifies(self) -> bool:
        """Whether a verifier is trained."""
        return self.objective == VERIFIER

    @property
    def own_targets(self) -> bool:
        """Whether it predicts in a space that it learned, rather than the LLM's."""
        return self.objective in ("ema", "sigreg")

    @property
    def starts_from_ridge(self) -> bool:
        """Whether the linear path has a closed form: targets that the model learns have none."""
        own = not self.own_targets and self.world_model is None
        return own and self.linear_path and self.ridge != 0


@checked("masker")
@attrs.frozen(kw_only=True)
class MaskerSettings:
    """Which steps are hidden while training.

    Attributes:
        masks: weight of each kind: `leave_one_out`, `contiguous`, `random`, `causal`.
        min_ratio, max_ratio: share of a trace's steps that `contiguous` and `random` hide.
        known_length: share of the `causal` masks with which the model is told how many steps the
            trace has, as it is wherever a step is predicted from all others.
        swap: share of the visible steps that are swapped for a step of another trace, so that one
            step which does not belong there does not spoil the prediction of all others.
    """

    __repr__ = brief

    masks: Mapping[str, float] = attrs.field(
        factory=lambda: {"leave_one_out": 0.35, "contiguous": 0.25, "causal": 0.4},
        validator=_masks,
    )
    min_ratio: float = attrs.field(default=0.3, validator=_share())
    max_ratio: float = attrs.field(default=0.7, validator=_share())
    known_length: float = attrs.field(default=0.5, validator=_share())
    swap: float = attrs.field(default=0.0, validator=_share(0.0, 0.9))

    def __attrs_post_init__(self) -> None:
        if self.min_ratio > self.max_ratio:
            raise ValueError(f"min_ratio must be at most max_ratio, {self.max_ratio}")


@checked("training")
@attrs.frozen(kw_only=True)
class TrainingSettings:
    """How it is trained.

    Attributes:
        batch_size: traces per step of the optimiser, on all devices and accumulations together.
        accumulate: parts that a batch is computed in.
        num_workers: processes that read the stores; 0 reads in the training process.
        lr: highest learning rate.
        linear_lr: learning rate of a linear path that starts from ridge regression, as a share of
            `lr`; 0 leaves it as it starts. Network `linear`, which is nothing else, takes `lr`.
        min_lr_ratio: the last learning rate, as a share of `lr`.
        warmup_epochs: in which the learning rate rises from 0.
        weight_decay: of AdamW.
        max_epochs: passes over the training part.
        select: what makes an epoch the best, on validation: `retrieval`, the mean reciprocal rank
            of a step predicted from its past; `error`, the error of that prediction; `loss`. The
            last two are comparable from epoch to epoch for fixed targets alone. An epoch that
            predicts worse than the linear path did at the start is never the best. A verifier is
            chosen by `loss`: the mean of the log losses of its two outputs, calibrated.
        patience: epochs without a better validation after which training stops; 0 never.
        grad_clip: largest norm of the gradient; 0 leaves it.
        regression: weight of the error of the prediction.
        loss: of `regression`: `mse`, `l1` or `smooth_l1`.
        contrastive: weight of telling the true step from the batch's other steps, those that are
            visible left out (InfoNCE).
        temperature: of `contrastive`, to start with.
        detection: weight of naming a step that was replaced by another trace's, by its surprise.
        variance: weight of the term that keeps each dimension's spread (`ema`).
        sigreg: weight of the isotropic-Gaussian regulariser (`sigreg`).
        momentum: of the averaged encoder at the start (`ema`); it rises to 1. 1 never moves it.
        precision: `float32`, `bfloat16`, or `auto`: bfloat16 where the device computes in it.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ….
        compile: use `torch.compile`.
        seed: of weights, order and masks.
        evaluate_every: epochs between retrieval on validation.
        checkpoint_minutes: between checkpoints in mid-epoch; one is written each epoch, too.
        keep_last: checkpoints to keep beside the best.
    """

    __repr__ = brief

    batch_size: int = attrs.field(default=64, validator=_whole(1))
    accumulate: int = attrs.field(default=1, validator=_whole(1))
    num_workers: int = attrs.field(default=0, validator=_whole(0))
    lr: float = attrs.field(default=3e-4, validator=v.gt(0.0))
    linear_lr: float = attrs.field(default=0.0, validator=_share())
    min_lr_ratio: float = attrs.field(default=0.01, validator=_share())
    warmup_epochs: float = attrs.field(default=2.0, validator=v.ge(0.0))
    weight_decay: float = attrs.field(default=0.05, validator=v.ge(0.0))
    max_epochs: int = attrs.field(default=12, validator=_whole(1))
    select: str = attrs.field(default="retrieval", validator=v.in_(SELECT))
    patience: int = attrs.field(default=3, validator=_whole(0))
    grad_clip: float = attrs.field(default=1.0, validator=v.ge(0.0))
    regression: float = attrs.field(default=4.0, validator=v.ge(0.0))
    loss: str = attrs.field(default="mse", validator=v.in_(("mse", "l1", "smooth_l1")))
    contrastive: float = attrs.field(default=0.25, validator=v.ge(0.0))
    temperature: float = attrs.field(default=0.1, validator=v.gt(0.0))
    detection: float = attrs.field(default=0.0, validator=v.ge(0.0))
    variance: float = attrs.field(default=1.0, validator=v.ge(0.0))
    sigreg: float = attrs.field(default=0.05, validator=v.ge(0.0))
    momentum: float = attrs.field(default=0.996, validator=_share())
    precision: str = attrs.field(default="auto", validator=v.in_(PRECISIONS))
    device: str = "auto"
    compile: bool = False
    seed: int = attrs.field(default=0, validator=_whole(0))
    evaluate_every: int = attrs.field(default=1, validator=_whole(1))
    checkpoint_minutes: float = attrs.field(default=10.0, validator=v.ge(0.0))
    keep_last: int = attrs.field(default=2, validator=_whole(1))

    def __attrs_post_init__(self) -> None:
        if not self.regression + self.contrastive > 0:
            raise ValueError("regression and contrastive must not both be 0")


@checked("data")
@attrs.frozen(kw_only=True)
class DataSettings:
    """What it is trained on.

    Attributes:
        stores: with the latents, all of one latent space.
        layer: which of the stored layers, as an absolute index; needed where there are several.
        domains: use these alone; empty uses all.
        correct: use only solutions labelled correct (`true`) or wrong (`false`).
        min_steps: shortest trace that is used.
        damage: kinds of damaged solutions that a verifier learns from; empty for all.
        right_steps: take the steps of a solution for right whose answer is right (graded, or
            labelled correct); `false` leaves it open.
    """

    __repr__ = brief

    # `data: runs/first` means `data: {stores: runs/first}`.
    SHORT: ClassVar[str] = "stores"

    stores: tuple[str, ...] = attrs.field(default=(), converter=_several)
    layer: int | None = None
    domains: tuple[str, ...] = attrs.field(default=(), converter=_several)
    correct: bool | None = None
    min_steps: int = attrs.field(default=2, validator=_whole(1))
    damage: tuple[str, ...] = attrs.field(
        default=(), converter=_several, validator=v.deep_iterable(v.in_(DAMAGE))
    )
    right_steps: bool = True


# What suits a verifier of a few thousand solutions, where the settings do not say.
_OF_A_VERIFIER: Mapping[str, Mapping[str, Any]] = {
    "model": {
        "network": "linear",
        "width": 128,
        "depth": 2,
        "dropout": 0.3,
        "input_dropout": 0.3,
    },
    "training": {
        "batch_size": 32,
        "lr": 1e-3,
        "weight_decay": 0.3,
        "max_epochs": 30,
        "select": "loss",
        "patience": 6,
    },
}


@checked()
@attrs.frozen(kw_only=True)
class TrainSettings:
    """All of one training run.

    Each section may be given as an instance, or as a mapping of its keys:
    `TrainSettings(data={"stores": "runs/first"}, training={"max_epochs": 3})`.

    Attributes:
        model: the world model.
        masker: which steps are hidden while training.
        training: how it is trained.
        data: what it is trained on.

    Raises:
        SettingsError: a setting is unknown, of the wrong type or out of range; the message names
            its full key, as on the command line.
    """

    __repr__ = brief

    model: WorldModelSettings = attrs.field(factory=WorldModelSettings)
    masker: MaskerSettings = attrs.field(factory=MaskerSettings)
    training: TrainingSettings = attrs.field(factory=TrainingSettings)
    data: DataSettings = attrs.field(factory=DataSettings)

    def __attrs_post_init__(self) -> None:
        if self.model.verifies and self.training.select != "loss":
            raise SettingsError(
                "training.select: a verifier is chosen by its loss on validation: it needs loss, "
                f"got {self.training.select}"
            )

    @staticmethod
    def with_defaults(given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return settings as they were given, with a verifier's own defaults filled in."""
        model = given.get("model")
        if not isinstance(model, Mapping) or model.get("objective") != VERIFIER:
            return given
        filled = dict(given)
        for section, values in _OF_A_VERIFIER.items():
            own = given.get(section) or {}
            filled[section] = {**values, **own} if isinstance(own, Mapping) else own
        return filled

    @property
    def predicting(self) -> TrainSettings:
        """Those of the world model that predicts: of a verifier, its own."""
        if not self.model.verifies:
            return self
        model = attrs.evolve(self.model, objective="frozen", world_model=None)
        return attrs.evolve(self, model=model)

    @property
    def linear_share(self) -> float:
        """Learning rate of the linear path as a share of `lr`: only where it starts as ridge
        regression, and is not all that there is, may it stay behind."""
        if self.model.network == "linear" or not self.model.starts_from_ridge:
            return 1.0
        return self.training.linear_lr
