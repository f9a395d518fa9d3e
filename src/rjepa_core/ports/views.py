"""A store as a mapping, as arrays and at a glance, written on the store port alone.

The methods of `LatentStore` that call these are inherited: an adapter writes none of them.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np
from numpy.typing import NDArray

from ..domain.latents import LatentRecord
from ..domain.trace import RecordKey, key_named
from ..errors import ArgumentError, RJepaError, StoreError
from ..text import count, html_table

if TYPE_CHECKING:
    from .store import LatentStore

_KEYS_SEARCHED = 20_000
_MOST_NAMED = 5
# Values that are read at once: [B, L, S, D].
_READ_VALUES = 2**22
_MOST_READ = 256


@attrs.frozen(eq=False, repr=False)
class StepArrays:
    """The latents of one layer of many records: N steps of R records, float32.

    Attributes:
        latents: float32 [N, D], one row per step, record after record.
        prompts: float32 [R, D], the prompts' latents.
        record: int64 [N], each step's record, a place in `keys` and `prompts`.
        step: int64 [N], each step's index in its record, from 0.
        keys: of the R records.
        layer: the layer, as an absolute index.
    """

    latents: NDArray[np.float32]
    prompts: NDArray[np.float32]
    record: NDArray[np.int64]
    step: NDArray[np.int64]
    keys: tuple[RecordKey, ...]
    layer: int

    def __len__(self) -> int:
        return len(self.latents)

    def __repr__(self) -> str:
        steps, width = self.latents.shape
        return (
            f"StepArrays(layer {self.layer}: {count(steps, 'step')} of "
            f"{count(len(self.keys), 'record')}, latents [{steps}, {width}])"
        )


def find(store: LatentStore, key: RecordKey | str) -> RecordKey:
    """Return the key of the committed record that a key, or its text, names.

    The text `ID` names the first sample of a problem, `ID#SAMPLE` any of them, as `str(key)` has
    it. Where an id itself ends like that, the sample goes before the problem.

    Raises:
        KeyError: there is no such record; the message names similar ones.
        ArgumentError: it is no key.
    """
    named = _named(key)
    found = next((one for one in named if _is_committed(store, one)), None)
    if found is None:
        raise KeyError(f"{store.location} holds no record {key}{_hint(store, named)}")
    return found


def keys_in(store: LatentStore, keys: Iterable[RecordKey | str] | RecordKey) -> Iterator[RecordKey]:
    """Yield the keys of the committed records that keys, or their texts, or one alone, name.

    Raises:
        KeyError, ArgumentError: as `find`.
    """
    return (find(store, key) for key in several(keys))


def several(keys: Iterable[RecordKey | str] | RecordKey) -> Iterable[RecordKey | str]:
    """Return keys, or one alone, as several.

    Raises:
        ArgumentError: they are neither.
    """
    if isinstance(keys, str | RecordKey):
        return [keys]
    if not isinstance(keys, Iterable):
        raise ArgumentError(f"keys: got {keys!r:.80}, expected RecordKeys, or their texts")
    return keys


def contains(store: LatentStore, item: object) -> bool:
    """Return whether a store holds a record, given it, its key or its key's text."""
    if isinstance(item, LatentRecord):
        item = item.key
    if not isinstance(item, RecordKey | str):
        return False
    return any(_is_committed(store, one) for one in _named(item))


def records(store: LatentStore) -> Iterator[LatentRecord]:
    """Yield the committed records in the store's order; the caller owns their arrays.

    Raises:
        StoreError: a record was removed in the meantime.
        DamagedRecordError: one does not match its checksum.
    """
    for key in store.keys():  # noqa: SIM118  not a mapping
        try:
            record = store.get(key)
        except KeyError:
            raise StoreError(
                f"{store.location}: {key} was removed while the store was read"
            ) from None
        yield record


def arrays(
    store: LatentStore, layer: int | None, keys: Iterable[RecordKey | str] | RecordKey | None
) -> StepArrays:
    """Return one layer's step latents as arrays; see `LatentStore.arrays`."""
    place, layer = layer_of(store, layer)
    wanted = list(store.keys() if keys is None else keys_in(store, keys))
    found = [store.entry(key) for key in wanted]
    steps = np.array([0 if entry is None else entry.steps for entry in found], np.int64)
    identity = store.identity
    assert identity is not None
    layers, width = len(identity.space.layers), identity.space.hidden_size
    latents = np.empty((int(steps.sum()), width), np.float32)
    prompts = np.empty((len(wanted), width), np.float32)
    row = 0
    for begin, stop in _parts(steps, layers * width):
        part = wanted[begin:stop]
        room = np.empty((len(part), layers, int(steps[begin:stop].max()), width), np.float32)
        prompt_room = np.empty((len(part), layers, width), np.float32)
        for i, size in enumerate(store.read_latents(part, room, prompt_room).tolist()):
            if size != steps[begin + i]:
                raise StoreError(f"{store.location}: {part[i]} changed while the store was read")
            latents[row : row + size] = room[i, place, :size]
            row += size
        prompts[begin:stop] = prompt_room[:, place]
    record = np.repeat(np.arange(len(wanted)), steps)
    step = np.arange(len(record)) - np.repeat(np.cumsum(steps) - steps, steps)
    return StepArrays(latents, prompts, record, step, tuple(wanted), layer)


