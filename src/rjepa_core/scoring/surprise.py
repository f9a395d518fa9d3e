"""Score records: surprise and verdict, or the reason why a world model refuses a record."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import attrs
import numpy as np

from ..domain.floors import FEWEST_COMPARED
from ..domain.trace import RecordKey
from ..errors import ArgumentError, InputError, NotFiniteError, UsageError
from ..plugins import given_store, given_world_model
from ..ports.store import LatentStore
from ..ports.views import find, several
from ..ports.world_model import (
    Context,
    Floats,
    LatentSequence,
    Verification,
    WorldModel,
    WorldModelInfo,
)
from ..stores import layer_in
from ..text import brief, count, shortened
from .text_encoder import sequence_of

if TYPE_CHECKING:
    from os import PathLike

T = TypeVar("T")
R = TypeVar("R")
# Most sequences in a batch, and number of steps at which it is full.
_BATCH, _BATCH_STEPS = 256, 16_384
# How the surprise of a solution is computed from that of its steps.
MEAN, MAX = "mean", "max"
# Above this probability, a step is probably wrong.
_PROBABLE = 0.5
# From this percentile on, a step's surprise is high: worth pointing out, and asking what was
# expected instead. By definition that is so of 5 % of validation's steps.
HIGH_PERCENTILE = 95.0


@attrs.frozen(eq=False)
class Judgement:
    """What a world model says about a sequence.

    Attributes:
        surprise: float32 [S], one per step.
        verdict: None if it is no verifier.
    """

    __repr__ = brief

    surprise: Floats
    verdict: Verification | None = None


@attrs.frozen(eq=False)
class Scored:
    """A record's surprise, and a verifier's verdict on it.

    Attributes:
        key: of the record.
        surprise: float32 [S], one per step.
        percentiles: [S], percentage of validation steps with less surprise; None if there is
            nothing to compare with (see `comparison`).
        verdict: None if the world model is no verifier.
    """

    key: RecordKey
    surprise: Floats
    percentiles: tuple[float, ...] | None
    verdict: Verification | None = None

    def __repr__(self) -> str:
        right = "" if self.verdict is None else f", right {self.verdict.right:.2f}"
        return f"Scored({shortened(str(self.key), 60)!r}: {surprise_text(self.surprise)}{right})"


def surprise_text(surprise: Floats) -> str:
    """Return how many steps there are, and their surprise in short."""
    steps = count(len(surprise), "step")
    if not len(surprise):
        return steps
    return (
        f"{steps}, surprise {surprise.mean():.4g}, most {surprise.max():.4g} in step "
        f"{int(surprise.argmax())}"
    )


def score(
    store: LatentStore | str | PathLike[str],
    keys: Iterable[RecordKey | str] | RecordKey,
    world_model: WorldModel | str | PathLike[str],
    context: Context = Context.OTHERS,
) -> Iterator[Scored]:
    """Yield surprise and verdict of stored records, in the order of the keys.

    Args:
        store: whose records are scored, or its location.
        keys: of the records, or their texts, or one alone.
        world_model: of the store's latent space, or its location.
        context: which steps a step is predicted from: all others, or the past alone.

    Returns:
        An iterator: of each record its surprise, float32 [S] (mean squared error in the target
        space, no unit), its percentiles (0 to 100) among those of validation, and the verdict.

    Raises:
        IdentityError: the store is of another latent space than the world model.
        UsageError: it has no log-probabilities, and the world model needs them.
        KeyError, DamagedRecordError: as `LatentStore.get`.
        InputError: a record cannot be scored; the message names its key.
    """
    with given_store(store) as opened, given_world_model(world_model) as judge:
        yield from _score(opened, keys, judge, context)


def _score(
    store: LatentStore,
    keys: Iterable[RecordKey | str] | RecordKey,
    world_model: WorldModel,
    context: Context,
) -> Iterator[Scored]:
    info = world_model.info
    layer = layer_in(store, info.space, info.location)
    check_logprobs(store, info)
    wanted = (key if isinstance(key, RecordKey) else find(store, key) for key in several(keys))
    read = ((key, sequence_of(store.get(key), layer)) for key in wanted)
    for batch in in_batches(read, lambda item: len(item[1].latents)):
        found = judge_each(world_model, [sequence for _, sequence in batch], context)
        for (key, _), one in zip(batch, found, strict=True):
            if isinstance(one, InputError):
                raise type(one)(f"{store.location}: {key}: {reason_of(one)}")
            yield Scored(key, one.surprise, percentiles(info, one.surprise), one.verdict)


def in_batches(items: Iterable[T], steps: Callable[[T], int]) -> Iterator[list[T]]:
    """Yield items in batches that fit into memory, whatever their number of steps."""
    batch: list[T] = []
    total = 0
    for item in items:
        batch.append(item)
        total += steps(item)
        if len(batch) == _BATCH or total >= _BATCH_STEPS:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def check_finite(rows: Iterable[Floats], first: int = 0) -> None:
    """Refuse results of a world model that are not finite; `first` is the first one's number.

    Raises:
        NotFiniteError: a value is NaN or infinite; finite latents can be too large for float32.
    """
    for number, row in enumerate(rows, first):
        if not np.isfinite(row).all():
            raise NotFiniteError(
                f"sequence {number}: the model's result is not finite; its values are too large"
            )


def whole(surprise: Floats, by: str = MEAN) -> float:
    """Return the surprise of a solution from that of its steps [S]: the mean or the maximum."""
    if by not in (MEAN, MAX):
        raise ArgumentError(f"by: got {by!r}, expected one of {MEAN}, {MAX}")
    return float(surprise.mean(dtype=np.float64) if by == MEAN else surprise.max())


def order(scores: Sequence[float]) -> list[int]:
    """Return the indices of scores from the least surprising to the most; the sort is stable."""
    return sorted(range(len(scores)), key=scores.__getitem__)


def percentiles(info: WorldModelInfo, surprise: Floats) -> tuple[float, ...] | None:
    """Return the percentile of each step's surprise [S] in validation; see `percentile`."""
    found = [percentile(info, len(surprise), float(value)) for value in surprise]
    known = tuple(value for value in found if value is not None)
    return known if len(known) == len(found) else None


