"""The use cases' settings: one set of classes for the library, the command line and YAML files.

An adapter's own settings stand beside the adapter and are reached through its descriptor; here they
travel as `options`, a mapping which `structure` turns into the adapter's class once it is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Any

import attrs
import ml_dtypes
import numpy as np
from attrs import validators as v

from ..config import Verbatim
from ..errors import SettingsError
from .strategies import (
    KEEP,
    KNOWN_STRATEGIES,
    STRATEGIES,
    THINKING,
    read_stored,
    rules_of,
    stored_strategy,
)

STORE_DTYPES: dict[str, np.dtype[Any]] = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
}

PLACEHOLDER = "{statement}"

MATH_TEMPLATE = (
    'Solve the problem below step by step. Start each step on a new line with "Step 1:", '
    '"Step 2:" and so on, and end with a line "Answer:" and the result.\n\n'
    "Problem: {statement}"
)
CODE_TEMPLATE = (
    "Work out the programming task below step by step. Start each step on a new line with "
    '"Step 1:", "Step 2:" and so on, and write the code in the last step.\n\n'
    "Task:\n{statement}"
)
DEFAULT_TEMPLATES: Mapping[str, str] = {"default": MATH_TEMPLATE, "code": CODE_TEMPLATE}


def check_template(template: str, where: str) -> str:
    """A template must hold `{statement}` exactly once; other braces are plain text.

    Raises:
        SettingsError: it does not.
    """
    found = template.count(PLACEHOLDER)
    if found != 1:
        raise SettingsError(
            f"{where}: a prompt template holds {PLACEHOLDER} once, not {found} times"
        )
    return template


POOLINGS = ("mean", "last", "max")


def _several(value: Any) -> Any:
    """One name or number alone stands for a tuple of one."""
    return (value,) if isinstance(value, str | int) else tuple(value)


def _whole(least: int) -> Any:
    return v.and_(v.instance_of(int), v.ge(least))


def _finite(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"{attribute.name} must be a finite number, got {value}")


def _one_of(*names: str) -> Any:
    return v.in_(names)


def _templates(_: object, __: object, value: Mapping[str, str]) -> None:
    for domain, template in value.items():
        check_template(template, f"prompt.templates.{domain}")
    if "default" not in value:
        raise ValueError("needs a template named `default`")


def _texts(_: object, attribute: attrs.Attribute[Any], value: tuple[Any, ...]) -> None:
    if not all(isinstance(text, str) and text for text in value):
        raise ValueError(f"{attribute.name} must be texts of one character or more, got {value}")


def _day(_: object, attribute: attrs.Attribute[Any], value: str) -> None:
    try:
        same = date.fromisoformat(value).isoformat() == value
    except ValueError:
        same = False
    if not same:
        raise ValueError(f"{attribute.name} must be a day like 2026-11-03, got {value!r}")


def _not_empty(_: object, attribute: attrs.Attribute[Any], value: tuple[Any, ...]) -> None:
    if not value:
        raise ValueError(f"{attribute.name} must name at least one")


@attrs.frozen(kw_only=True)
class ModelSettings:
    """The LLM.

    Attributes:
        name: folder, file, hub name, or a name the backend knows (`smollm2`).
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ….
        dtype: compute dtype: `auto`, `float32`, `bfloat16` or `float16`.
    """

    name: str = attrs.field(validator=v.min_len(1))
    device: str = "auto"
    dtype: str = attrs.field(
        default="auto", validator=_one_of("auto", "float32", "bfloat16", "float16")
    )


@attrs.frozen(kw_only=True)
class ProblemSettings:
    """Where the problems come from.

    Attributes:
        sources: files, `demo`, or other names a source adapter knows; read in order.
        traces: files with solutions, or a store, that are only to be encoded.
        domain: overrides every source's domain.
        fields: our field name to the source's (`statement` to `question`).
        limit: use only the first so many problems.
        samples: traces a problem.
        keep_notes: keep the `<<…>>` calculator notes of given solutions.
        options: settings of the source adapters.
    """

    sources: tuple[str, ...] = attrs.field(default=(), converter=_several)
    traces: tuple[str, ...] = attrs.field(default=(), converter=_several)
    domain: str | None = None
    fields: Mapping[str, str] = attrs.field(factory=dict)
    limit: int | None = attrs.field(default=None, validator=v.optional(_whole(1)))
    samples: int = attrs.field(default=1, validator=_whole(1))
    keep_notes: bool = False
    options: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class PromptSettings:
    """How a problem is posed.

    Attributes:
        templates: user text a domain, `{statement}` once in each; `default` for other domains.
        system: system text.
        thinking: let models think before they answer that can (Qwen3).
        date: the day, `2026-11-03`, that a chat template is told which reads the clock; None for
            the store's own: the day on which it was begun.
    """

    templates: Mapping[str, str] = attrs.field(
        factory=lambda: dict(DEFAULT_TEMPLATES), validator=_templates
    )
    system: str | None = None
    thinking: bool = False
    date: str | None = attrs.field(default=None, validator=v.optional(_day))


@attrs.frozen(kw_only=True)
class SamplingSettings:
    """How completions are drawn.

    Attributes:
        max_new_tokens: longest completion in tokens.
        temperature: 0 takes the likeliest token always.
        top_p: keep the smallest set of tokens with at least this probability.
        top_k: keep the k likeliest tokens.
        seed: with the problem's id and the sample's index the source of all randomness.
        stop: texts that end a completion, which goes up to the first of them.
    """

    max_new_tokens: int = attrs.field(default=300, validator=_whole(1))
    temperature: float = attrs.field(default=0.7, validator=[v.ge(0.0), _finite])
    top_p: float | None = attrs.field(
        default=None, validator=v.optional(v.and_(v.gt(0.0), v.le(1.0)))
    )
    top_k: int | None = attrs.field(default=None, validator=v.optional(_whole(1)))
    seed: int = attrs.field(default=0, validator=_whole(0))
    stop: tuple[Verbatim, ...] = attrs.field(default=(), converter=_several, validator=_texts)


@attrs.frozen(kw_only=True)
class EncodingSettings:
    """Which vectors are kept.

    Attributes:
        layers: as transformers counts `hidden_states`: 0 the embeddings, -1 the last.
        pooling: over a step's tokens.
        logprobs: also keep each step's mean token log-probability.
        store_dtype: dtype of the stored vectors.
    """

    layers: tuple[int, ...] = attrs.field(default=(-2,), converter=_several, validator=_not_empty)
    pooling: str = attrs.field(default="mean", validator=_one_of(*POOLINGS))
    logprobs: bool = False
    store_dtype: str = attrs.field(default="float16", validator=_one_of(*STORE_DTYPES))


@attrs.frozen
class _Strategy:
    """Takes the strategies, and each with a version behind it."""

    options = STRATEGIES

    def __call__(self, settings: object, attribute: attrs.Attribute[Any], value: str) -> None:
        if value not in KNOWN_STRATEGIES:
            _one_of(*self.options)(settings, attribute, value)


@attrs.frozen(kw_only=True)
class StepSettings:
    """How a completion is cut into steps.

    Attributes:
        strategy: `markers` (`Step 3:`, `3.`), `lines`, `sentences`, `paragraphs` (blank lines), or
            `auto`: markers if there are at least two, else lines, else sentences. Rules of an
            earlier version have it behind their name (`auto-1`).
        thinking: `keep` cuts what a model thinks before it answers into steps of its own, `drop`
            leaves it out.
    """

    strategy: str = attrs.field(default="auto", validator=_Strategy())
    thinking: str = attrs.field(default=KEEP, validator=_one_of(*THINKING))

    def __attrs_post_init__(self) -> None:
        if self.thinking != KEEP and rules_of(self.strategy)[1] == 1:
            raise ValueError(
                f"thinking must be {KEEP} with the strategy {self.strategy}, whose rules know none"
            )

    @property
    def stored(self) -> str:
        """What an identity says of it."""
        return stored_strategy(self.strategy, self.thinking)

    @classmethod
    def of(cls, stored: str) -> StepSettings:
        """The settings that an identity speaks of.

        Raises:
            IdentityError: this version knows no such rules.
        """
        strategy, thinking = read_stored(stored)
        return cls(strategy=strategy, thinking=thinking)

    def going_on_with(self, stored: str) -> StepSettings:
        """The same by the rules of a store's version, unless a version was asked for."""
        theirs = StepSettings.of(stored)
        same = self.strategy == rules_of(theirs.strategy)[0] and self.thinking == theirs.thinking
        return theirs if same else self


