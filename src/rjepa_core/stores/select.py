"""Select records by problem id or failure reason, and find a layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

import attrs

from ..domain.identity import LatentSpace, check_space
from ..domain.trace import RecordKey, key_named
from ..errors import UsageError
from ..ports.store import LatentStore
from ..ports.views import near_ids as near_ids

EMPTY_ID = "the id is empty; give a problem's id or ID#SAMPLE"
_NAMES_SHOWN = 5


@attrs.frozen
class Selection:
    """The keys that were named.

    Attributes:
        records: keys of records.
        failures: keys of failures.
    """

    records: tuple[RecordKey, ...]
    failures: tuple[RecordKey, ...]

    def __len__(self) -> int:
        return len(self.records) + len(self.failures)

    @property
    def keys(self) -> tuple[RecordKey, ...]:
        return (*self.records, *self.failures)


def select(store: LatentStore, ids: Iterable[str] = (), reasons: Iterable[str] = ()) -> Selection:
    """Return the committed records and failures that are named.

    Args:
        ids: problem ids, each for all its samples, or `ID#SAMPLE` for one.
        reasons: failure reasons, as they are stored.

    Raises:
        UsageError: nothing is named, or a name matches nothing, or both a problem and a sample of
            another.
    """
    wanted, causes = set(ids), set(reasons)
    if not wanted and not causes:
        raise UsageError("nothing is named: give ids or failure reasons")
    named = _Named(wanted)
    known: set[str] = set()
    records = [key for key in store.keys() if named.match(key)]  # noqa: SIM118  not a mapping
    failures = []
    for failure in store.failures():
        known.add(failure.reason)
        if named.match(failure.key) or failure.reason in causes:
            failures.append(failure.key)
    if unknown := sorted(causes - known):
        has = ", ".join(map(repr, sorted(known))) or "none"
        raise UsageError(
            f"{store.location}: no failure has the reason {unknown[0]!r}; its reasons: {has}"
        )
    if both := sorted(named.problems.keys() & named.samples.keys()):
        text = both[0]
        raise ambiguous(store, text, named.problems[text], named.samples[text])
    if "" in wanted - named.problems.keys() - named.samples.keys():
        raise UsageError(EMPTY_ID)
    if unknown := sorted(wanted - named.problems.keys() - named.samples.keys()):
        raise UsageError(
            f"{store.location} has neither record nor failure {', '.join(unknown[:5])}"
            f"{near_ids(store, unknown[0])}"
        )
    return Selection(tuple(records), tuple(failures))


def ambiguous(
    store: LatentStore, text: str, problem: Sequence[RecordKey], sample: RecordKey
) -> UsageError:
    """Return the error for a text that names both a problem and a sample of another problem.

    Args:
        problem: the store's keys of the problem with that id.
        sample: the key of the other problem's sample.
    """
    ids = {key.problem_id for key in store.keys()}  # noqa: SIM118  not a mapping
    ids |= {failure.key.problem_id for failure in store.failures()}
    names = [_sure_name(key, ids) for key in problem[:_NAMES_SHOWN]]
    names += ["…"] if len(problem) > _NAMES_SHOWN else []
    return UsageError(
        f"{store.location} has a problem {text} and a sample {sample.sample} of "
        f"{sample.problem_id}; say {' '.join(names)} for the problem, or "
        f"{_sure_name(sample, ids)} for the sample"
    )


@attrs.define
class _Named:
    """The keys that texts name, collected from all keys of a store.

    Attributes:
        texts: problem ids, or `ID#SAMPLE`.
        problems: by text, the keys whose problem id it is.
        samples: by text, the key whose sample it names.
    """

    texts: set[str]
    problems: dict[str, list[RecordKey]] = attrs.field(factory=dict)
    samples: dict[str, RecordKey] = attrs.field(factory=dict)
    _by_key: dict[RecordKey, list[str]] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        for text in self.texts:
            if (key := key_named(text)) is not None:
                self._by_key.setdefault(key, []).append(text)

    def match(self, key: RecordKey) -> bool:
        """Return whether one of the texts names the key, and collect it if so."""
        texts = self._by_key.get(key, ())
        for text in texts:
            self.samples[text] = key
        if key.problem_id in self.texts:
            self.problems.setdefault(key.problem_id, []).append(key)
            return True
        return bool(texts)


def _sure_name(key: RecordKey, ids: Set[str]) -> str:
    """Return `ID#SAMPLE` with enough leading zeros that it is not a problem's id."""
    digits = str(key.sample)
    while (name := f"{key.problem_id}#{digits}") in ids:
        digits = f"0{digits}"
    return name


def layer_in(store: LatentStore, space: LatentSpace, owner: str) -> int:
    """Return the index, among the store's layers, of the layer of `owner`'s latent space.

    Raises:
        UsageError: the store was never written to.
        IdentityError: its records are of another latent space; the message names the settings that
            differ.
    """
    identity = store.identity
    if identity is None:
        raise UsageError(f"{store.location}: holds no records")
    layers = identity.space.layers
    common = tuple(layer for layer in layers if layer in space.layers)
    check_space(attrs.evolve(identity.space, layers=common or layers), space, store.location, owner)
    return layers.index(common[0])
