"""What two runs must share so that their vectors may meet, and what they must not mix."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from .errors import IdentityError


@attrs.frozen
class PromptIdentity:
    """How problems are posed.

    Attributes:
        templates: user text a domain, with `{statement}` in it.
        system: system text, if any.
        thinking: whether models that can think before they answer are asked to.
        chat_format: hash of the model's chat template, or `plain`.
    """

    templates: Mapping[str, str] = attrs.field(factory=dict)
    system: str | None = None
    thinking: bool = False
    chat_format: str = "plain"


@attrs.frozen
class LatentSpace:
    """Vectors of different spaces must never meet; a world model belongs to one.

    Attributes:
        model: content of the LLM: a hash of its weights' files, or hub name and revision.
        quantisation: `none`, `awq-4bit`, `gguf-Q4_1`, ….
        compute_dtype, store_dtype: dtype of the forward pass and of the stored vectors.
        layers: absolute indices, as transformers counts `hidden_states` (0 the embeddings).
        pooling: `mean`, `last` or `max` over a step's tokens.
        prompt: how problems were posed.
        steps: the step strategy with the version of its rules (`auto-2`); none is the first.
        hidden_size: D.
    """

    model: str
    quantisation: str
    compute_dtype: str
    store_dtype: str
    layers: tuple[int, ...]
    pooling: str
    prompt: PromptIdentity
    steps: str
    hidden_size: int

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits which agree exactly when the spaces do."""
        return hashlib.sha256(_canonical(attrs.asdict(self)).encode()).hexdigest()[:16]


def _ordered(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(texts)))


@attrs.frozen
class Generation:
    """Where a store's traces come from. A store belongs to one; a world model does not care.

    Attributes:
        kind: `sampled` or `given`.
        max_new_tokens, temperature, top_p, top_k, seed: of sampled traces; None for given ones.
        keep_notes: whether given solutions kept their `<<…>>` calculator notes.
        stop: texts that ended a sampled trace.
    """

    kind: str
    max_new_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    keep_notes: bool = False
    stop: tuple[str, ...] = attrs.field(default=(), converter=_ordered)


@attrs.frozen
class Identity:
    """What a store's header keeps; every run on the store must bring an equal one.

    Attributes:
        space, generation: see there.
        logprobs: whether each step keeps its mean token log-probability.
        labels: names for people (`model`, …); they may differ between runs.
    """

    space: LatentSpace
    generation: Generation
    logprobs: bool = False
    labels: Mapping[str, str] = attrs.field(factory=dict, eq=False)

    def to_json(self) -> dict[str, Any]:
        return attrs.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Identity:
        space = dict(data["space"])
        space["prompt"] = PromptIdentity(**space["prompt"])
        space["layers"] = tuple(space["layers"])
        return cls(
            LatentSpace(**space),
            Generation(**data["generation"]),
            bool(data["logprobs"]),
            dict(data.get("labels", {})),
        )


def differences(ours: Identity, theirs: Identity) -> list[tuple[str, str, str]]:
    """The settings in which two identities differ, as (key, ours, theirs), labels aside."""
    a, b = _flat(ours.to_json()), _flat(theirs.to_json())
    keys = [k for k in {**a, **b} if not k.startswith("labels") and a.get(k) != b.get(k)]
    return [(k, a.get(k, "-"), b.get(k, "-")) for k in keys]


def check_same(run: Identity, store: Identity, where: str) -> None:
    """Refuse a run on a store of another latent space or generation.

    Raises:
        IdentityError: with the settings that differ.
    """
    found = differences(run, store)
    if not found:
        return
    named = "; ".join(f"{k} is {_short(b)} there and {_short(a)} in this run" for k, a, b in found)
    raise IdentityError(
        f"{where} holds another kind of records: {named}. "
        "Use the store's settings, or another --store."
    )


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = _canonical(value)
    return flat


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else f"{text[: limit - 10]}…{text[-8:]}"
