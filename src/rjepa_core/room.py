"""How much room a run will need, told before it starts."""

from __future__ import annotations

import attrs

from .errors import NoRoomError
from .identity import Identity
from .latents import STORE_DTYPES
from .ports.latent_store import StoreStats
from .ports.store_tools import StoreTools
from .rehearsal import Trial
from .settings import ExtractionSettings
from .worklist import Survey

# Until something is stored: what GSM8K answers look like.
_STEPS, _TOKENS_A_STEP, _SHARE_OF_LONGEST, _CHARACTERS_A_TOKEN = 8.0, 40, 0.7, 4
_ENOUGH_RECORDS = 20


@attrs.frozen
class Room:
    """What a run is expected to store, and what there is for it.

    Attributes:
        records: that the run is to add.
        steps: expected of each, on average.
        needed, free: bytes.
    """

    records: int
    steps: float
    needed: int
    free: int

    @property
    def enough(self) -> bool:
        return self.needed <= self.free


def expected_room(
    tools: StoreTools,
    place: str,
    identity: Identity,
    settings: ExtractionSettings,
    survey: Survey,
    stored: StoreStats,
    missing: int,
) -> Room:
    """What `missing` more records will take.

    A store that holds some already tells what one takes; otherwise it is a guess from the shape of
    the vectors, the length of the statements and the longest completion.
    """
    free = tools.room_free(place)
    if stored.records >= _ENOUGH_RECORDS and stored.bytes_on_disk:
        each, steps = stored.bytes_on_disk / stored.records, stored.steps / stored.records
        return Room(missing, steps, round(each * missing), free)
    characters = survey.characters / max(1, survey.work)
    tokens = characters / _CHARACTERS_A_TOKEN
    answer = tokens
    if not settings.problems.traces:
        answer = settings.sampling.max_new_tokens * _SHARE_OF_LONGEST
        tokens += answer
        characters += answer * _CHARACTERS_A_TOKEN
    steps = max(_STEPS, answer / _TOKENS_A_STEP)
    # The completion is kept whole and by steps, the statement alone and in its prompt.
    content = _vectors(identity, steps) + 2 * characters + 4 * tokens
    needed = max(tools.room_needed(identity, missing, steps), round(content * missing))
    return Room(missing, steps, needed, free)


def room_after_trial(
    tools: StoreTools, place: str, identity: Identity, trial: Trial, missing: int
) -> Room:
    """What `missing` more records like those of a trial will take."""
    steps = trial.progress.steps / max(1, trial.progress.records)
    needed = tools.room_needed(identity, missing, steps)
    needed = max(needed, round(trial.bytes_per_record * missing))
    return Room(missing, steps, needed, tools.room_free(place))


def check_room(room: Room | None, where: str, force: bool) -> None:
    """Refuse a run that the disk cannot hold, unless it is forced.

    Raises:
        NoRoomError: saying how much is needed and how much there is.
    """
    if room is None or room.enough or force:
        return
    raise NoRoomError(
        f"{where}: {room.records:,} records of about {room.steps:.0f} steps need about "
        f"{size(room.needed)} and the disk has {size(room.free)} free; make room, use another "
        "--store, or begin all the same with --force (--dry-run measures the need)"
    )


def size(count: float) -> str:
    """Bytes in the unit that suits."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or (unit == "B" and count < 10_000):
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def _vectors(identity: Identity, steps: float) -> float:
    space = identity.space
    values = len(space.layers) * space.hidden_size * (steps + 1)
    return values * STORE_DTYPES[space.store_dtype].itemsize
