"""Score records: surprise per step, and which of them a world model refuses."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import attrs
import numpy as np

from ..domain.trace import RecordKey
from ..errors import ArgumentError, InputError, NotFiniteError
from ..ports.store import LatentStore
from ..ports.world_model import Context, Floats, LatentSequence, WorldModel, WorldModelInfo
from ..stores import layer_in
from .text_encoder import sequence_of

T = TypeVar("T")
# Sequences given to a world model at once, and their steps; one alone may have more.
_BATCH, _BATCH_STEPS = 256, 16_384
# How the surprise of a whole is made from that of its steps.
MEAN, MAX = "mean", "max"
MEASURES = (MEAN, MAX)


@attrs.frozen(eq=False)
class Scored:
    """A record's surprise.

    Attributes:
        key: of the record.
        surprise: float32 [S], one a step.
        percentiles: [S], share in percent of validation's steps, in traces of as many steps, that
            surprised less; None where there is nothing to compare with (see `percentile`).
    """

    key: RecordKey
    surprise: Floats
    percentiles: tuple[float, ...] | None


def score(
    store: LatentStore,
    keys: Iterable[RecordKey],
    world_model: WorldModel,
    context: Context = Context.OTHERS,
) -> Iterator[Scored]:
    """Surprise of stored records, in the order of the keys, batch by batch.

    Raises:
        IdentityError: the store is of another latent space than the world model.
        KeyError, DamagedRecordError: as `LatentStore.get`.
        InputError: a record cannot be scored; the message names its key.
    """
    info = world_model.info
    layer = layer_in(store, info.space, info.location)
    read = ((key, sequence_of(store.get(key), layer)) for key in keys)
    for batch in in_batches(read, lambda one: len(one[1].latents)):
        rows = surprise_each(world_model, [sequence for _, sequence in batch], context)
        for (key, _), found in zip(batch, rows, strict=True):
            if isinstance(found, InputError):
                raise type(found)(f"{store.location}: {key}: {reason_of(found)}")
            yield Scored(key, found, percentiles(info, found))


def in_batches(items: Iterable[T], steps: Callable[[T], int]) -> Iterator[list[T]]:
    """Items in batches that memory holds, however many steps some of them have."""
    batch: list[T] = []
    total = 0
    for one in items:
        batch.append(one)
        total += steps(one)
        if len(batch) == _BATCH or total >= _BATCH_STEPS:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def check_finite(rows: Iterable[Floats], first: int = 0) -> None:
    """Refuse what a world model made of sequences, `first` the number of the first, if it is none.

    Raises:
        NotFiniteError: a value is NaN or infinite; finite latents can be too large for float32.
    """
    for number, row in enumerate(rows, first):
        if not np.isfinite(row).all():
            raise NotFiniteError(
                f"sequence {number}: the model's result is not finite; its values are too large"
            )


def whole(surprise: Floats, by: str = MEAN) -> float:
    """The surprise of a whole solution from that of its steps [S]: their mean, or the largest."""
    if by not in MEASURES:
        raise ArgumentError(f"by: got {by!r}, expected one of {', '.join(MEASURES)}")
    return float(surprise.mean(dtype=np.float64) if by == MEAN else surprise.max())


def order(scores: Sequence[float]) -> list[int]:
    """Places of the scores from the least surprising to the most; equal ones as they came."""
    return sorted(range(len(scores)), key=scores.__getitem__)


def percentiles(info: WorldModelInfo, surprise: Floats) -> tuple[float, ...] | None:
    """Where each step's surprise [S] stands among those of validation; see `percentile`."""
    places = [percentile(info, len(surprise), float(value)) for value in surprise]
    known = tuple(place for place in places if place is not None)
    return known if len(known) == len(places) else None


def percentile(info: WorldModelInfo, steps: int, surprise: float) -> float | None:
    """Where a step's surprise stands among those of validation, 0 to 100.

    Traces of as many steps are compared with, or all where validation had none of that length. None
    where the world model keeps no quantiles; and for a lone step, which has no other one to be
    predicted from, where validation had no lone steps.
    """
    values = info.quantiles.get(steps) or (info.quantiles.get(0) if steps > 1 else None)
    if not values:
        return None
    return 100.0 * bisect.bisect_left(values, surprise) / len(values)


# Records that are named one by one.
_NAMED = 5
_NOT_FINITE = "the model's result is not finite; the values of its latents are too large"


def surprise_each(
    world_model: WorldModel, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
) -> list[Floats | InputError]:
    """Surprise [S] a sequence, or why there is none."""
    found = each_by_itself(lambda some: world_model.surprise(some, context), sequences)
    return [
        row if isinstance(row, InputError) or np.isfinite(row).all() else NotFiniteError()
        for row in found
    ]


def each_by_itself(
    ask: Callable[[Sequence[LatentSequence]], Sequence[Floats]],
    sequences: Sequence[LatentSequence],
) -> list[Floats | InputError]:
    """What a world model answers on each sequence, or its error where it refuses one; asked on all
    of them at once."""
    if not sequences:
        return []
    try:
        return list(ask(sequences))
    except InputError as error:
        if len(sequences) == 1:
            return [error]
        half = len(sequences) // 2
        return each_by_itself(ask, sequences[:half]) + each_by_itself(ask, sequences[half:])


def reason_of(error: InputError) -> str:
    """Why a sequence was refused that a world model was asked on by itself."""
    if isinstance(error, NotFiniteError):
        return _NOT_FINITE
    return str(error).removeprefix("sequence 0: ")


def named(reasons: Mapping[RecordKey, str], what: str) -> list[str]:
    """For people: the first few records, `what` is done to them, and why; and how many others."""
    lines = [f"{key}: {what}: {reason}" for key, reason in [*reasons.items()][:_NAMED]]
    if len(reasons) > _NAMED:
        lines.append(f"{len(reasons) - _NAMED:,} other records: {what}")
    return lines