@attrs.frozen(kw_only=True)
class AdapterSettings:
    """An adapter by name, and its own settings as they were given.

    The options stand beside the name: `backend.my_option=3`.

    Attributes:
        name: the adapter; `rjepa-cli plugins` lists those there are.
        options: its own settings.
    """

    name: str = attrs.field(validator=v.min_len(1))
    options: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class RunSettings:
    """How far a run goes, and when it commits; none of it changes what is stored.

    Attributes:
        resume: go on with a store that holds records.
        retry_failed: also do again what failed before.
        allow_failures: share of the problems that may fail in a run that counts as done.
        max_hours: stop after so many hours.
        force: begin even though the disk is certain to run full.
    """

    resume: bool = False
    retry_failed: bool = False
    allow_failures: float = attrs.field(default=0.0, validator=v.and_(v.ge(0.0), v.le(1.0)))
    max_hours: float | None = attrs.field(default=None, validator=v.optional(v.gt(0.0)))
    force: bool = False


@attrs.frozen(kw_only=True)
class StoreSettings:
    """The store.

    Attributes:
        path: its place; `lmdb:DIR` names the adapter as well.
        name: the adapter.
        options: the adapter's own settings.
    """

    path: str = attrs.field(validator=v.min_len(1))
    name: str = "lmdb"
    options: Mapping[str, Any] = attrs.field(factory=dict)


def _model(value: ModelSettings | str) -> ModelSettings:
    return ModelSettings(name=value) if isinstance(value, str) else value


def _store(value: StoreSettings | object) -> StoreSettings:
    """A place alone, as text or as a path object."""
    return value if isinstance(value, StoreSettings) else StoreSettings(path=str(value))


@attrs.frozen(kw_only=True)
class ExtractionSettings:
    """All of one extraction: problems in, stored latents out.

    `model` and `store` may be given as a name and a path alone.
    """

    model: ModelSettings = attrs.field(converter=_model)
    store: StoreSettings = attrs.field(converter=_store)
    problems: ProblemSettings = attrs.field(factory=ProblemSettings)
    prompt: PromptSettings = attrs.field(factory=PromptSettings)
    sampling: SamplingSettings = attrs.field(factory=SamplingSettings)
    steps: StepSettings = attrs.field(factory=StepSettings)
    encoding: EncodingSettings = attrs.field(factory=EncodingSettings)
    backend: AdapterSettings = attrs.field(factory=lambda: AdapterSettings(name="huggingface"))
    scheduler: AdapterSettings = attrs.field(factory=lambda: AdapterSettings(name="adaptive"))
    executor: AdapterSettings = attrs.field(factory=lambda: AdapterSettings(name="in-process"))
    run: RunSettings = attrs.field(factory=RunSettings)
