"""What two runs must share for their vectors to be comparable, and what they must not mix.

A field added after the first version is declared with `later()`: an older identity lacks it, keeps
its fingerprint, and agrees with any value that cannot be compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import attrs

from ..errors import IdentityError
from ..text import brief, shortened

_LATER = "later"
_PART_DIGITS = 8
T = TypeVar("T")


def later(absent: Any = None, **more: Any) -> Any:
    """Return a field that identities of older versions lack, where it has the value `absent`.

    A field with that value is neither written nor part of the fingerprint. None means unknown: it
    agrees with every value, until `known_together` replaces it. Any other `absent` is what the
    older version did, and agrees only with itself.
    """
    return attrs.field(default=absent, metadata={_LATER: absent}, **more)


@attrs.frozen
class PromptIdentity:
    """How problems are posed.

    Attributes:
        templates: user text per domain, with `{statement}` in it.
        system: system text, if any.
        thinking: whether models that can think before they answer are asked to.
        chat_format: hash of the model's chat template, or `plain`.
        date: the day, `2026-11-03`, given to a chat template that reads the clock; None if it
            does not, or if that is unknown.
    """

    __repr__ = brief

    templates: Mapping[str, str] = attrs.field(factory=dict)
    system: str | None = None
    thinking: bool = False
    chat_format: str = "plain"
    date: str | None = later()


@attrs.frozen
class LatentSpace:
    """The space of a run's vectors, which never mix with another's; a world model belongs to one.

    Attributes:
        model: content of the LLM: a hash of its weight files, or hub name and revision.
        quantisation: `none`, `awq-4bit`, `gguf-Q4_1`, ….
        compute_dtype, store_dtype: dtype of the forward pass and of the stored vectors.
        layers: absolute indices, as transformers counts `hidden_states` (0 the embeddings).
        pooling: `mean`, `last` or `max` over a step's tokens.
        prompt: how problems were posed.
        steps: the step strategy and the version of its rules (`auto-2`); no version means the
            first.
        hidden_size: D.
        tokenizer: content of the LLM's tokenizer; None if unknown.
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
    tokenizer: str | None = later()

    def __repr__(self) -> str:
        layers = ", ".join(map(str, self.layers))
        return (
            f"LatentSpace({shortened(self.model, 24)}, {self.quantisation}: layers "
            f"{shortened(layers, 30)}, D {self.hidden_size}, {self.pooling} of {self.steps} steps, "
            f"{self.compute_dtype} stored as {self.store_dtype})"
        )

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits, followed by a part for each later field that is known.

        Fingerprints are equal exactly when the spaces are; `fingerprints_agree` ignores what only
        one of two spaces knows.
        """
        known = {key: text for key, text, unknowable in _settings(self) if unknowable and text}
        parts = [_digest(self.to_json(comparable=True))[:16]]
        for key, text in known.items():
            name = key.rpartition(".")[2]
            parts.append(name[0] + _digest(text)[:_PART_DIGITS])
        return "-".join(parts)

    def to_json(self, comparable: bool = False) -> dict[str, Any]:
        """Return the space as JSON values.

        Args:
            comparable: leave out what an older identity does not know.
        """
        return _known_fields(self, comparable)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LatentSpace:
        """Return the space that `to_json` wrote.

        Raises:
            IdentityError: a newer version wrote it.
        """
        space = dict(data)
        space["prompt"] = _from_fields(PromptIdentity, space["prompt"])
        space["layers"] = tuple(space["layers"])
        return _from_fields(cls, space)


def _ids(value: Any) -> tuple[int, ...] | None:
    return None if value is None else tuple(sorted(value))


def _ordered(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(texts)))


@attrs.frozen
class Generation:
    """Where traces come from. A store holds those of one generation; a world model may mix them.

    Attributes:
        kind: `sampled` or `given`.
        max_new_tokens, temperature, top_p, top_k, seed: of sampled traces; None for given ones.
        keep_notes: whether given solutions kept their `<<…>>` calculator notes.
        stop: texts that ended a sampled trace.
        end_ids: tokens that end a sampled completion; None for given ones, or if unknown.
        sampler: how the next token is drawn, with a version; None for given ones, or if unknown.
    """

    __repr__ = brief

    kind: str
    max_new_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    keep_notes: bool = False
    stop: tuple[str, ...] = later((), converter=_ordered)
    end_ids: tuple[int, ...] | None = later(converter=_ids)
    sampler: str | None = later()


@attrs.frozen
class Identity:
    """What a store's header keeps; the identity of every run on the store must agree with it.

    Attributes:
        space: of the vectors: the LLM, layers, precision, prompt and steps.
        generation: where the traces come from: sampled, and how, or given.
        logprobs: whether each step keeps its mean token log-probability.
        labels: names for people (`model`, …); they may differ between runs.
    """

    space: LatentSpace
    generation: Generation
    logprobs: bool = False
    labels: Mapping[str, str] = attrs.field(factory=dict, eq=False)

    def __repr__(self) -> str:
        space, generation = self.space, self.generation
        how = generation.kind
        if generation.temperature is not None:
            how += f" at temperature {generation.temperature:g}"
        layers = ", ".join(map(str, space.layers))
        return (
            f"Identity({shortened(self.labels.get('model', space.model), 50)}: layers "
            f"{shortened(layers, 30)}, D {space.hidden_size}, {space.pooling} of {space.steps} "
            f"steps, {space.store_dtype}; {how})"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the identity as JSON values."""
        return _known_fields(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Identity:
        """Return the identity that `to_json` wrote.

        Raises:
            IdentityError: a newer version wrote it.
        """
        return cls(
            LatentSpace.from_json(data["space"]),
            _from_fields(Generation, data["generation"]),
            bool(data["logprobs"]),
            dict(data.get("labels", {})),
        )


Compared = Identity | LatentSpace
C = TypeVar("C", Identity, LatentSpace)


def differences(ours: Compared, theirs: Compared) -> list[tuple[str, str, str]]:
    """Return the settings in which two identities or spaces differ, as (key, ours, theirs).

    Labels, and what only one of them knows, are left out.
    """
    a, b = _by_key(ours), _by_key(theirs)
    pairs = [(key, a.get(key, "-"), b.get(key, "-")) for key in {**a, **b}]
    return [(k, x, y) for k, x, y in pairs if x is not None and y is not None and not _same(x, y)]


def _same(one: str, other: str) -> bool:
    """Return whether two texts of settings say the same: so do the numbers `1` and `1.0`."""
    if one == other or "-" in (one, other):
        return one == other
    values = json.loads(one), json.loads(other)
    # `true` is 1 to Python.
    return all(type(value) in (int, float) for value in values) and values[0] == values[1]


def unknown(ours: Compared, theirs: Compared) -> list[str]:
    """Return the keys of the settings that `theirs` knows and `ours` does not."""
    a, b = _by_key(ours), _by_key(theirs)
    return [key for key, text in a.items() if text is None and b.get(key) is not None]


def known_together(one: C, other: C) -> C:
    """Return `one`, with what it does not know taken from `other`."""
    filled: C = _filled(one, other)
    return filled


def fingerprints_agree(one: str, other: str) -> bool:
    """Return whether two fingerprints agree in everything that both include."""
    (base, *parts), (other_base, *other_parts) = one.split("-"), other.split("-")
    ours, theirs = ({part[:1]: part for part in p} for p in (parts, other_parts))
    return base == other_base and all(ours[k] == theirs[k] for k in ours.keys() & theirs.keys())


def check_same(run: Identity, store: Identity, where: str) -> None:
    """Refuse a run on a store of another latent space or generation.

    Raises:
        IdentityError: they differ; the message names the settings.
    """
    differing = differences(run, store)
    if not differing:
        return
    listed = "; ".join(
        f"{key} is {_short(there)} there and {_short(here)} in this run"
        for key, here, there in differing
    )
    raise IdentityError(
        f"{where} holds another kind of records: {listed}. "
        "Use the store's settings, or another store.path."
    )


def _settings(value: Any, prefix: str = "") -> Iterator[tuple[str, str | None, bool]]:
    """Yield each setting's key, its text (None if unknown), and whether it can be unknown."""
    for field in attrs.fields(type(value)):
        key, part = prefix + field.name, getattr(value, field.name)
        unknowable = field.metadata.get(_LATER, ...) is None
        if attrs.has(type(part)):
            yield from _settings(part, f"{key}.")
        elif isinstance(part, Mapping):
            yield from ((f"{key}.{name}", _canonical(one), False) for name, one in part.items())
        elif unknowable and part is None:
            yield key, None, True
        else:
            yield key, _canonical(part), unknowable


def _by_key(value: Compared) -> dict[str, str | None]:
    return {key: text for key, text, _ in _settings(value) if not key.startswith("labels.")}


def _known_fields(value: Any, comparable: bool = False) -> dict[str, Any]:
    def is_known(field: attrs.Attribute[Any], field_value: Any) -> bool:
        if _LATER not in field.metadata:
            return True
        absent = field.metadata[_LATER]
        return not (field_value == absent or (comparable and absent is None))

    return attrs.asdict(value, filter=is_known)


def _from_fields(cls: type[T], fields: Mapping[str, Any]) -> T:
    known = attrs.fields_dict(cls)  # type: ignore[arg-type]
    unknown_names = ", ".join(repr(name) for name in fields if name not in known)
    if unknown_names:
        raise IdentityError(
            f"the identity has {unknown_names}, which this version of rjepa does not know; "
            "update rjepa"
        )
    return cls(**fields)


def _filled(one: Any, other: Any) -> Any:
    changes = {}
    for field in attrs.fields(type(one)):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        if attrs.has(type(ours)):
            changes[field.name] = _filled(ours, theirs)
        elif ours is None and field.metadata.get(_LATER, ...) is None:
            changes[field.name] = theirs
    return attrs.evolve(one, **changes)


def _digest(value: Any) -> str:
    text = value if isinstance(value, str) else _canonical(value)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else f"{text[: limit - 10]}…{text[-8:]}"


def check_space(theirs: LatentSpace, space: LatentSpace, where: str, owner: str) -> None:
    """Refuse latents of another space.

    Raises:
        IdentityError: they differ; the message names the settings.
    """
    differing = differences(space, theirs)
    if differing:
        listed = "; ".join(
            f"{key} is {_short(there)} there and {_short(here)} in {owner}"
            for key, here, there in differing
        )
        raise IdentityError(f"{where} is of another latent space than {owner}: {listed}")
