"""A sequence that a world model refuses: it spoils no other one's answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..domain.trace import RecordKey
from ..errors import InputError, NotFiniteError
from ..ports.world_model import Context, Floats, LatentSequence, WorldModel

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
