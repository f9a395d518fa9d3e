"""The scoring use case: records in, surprise per step out."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import attrs
import numpy as np

from .errors import ArgumentError, NotFiniteError
from .evaluation.reading import layer_in
from .ports.latent_store import LatentStore
from .ports.world_model import Context, Floats, LatentSequence, WorldModel, WorldModelInfo
from .traces import RecordKey

_BATCH = 256
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
        NotFiniteError: a surprise is not finite.
    """
    info = world_model.info
    layer = layer_in(store, info.space, info.location)
    waiting = iter(keys)
    while batch := list(islice(waiting, _BATCH)):
        sequences = []
        for key in batch:
            record = store.get(key)
            latents, prompt = record.latents[layer], record.prompt_latent[layer]
            domain = record.trace.problem.domain
            sequences.append(
                LatentSequence(latents.astype(np.float32), prompt.astype(np.float32), domain)
            )
        rows = world_model.surprise(sequences, context)
        check_finite(rows)
        for key, found in zip(batch, rows, strict=True):
            yield Scored(key, found, percentiles(info, found))


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


def surprise_each(
    world_model: WorldModel, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
) -> list[Floats | None]:
    """Surprise [S] a sequence; None where it is not finite, which spoils no other one's.

    Raises:
        InputError: as `WorldModel.surprise`.
    """
    if not sequences:
        return []
    try:
        rows = world_model.surprise(sequences, context)
    except NotFiniteError:
        if len(sequences) == 1:
            return [None]
        half = len(sequences) // 2
        parts = (sequences[:half], sequences[half:])
        return [row for part in parts for row in surprise_each(world_model, part, context)]
    return [row if np.isfinite(row).all() else None for row in rows]


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
