"""The settings of an extraction: one set of classes for Python, YAML and the command line.

An adapter's own settings are defined beside the adapter and named by its descriptor; here they
are `options`, a mapping that `structure` turns into the adapter's class once that is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, ClassVar

import attrs
import ml_dtypes
import numpy as np
from attrs import validators as v

from ..config import Verbatim, checked
from ..errors import SettingsError
from ..text import brief
from .shard import Shard
from .strategies import (
    KEEP,
    KNOWN_STRATEGIES,
    STRATEGIES,
    THINKING,
    read_stored,
    rules_of,
    stored_strategy,
)
from .templates import DEFAULT_TEMPLATES, check_template

STORE_DTYPES: dict[str, np.dtype[Any]] = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
}


POOLINGS = ("mean", "last", "max")


def _as_tuple(value: Any) -> Any:
    """Return a tuple; a single name or number becomes a tuple of one."""
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
        valid = date.fromisoformat(value).isoformat() == value
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"{attribute.name} must be a day like 2026-11-03, got {value!r}")


def _shard(_: object, attribute: attrs.Attribute[Any], value: str) -> None:
    try:
        Shard.parse(value)
    except ValueError as error:
        raise ValueError(f"{attribute.name} {error}") from None


def _not_empty(_: object, attribute: attrs.Attribute[Any], value: tuple[Any, ...]) -> None:
    if not value:
        raise ValueError(f"{attribute.name} must name at least one")


@checked("model")
@attrs.frozen(kw_only=True)
class ModelSettings:
    """The LLM.

    Attributes:
        name: folder, file, hub name, or a name the backend knows (`smollm2`).
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ….
        dtype: compute dtype: `auto`, `float32`, `bfloat16` or `float16`.
    """

    __repr__ = brief

    name: str = attrs.field(validator=v.min_len(1))
    device: str = "auto"
    dtype: str = attrs.field(
        default="auto", validator=_one_of("auto", "float32", "bfloat16", "float16")
    )


@checked("problems")
@attrs.frozen(kw_only=True)
class ProblemSettings:
    """Where the problems come from.

    Attributes:
        sources: files, `demo`, or other names a source adapter knows; read in order.
        traces: files with solutions, or a store, that are only to be encoded.
        domain: overrides every source's domain.
        fields: maps our field names to the source's (`statement` to `question`).
        limit: use only the first N problems.
        shard: `2/8` for the second of eight parts of the problems, each of them a run of its own;
            none for all problems. `limit` counts before the problems are parted.
        samples: traces per problem.
        keep_notes: keep the `<<…>>` calculator notes of given solutions.
        options: settings of the source adapters.
    """

    __repr__ = brief

    # `problems: demo` means `problems: {sources: demo}`.
    SHORT: ClassVar[str] = "sources"

    sources: tuple[str, ...] = attrs.field(default=(), converter=_as_tuple)
    traces: tuple[str, ...] = attrs.field(default=(), converter=_as_tuple)
    domain: str | None = None
    fields: Mapping[str, str] = attrs.field(factory=dict)
    limit: int | None = attrs.field(default=None, validator=v.optional(_whole(1)))
    shard: str | None = attrs.field(default=None, validator=v.optional(_shard))
    samples: int = attrs.field(default=1, validator=_whole(1))
    keep_notes: bool = False
    options: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def part(self) -> Shard | None:
        """The shard that is named; None for all problems."""
        return None if self.shard is None else Shard.parse(self.shard)

    @staticmethod
    def with_defaults(given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return settings as they were given; refuse problems in place of their sources' names."""
        sources = given.get("sources")
        items = sources if isinstance(sources, list | tuple) else [sources]
        wrong = next(
            (one for one in items if isinstance(one, Mapping) or attrs.has(type(one))), None
        )
        if wrong is None and {"question", "statement"} & {*given}:
            wrong = given
        if wrong is not None:
            raise SettingsError(
                "problems.sources: expected names of files or data sets, got a problem "
                f"({type(wrong).__name__}); problems held in Python are given to "
                "run_extraction(settings, problems=[…])"
            )
        return given