def shown(store: LatentStore) -> str:
    """Return a store on one line, whatever state it is in."""
    try:
        facts = _facts(store)
    except RJepaError as error:
        return f"<{type(store).__name__} {error!s}>"
    return f"<{type(store).__name__} {store.location}: {', '.join(facts.values())}>"


def shown_html(store: LatentStore) -> str:
    """Return a store as a table for a notebook."""
    try:
        facts = _facts(store)
    except RJepaError as error:
        facts = {"state": str(error)}
    return html_table(f"{type(store).__name__} {store.location}", facts)


def _facts(store: LatentStore) -> dict[str, str]:
    stats, identity = store.stats(), store.identity
    facts = {
        "records": f"{count(stats.records, 'record')} of {count(stats.problems, 'problem')}",
        "steps": count(stats.steps, "step"),
    }
    if stats.failures:
        facts["failures"] = count(stats.failures, "failure")
    if identity is not None:
        space = identity.space
        layers = ", ".join(map(str, space.layers))
        name = identity.labels.get("model", "")
        facts["layers"] = f"layer{'s' if len(space.layers) > 1 else ''} {layers}" + (
            f" of {name}" if name else ""
        )
        facts["vectors"] = f"[{len(space.layers)}, S, {space.hidden_size}] {space.store_dtype}"
    return facts


def _named(key: RecordKey | str) -> list[RecordKey]:
    """Return the keys that a text may stand for, the likeliest first."""
    if isinstance(key, RecordKey):
        return [key]
    if not isinstance(key, str):
        raise ArgumentError(f"key: got {key!r:.80}, expected a RecordKey, or its text")
    sample = key_named(key)
    return [*([sample] if sample is not None else []), RecordKey(key)]


def _is_committed(store: LatentStore, key: RecordKey) -> bool:
    entry = store.entry(key)
    if entry is None or entry.failed:
        return False
    # An entry may be of what is not committed yet.
    try:
        next(iter(store.keys(after=key)), None)
    except KeyError:
        return False
    return True


def _hint(store: LatentStore, named: Sequence[RecordKey]) -> str:
    ids = {key.problem_id for key in named}
    keys = list(itertools.islice(store.keys(), _KEYS_SEARCHED))
    samples = [str(key) for key in keys if key.problem_id in ids][:_MOST_NAMED]
    if samples:
        return f"; of that problem it holds {', '.join(samples)}"
    failed = next((one for one in store.failures() if one.key in named), None)
    if failed is not None:
        return f"; it failed: {failed.reason}"
    return near_ids(store, named[-1].problem_id)


def near_ids(store: LatentStore, text: str) -> str:
    """Return the end of a message: similar ids, or else the number of records."""
    keys = itertools.islice(store.keys(), _KEYS_SEARCHED)
    near = difflib.get_close_matches(text, {key.problem_id: None for key in keys}, 3)
    return (
        f"; did you mean {' or '.join(near)}?"
        if near
        else f"; it has {count(len(store), 'record')}"
    )


def layer_of(store: LatentStore, wanted: int | None) -> tuple[int, int]:
    """Return a layer's position among the store's, and its absolute index.

    Raises:
        ArgumentError: the store holds no such layer, or several and none was named.
    """
    if store.identity is None:
        raise ArgumentError(f"{store.location}: holds no records, so that it has no arrays")
    layers = store.identity.space.layers
    has = ", ".join(map(str, layers))
    if wanted is None:
        if len(layers) > 1:
            raise ArgumentError(f"layer: {store.location} holds layers {has}; choose one")
        return 0, layers[0]
    if wanted not in layers:
        negative = isinstance(wanted, int) and wanted < 0
        hint = " (layers are absolute indices here)" if negative else ""
        raise ArgumentError(
            f"layer: {store.location} holds no layer {wanted!r:.80}{hint}; it has {has}"
        )
    return layers.index(wanted), wanted


def _parts(steps: NDArray[np.int64], width: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of records, small enough to be read together."""
    begin, most = 0, 0
    for place, size in enumerate(steps.tolist()):
        most = max(most, size)
        rows = place + 1 - begin
        if place > begin and (rows > _MOST_READ or rows * most * width > _READ_VALUES):
            yield begin, place
            begin, most = place, size
    if len(steps):
        yield begin, len(steps)
