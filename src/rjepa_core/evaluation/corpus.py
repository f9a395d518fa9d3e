"""Stored records as the evaluation needs them: one layer, one split, float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs
import numpy as np

from ..domain.identity import LatentSpace, known_together
from ..domain.problem import Split, split_of
from ..domain.trace import RecordKey, Trace
from ..errors import InputError
from ..ports.store import Entry, LatentStore
from ..ports.world_model import LatentSequence
from ..scoring import sequence_of
from ..stores import layer_in
from .statistics import Doubles, Ints

Tick = Callable[[int], None]
# Steps read at once while the training part goes by.
_STEPS_AT_ONCE = 2048


@attrs.frozen(eq=False)
class Sample:
    """A record, read for evaluation.

    Attributes:
        trace: the trace.
        sequence: its latents in the world model's layer.
        logprobs: float64 [S], or None where the store keeps none.
    """

    trace: Trace
    sequence: LatentSequence
    logprobs: Doubles | None

    @property
    def problem(self) -> str:
        """Hash of the statement, by which problems are told apart."""
        return self.trace.problem.statement_hash

    @property
    def steps(self) -> int:
        return len(self.sequence.latents)


@attrs.frozen
class Place:
    """A record in one of several stores."""

    store: int
    key: RecordKey
    entry: Entry


def read(store: LatentStore, key: RecordKey, layer: int) -> Sample:
    """A record of a store, in the layer at that place."""
    record = store.get(key)
    kept = None if record.logprobs is None else np.asarray(record.logprobs, np.float64)
    return Sample(record.trace, sequence_of(record, layer), kept)


class Corpus:
    """Stores of one latent space, read in the layer of the world models.

    Args:
        stores: open, closed by the caller.
        space: of the world models.
        owner: whose space it is, for messages.
        min_steps: shortest trace that is used.
        max_steps: longest trace that is used; None uses all.
    """

    def __init__(
        self,
        stores: Sequence[LatentStore],
        space: LatentSpace,
        owner: str,
        min_steps: int = 2,
        max_steps: int | None = None,
    ) -> None:
        self.stores = stores
        self.space = space
        self.max_steps = max_steps
        self.layers = []
        for store in stores:
            self.layers.append(layer_in(store, self.space, owner))
            # What the world models do not know of their space the stores must agree on.
            identity = store.identity
            assert identity is not None
            self.space = known_together(self.space, identity.space)
        self._places: dict[Split, list[Place]] = {split: [] for split in Split}
        # Each with the number of places before it.
        self._too_long: dict[Split, list[tuple[int, Place]]] = {split: [] for split in Split}
        for i, store in enumerate(stores):
            for key, entry in store.entries():
                place, split = Place(i, key, entry), split_of(entry.statement_hash)
                if self.is_too_long(entry):
                    self._too_long[split].append((len(self._places[split]), place))
                elif entry.steps >= min_steps:
                    self._places[split].append(place)
        if not any(self._places.values()):
            raise InputError(
                f"{self.location}: no trace has {min_steps} steps or more"
                + ("" if max_steps is None else f", and {max_steps:,} at most")
                + "; there is nothing to evaluate"
            )

    @property
    def location(self) -> str:
        """Where the stores are, for messages."""
        return ", ".join(store.location for store in self.stores)

    def statements(self, split: Split) -> set[str]:
        """Hashes of the statements in a split."""
        return {place.entry.statement_hash for place in self._places[split]}

    def is_too_long(self, entry: Entry) -> bool:
        """Whether a trace has more steps than are used."""
        return self.max_steps is not None and entry.steps > self.max_steps

    def too_long(self, split: Split, limit: int | None = None) -> list[Place]:
        """The records of a split that are left out, among the first so many places."""
        return [p for before, p in self._too_long[split] if limit is None or before < limit]

    def places(self, split: Split, limit: int | None = None) -> list[Place]:
        """The records of a split, in the stores' order.

        Raises:
            InputError: there are none.
        """
        found = self._places[split][:limit]
        if not found:
            raise InputError(
                f"{self.location}: no problem of its belongs to the {split.value} part, with two "
                "steps or more; use larger stores"
            )
        return found

    def samples(self, places: Sequence[Place], tick: Tick = lambda done: None) -> list[Sample]:
        """The records at these places, texts and all."""
        found = []
        for number, place in enumerate(places, 1):
            found.append(read(self.stores[place.store], place.key, self.layers[place.store]))
            tick(number)
        return found

    def latents(
        self, places: Sequence[Place], tick: Tick = lambda done: None
    ) -> Iterator[list[LatentSequence]]:
        """The latents alone, in batches of about equal lengths; the whole is never in memory, nor
        more than `_STEPS_AT_ONCE` steps, those that fill rows up included, but for one trace."""
        order = sorted(places, key=lambda place: (place.store, place.entry.steps))
        done = 0
        while done < len(order):
            first = order[done]
            rows = max(1, _STEPS_AT_ONCE // order[min(done + 255, len(order) - 1)].entry.steps)
            batch = [p for p in order[done : done + rows] if p.store == first.store]
            # The longest is the last one.
            while len(batch) > 1 and len(batch) * batch[-1].entry.steps > _STEPS_AT_ONCE:
                batch.pop()
            yield self._batch(batch)
            done += len(batch)
            tick(done)

    def _batch(self, batch: Sequence[Place]) -> list[LatentSequence]:
        store, layer = self.stores[batch[0].store], self.layers[batch[0].store]
        assert store.identity is not None
        layers, width = len(store.identity.space.layers), self.space.hidden_size
        longest = max(place.entry.steps for place in batch)
        latents = np.empty((len(batch), layers, longest, width), np.float32)
        prompts = np.empty((len(batch), layers, width), np.float32)
        counts = store.read_latents([place.key for place in batch], latents, prompts)
        return [
            LatentSequence(latents[row, layer, :count], prompts[row, layer])
            for row, count in enumerate(counts)
        ]


def problem_numbers(samples: Sequence[Sample]) -> tuple[Ints, int]:
    """int64 [N]: the problem of each sample, numbered by statement; and how many there are."""
    names = sorted({sample.problem for sample in samples})
    numbers = {name: number for number, name in enumerate(names)}
    return np.array([numbers[sample.problem] for sample in samples], np.int64), len(names)


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else f"{text[: limit - 10]}…{text[-8:]}"