@checked("prompt")
@attrs.frozen(kw_only=True)
class PromptSettings:
    """How a problem is posed.

    Attributes:
        templates: user text per domain, `{statement}` once in each; `default` for other domains.
        system: system text.
        thinking: let models that can (Qwen3) think before they answer.
        date: the day, `2026-11-03`, for a chat template that reads the clock; None for the day on
            which the store was begun.
    """

    __repr__ = brief

    templates: Mapping[str, str] = attrs.field(
        factory=lambda: dict(DEFAULT_TEMPLATES), validator=_templates
    )
    system: str | None = None
    thinking: bool = False
    date: str | None = attrs.field(default=None, validator=v.optional(_day))


@checked("sampling")
@attrs.frozen(kw_only=True)
class SamplingSettings:
    """How completions are drawn.

    Attributes:
        max_new_tokens: longest completion in tokens.
        temperature: 0 always takes the likeliest token.
        top_p: keep the smallest set of tokens with at least this probability.
        top_k: keep the k likeliest tokens.
        seed: with the problem's id and the sample's index, the source of all randomness.
        stop: texts that end a completion, which is kept up to the first of them.
    """

    __repr__ = brief

    max_new_tokens: int = attrs.field(default=300, validator=_whole(1))
    temperature: float = attrs.field(default=0.7, validator=[v.ge(0.0), _finite])
    top_p: float | None = attrs.field(
        default=None, validator=v.optional(v.and_(v.gt(0.0), v.le(1.0)))
    )
    top_k: int | None = attrs.field(default=None, validator=v.optional(_whole(1)))
    seed: int = attrs.field(default=0, validator=_whole(0))
    stop: tuple[Verbatim, ...] = attrs.field(default=(), converter=_as_tuple, validator=_texts)


@checked("encoding")
@attrs.frozen(kw_only=True)
class EncodingSettings:
    """Which vectors are kept.

    Attributes:
        layers: as transformers counts `hidden_states`: 0 the embeddings, -1 the last.
        pooling: over a step's tokens.
        logprobs: also keep each step's mean token log-probability.
        store_dtype: dtype of the stored vectors.
    """

    __repr__ = brief

    layers: tuple[int, ...] = attrs.field(default=(-2,), converter=_as_tuple, validator=_not_empty)
    pooling: str = attrs.field(default="mean", validator=_one_of(*POOLINGS))
    logprobs: bool = False
    store_dtype: str = attrs.field(default="float16", validator=_one_of(*STORE_DTYPES))


@attrs.frozen
class _Strategy:
    """Validator that accepts a strategy, with or without a version."""

    options = STRATEGIES

    def __call__(self, settings: object, attribute: attrs.Attribute[Any], value: str) -> None:
        if value not in KNOWN_STRATEGIES:
            _one_of(*self.options)(settings, attribute, value)


@checked("steps")
@attrs.frozen(kw_only=True)
class StepSettings:
    """How a completion is cut into steps.

    Attributes:
        strategy: `markers` (`Step 3:`, `3.`), `lines`, `sentences`, `paragraphs` (blank lines), or
            `auto`: markers if there are at least two, else lines, else sentences. A version
            after the name (`auto-1`) selects earlier rules.
        thinking: `keep` cuts a model's thinking before the answer into steps of its own, `drop`
            leaves it out.
    """

    __repr__ = brief

    strategy: str = attrs.field(default="auto", validator=_Strategy())
    thinking: str = attrs.field(default=KEEP, validator=_one_of(*THINKING))

    def __attrs_post_init__(self) -> None:
        if self.thinking != KEEP and rules_of(self.strategy)[1] == 1:
            raise ValueError(
                f"thinking must be {KEEP} with the strategy {self.strategy}, whose rules know none"
            )

    @property
    def stored(self) -> str:
        """The strategy's name in an identity."""
        return stored_strategy(self.strategy, self.thinking)

    @classmethod
    def of(cls, stored: str) -> StepSettings:
        """Return the settings that an identity names.

        Raises:
            IdentityError: this version of rjepa does not know the rules.
        """
        strategy, thinking = read_stored(stored)
        return cls(strategy=strategy, thinking=thinking)

    def with_stored_version(self, stored: str) -> StepSettings:
        """Return the store's settings if these ask for the same without a version, else these."""
        theirs = StepSettings.of(stored)
        same = self.strategy == rules_of(theirs.strategy)[0] and self.thinking == theirs.thinking
        return theirs if same else self


