"""Settings of an evaluation."""

from __future__ import annotations

from typing import Any

import attrs
from attrs import validators as v

from ..config import checked
from ..domain.problem import Split
from ..settings import AdapterSettings, ModelSettings
from ..text import brief
from .corruption import KINDS

PREDICTION, DAMAGE, CORRECTNESS, PROBE = "prediction", "damage", "correctness", "probe"
PARTS = (PREDICTION, DAMAGE, CORRECTNESS, PROBE)
SPLITS = (Split.TEST.value, Split.VALIDATION.value)


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value)


def _ordered(value: Any) -> Any:
    return (value,) if isinstance(value, int) else tuple(sorted(set(value)))


def _whole(least: int) -> Any:
    return v.and_(v.instance_of(int), v.ge(least))


def _of(*names: str) -> Any:
    def check(_: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
        for one in value:
            if one not in names:
                raise ValueError(f"{attribute.name} must be of {', '.join(names)}; got {one!r}")

    return check


@checked("evaluate")
@attrs.frozen(kw_only=True)
class EvaluateSettings:
    """What is evaluated.

    Attributes:
        world_models: trained runs, all of one latent space; they stand side by side.
        stores: latents that the world models are evaluated on.
        labelled: file of solutions labelled right or wrong, for `correctness`.
        split: part of the problems that the figures are of.
        parts: what is done; empty for all that can be: what cannot is skipped, and named.
        horizons: of `prediction`: how many steps ahead; empty for 1, 2 and 3, as far as the world
            models look.
        limit: use only the first so many traces of the split, and problems of `labelled`; not for
            damage.
        damage: kinds of damage; empty for all.
        damaged: problems of each kind of damage, and of each harmless edit.
        draws: of the bootstrap that gives the intervals.
        seed: of the draws, of what is damaged, and of the probe's labels.
        batch_size: traces that a world model is given at once.
        max_steps: longest trace that is used: one of S steps takes a world model S passes.
        device: that the world models run on: `auto`, `cpu`, `cuda`, ….
    """

    __repr__ = brief

    world_models: tuple[str, ...] = attrs.field(default=(), converter=_several)
    stores: tuple[str, ...] = attrs.field(default=(), converter=_several)
    labelled: str | None = None
    split: str = attrs.field(default=Split.TEST.value, validator=v.in_(SPLITS))
    parts: tuple[str, ...] = attrs.field(default=(), converter=_several, validator=_of(*PARTS))
    horizons: tuple[int, ...] = attrs.field(
        default=(), converter=_ordered, validator=v.deep_iterable(_whole(1))
    )
    limit: int | None = attrs.field(default=None, validator=v.optional(_whole(1)))
    damage: tuple[str, ...] = attrs.field(default=(), converter=_several, validator=_of(*KINDS))
    damaged: int = attrs.field(default=400, validator=_whole(1))
    draws: int = attrs.field(default=2000, validator=_whole(0))
    seed: int = attrs.field(default=0, validator=_whole(0))
    batch_size: int = attrs.field(default=256, validator=_whole(1))
    max_steps: int = attrs.field(default=512, validator=_whole(2))
    device: str = "auto"


@checked("damage")
@attrs.frozen(kw_only=True)
class DamageSettings:
    """Which solutions are damaged, for a verifier to learn from.

    Attributes:
        split: part of the problems; a verifier is trained on `train` and chosen on `validation`.
        kinds: of damage; empty for all.
        problems: of each kind of damage, and of each harmless edit.
        seed: of what is damaged.
        max_steps: longest trace that is damaged.
        device: that the LLM runs on, where `model.device` does not say: `auto`, `cpu`, `cuda`, ….
    """

    __repr__ = brief

    split: str = attrs.field(
        default=Split.TRAIN.value, validator=v.in_(tuple(split.value for split in Split))
    )
    kinds: tuple[str, ...] = attrs.field(default=(), converter=_several, validator=_of(*KINDS))
    problems: int = attrs.field(default=300, validator=_whole(1))
    seed: int = attrs.field(default=0, validator=_whole(0))
    max_steps: int = attrs.field(default=512, validator=_whole(2))
    device: str = "auto"


@checked()
@attrs.frozen(kw_only=True)
class DamageRunSettings:
    """All that a store's solutions are damaged by.

    Attributes:
        damage: which.
        model: the LLM, needed where solutions have to be encoded.
        backend, scheduler: that encode them.
    """

    __repr__ = brief

    damage: DamageSettings = attrs.field(factory=DamageSettings)
    model: ModelSettings | None = None
    backend: AdapterSettings = attrs.field(factory=lambda: AdapterSettings(name="huggingface"))
    scheduler: AdapterSettings = attrs.field(factory=lambda: AdapterSettings(name="adaptive"))


@checked()
@attrs.frozen(kw_only=True)
class EvaluateRunSettings:
    """All of one evaluation.

    Attributes:
        evaluate: what is evaluated.
        model: the LLM, needed where solutions have to be encoded.
        backend, scheduler: that encode them.
    """

    __repr__ = brief

    evaluate: EvaluateSettings = attrs.field(factory=EvaluateSettings)
    model: ModelSettings | None = None
    backend: AdapterSettings = attrs.field(factory=lambda: AdapterSettings(name="huggingface"))
    scheduler: AdapterSettings = attrs.field(factory=lambda: AdapterSettings(name="adaptive"))