def percentile(info: WorldModelInfo, steps: int, surprise: float) -> float | None:
    """Return the percentile, 0 to 100, of a step's surprise among those of validation.

    The result is None if there is nothing to compare with (see `comparison`).
    """
    found = comparison(info, steps)
    if found is None:
        return None
    return 100.0 * bisect.bisect_left(found.values, surprise) / len(found.values)


@attrs.frozen
class Comparison:
    """The steps of validation that percentiles of a trace are among.

    Attributes:
        steps: of the traces that they are of; None for traces of all lengths.
        traces: how many these are; None if the world model does not know.
        values: their percentiles.
    """

    steps: int | None
    traces: int | None
    values: tuple[float, ...] = attrs.field(repr=False)

    def __str__(self) -> str:
        many = "" if self.traces is None else f"{self.traces:,} "
        length = "any length" if self.steps is None else count(self.steps, "step")
        return f"of the steps of {many}validation solutions of {length}"


def comparison(info: WorldModelInfo, steps: int) -> Comparison | None:
    """Return what the steps of a trace are compared with: traces of as many steps, or all if
    validation had too few of that length.

    The result is None if it had too few at all (`FEWEST_COMPARED`), if the world model has no
    quantiles, and for the only step of a trace, which has no others to be predicted from, if
    validation had too few such traces.
    """
    for key in (steps, 0) if steps > 1 else (steps,):
        values, traces = info.quantiles.get(key), info.compared.get(key)
        if values and (traces is None or traces >= FEWEST_COMPARED):
            return Comparison(key or None, traces, values)
    return None


# Number of records that are named individually.
_NAMED = 5
_NOT_FINITE = "the model's result is not finite; the values of its latents are too large"


def judge_each(
    world_model: WorldModel, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
) -> list[Judgement | InputError]:
    """Return the surprise of each sequence, with a verifier's verdict, or the error for it."""
    found: list[Judgement | InputError] = [
        one if isinstance(one, InputError) else Judgement(one)
        for one in surprise_each(world_model, sequences, context)
    ]
    if not world_model.info.verifies:
        return found
    verdicts = call_each(world_model.verify, sequences)
    for place, (one, verdict) in enumerate(zip(found, verdicts, strict=True)):
        if isinstance(one, InputError):
            continue
        if isinstance(verdict, Verification):
            finite = np.isfinite(verdict.wrong).all() and np.isfinite(verdict.right)
            found[place] = Judgement(one.surprise, verdict) if finite else NotFiniteError()
        else:
            found[place] = verdict
    return found


def wrong_step(verdict: Verification) -> int | None:
    """Return the step that is wrong with the highest probability; None if that is 0.5 or less."""
    place = int(verdict.wrong.argmax())
    return place if verdict.wrong[place] > _PROBABLE else None


def check_logprobs(store: LatentStore, info: WorldModelInfo) -> None:
    """Refuse a store without the log-probabilities that a verifier needs.

    Raises:
        UsageError: it keeps none, so that none of its records can be scored.
    """
    if info.needs_logprobs and store.identity is not None and not store.identity.logprobs:
        raise UsageError(
            f"{store.location}: its records have no log-probabilities, and {info.location} needs "
            "them; encode them with encoding.logprobs, or train a verifier with "
            "model.logprobs=false"
        )


def surprise_each(
    world_model: WorldModel, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
) -> list[Floats | InputError]:
    """Return the surprise [S] of each sequence, or the error for it."""
    rows = call_each(lambda part: world_model.surprise(part, context), sequences)
    return [
        row if isinstance(row, InputError) or np.isfinite(row).all() else NotFiniteError()
        for row in rows
    ]


def call_each(
    call: Callable[[Sequence[LatentSequence]], Sequence[R]],
    sequences: Sequence[LatentSequence],
) -> list[R | InputError]:
    """Return a world model's result for each sequence, or its error if it refuses the sequence.

    All are passed in one call; after an error the halves are tried separately.
    """
    if not sequences:
        return []
    try:
        return list(call(sequences))
    except InputError as error:
        if len(sequences) == 1:
            return [error]
        half = len(sequences) // 2
        return call_each(call, sequences[:half]) + call_each(call, sequences[half:])


def reason_of(error: InputError) -> str:
    """Return why a sequence that was passed alone was refused."""
    if isinstance(error, NotFiniteError):
        return _NOT_FINITE
    return str(error).removeprefix("sequence 0: ")


def named(reasons: Mapping[RecordKey, str], what: str) -> list[str]:
    """Return lines that name the first few records, what happens to them (`what`) and why, and
    count the others."""
    lines = [f"{key}: {what}: {reason}" for key, reason in [*reasons.items()][:_NAMED]]
    if len(reasons) > _NAMED:
        lines.append(f"{len(reasons) - _NAMED:,} other records: {what}")
    return lines