@checked()
@attrs.frozen(kw_only=True)
class AdapterSettings:
    """An adapter's name and its own settings as given.

    The options are set beside the name: `backend.my_option=3`.

    Attributes:
        name: the adapter; `rjepa-cli plugins` lists the available ones.
        options: its own settings.
    """

    __repr__ = brief

    name: str = attrs.field(validator=v.min_len(1))
    options: Mapping[str, Any] = attrs.field(factory=dict)


@checked("run")
@attrs.frozen(kw_only=True)
class RunSettings:
    """How far a run goes, and what may fail in it; none of it changes what is stored.

    Attributes:
        resume: continue a store that holds records.
        retry_failed: also retry what failed before.
        allow_failures: share of the problems that may fail in a successful run.
        max_hours: stop after this many hours.
        force: start even if the disk is certain to fill up.
    """

    __repr__ = brief

    resume: bool = False
    retry_failed: bool = False
    allow_failures: float = attrs.field(default=0.0, validator=v.and_(v.ge(0.0), v.le(1.0)))
    max_hours: float | None = attrs.field(default=None, validator=v.optional(v.gt(0.0)))
    force: bool = False


@checked("store")
@attrs.frozen(kw_only=True)
class StoreSettings:
    """The store.

    Attributes:
        path: its location; `lmdb:DIR` names the adapter as well.
        name: the adapter.
        options: the adapter's own settings.
    """

    __repr__ = brief

    path: str = attrs.field(validator=v.min_len(1))
    name: str = "lmdb"
    options: Mapping[str, Any] = attrs.field(factory=dict)


def _model(value: ModelSettings | str) -> ModelSettings:
    return ModelSettings(name=value) if isinstance(value, str) else value


def _store(value: StoreSettings | object) -> StoreSettings:
    """Return store settings; a location alone may be text or a path object."""
    return value if isinstance(value, StoreSettings) else StoreSettings(path=str(value))


def _problems(
    value: ProblemSettings | str | Sequence[str] | Mapping[str, Any],
) -> ProblemSettings:
    """Return problem settings; `checked` has converted them, and this says what may be given."""
    assert isinstance(value, ProblemSettings)
    return value


@checked()
@attrs.frozen(kw_only=True)
class ExtractionSettings:
    """All of one extraction: problems in, stored latents out.

    Each section may be given as an instance, or as a mapping of its keys. `model`, `problems`,
    `backend`, `scheduler` and `executor` may be a name alone, `store` a path alone:
    `ExtractionSettings(model="smollm2", problems="demo", store="runs/first")`.

    Attributes:
        model: the LLM.
        store: where the records go.
        problems: what is solved, or the solutions that are encoded.
        prompt: how a problem is posed.
        sampling: how completions are drawn.
        steps: how a completion is cut into steps.
        encoding: which vectors are kept.
        backend: the adapter that runs the LLM.
        scheduler: the adapter that decides how many rows run at a time.
        executor: the adapter that the loop runs in.
        run: how far the run goes.

    Raises:
        SettingsError: a setting is unknown, of the wrong type or out of range; the message names
            its full key, as on the command line.
    """

    __repr__ = brief

    model: ModelSettings = attrs.field(converter=_model)
    store: StoreSettings = attrs.field(converter=_store)
    problems: ProblemSettings = attrs.field(factory=ProblemSettings, converter=_problems)
    prompt: PromptSettings = attrs.field(factory=PromptSettings)
    sampling: SamplingSettings = attrs.field(factory=SamplingSettings)
    steps: StepSettings = attrs.field(factory=StepSettings)
    encoding: EncodingSettings = attrs.field(factory=EncodingSettings)
    backend: AdapterSettings = attrs.field(factory=lambda: AdapterSettings(name="huggingface"))
    scheduler: AdapterSettings = attrs.field(factory=lambda: AdapterSettings(name="adaptive"))
    executor: AdapterSettings = attrs.field(factory=lambda: AdapterSettings(name="in-process"))
    run: RunSettings = attrs.field(factory=RunSettings)
