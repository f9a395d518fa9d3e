"""What a run will take: from what is known, and refused only where it is certain not to fit."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from rjepa_core.errors import NoRoomError
from rjepa_core.extraction.dry_run import DiskRoom, check_room, expected_room
from rjepa_core.extraction.work import Survey
from rjepa_core.ports.store import StoreStats
from rjepa_core.settings.extraction import ExtractionSettings, ProblemSettings, SamplingSettings
from rjepa_core.settings.templates import DEFAULT_TEMPLATES
from rjepa_core.testing.samples import sample_identity

WIDTH = 1000
IDENTITY = sample_identity(1, WIDTH, "float16")
VECTOR = 2 * WIDTH


class Tools:
    """A store that takes the vectors and 3,000 bytes a record."""

    def room_needed(self, identity: Any, records: int, steps: float = 8.0) -> int:
        return round(records * (VECTOR * (steps + 1) + 3000))

    def room_free(self, location: str) -> int:
        return 10**6


def room(
    missing: int = 100,
    stored: StoreStats | None = None,
    longest: int = 300,
    steps: int = 0,
    characters: int = 40,
    traces: bool = False,
) -> DiskRoom:
    settings = ExtractionSettings(
        model="m",
        store="s",
        problems=ProblemSettings(traces=("x",) if traces else ()),
        sampling=SamplingSettings(max_new_tokens=longest),
    )
    survey = Survey(missing, missing, 0, {}, characters * missing, None, steps * missing)
    tools: Any = Tools()
    return expected_room(tools, "s", IDENTITY, settings, survey, stored or StoreStats(), missing)


@pytest.mark.parametrize(
    ("longest", "steps"), [(1, 1), (10, 1.4), (40, 5.6), (300, 8), (8000, 140)]
)
def test_a_guess_has_no_more_steps_than_the_longest_completion(longest: int, steps: float) -> None:
    found = room(longest=longest)
    assert (found.steps, found.known) == (pytest.approx(steps), False)
    assert found.needed >= 100 * VECTOR * (steps + 1)
    template = min(map(len, DEFAULT_TEMPLATES.values()))
    assert found.least == 100 * (2 * VECTOR + 40 + template), "one step, the prompt, its text"


def test_given_solutions_tell_their_steps() -> None:
    found = room(steps=2, traces=True)
    assert (found.steps, found.needed) == (2, 100 * (3 * VECTOR + 3000))


def test_a_few_records_tell_the_steps() -> None:
    found = room(stored=StoreStats(2, 2, 3, 60, 0, 10**6))
    assert (found.steps, found.known) == (1.5, False)
    assert found.needed == 100 * (2.5 * VECTOR + 3000)


def test_enough_records_tell_all() -> None:
    found = room(stored=StoreStats(50, 50, 75, 60, 0, 50 * 6000))
    assert (found.steps, found.known, found.needed) == (1.5, True, 100 * 6000)
    assert found.least == 100 * (2.5 * VECTOR + 40)


def test_room_that_removed_records_left_is_used_again() -> None:
    each = 2 * (2.5 * VECTOR + 3000)
    found = room(stored=StoreStats(50, 50, 75, 60, 0, 10**7))
    assert found.needed == found.least == 0
    found = room(stored=StoreStats(50, 50, 75, 60, 0, round(51 * each)))
    assert found.needed == round(99 * each)


def test_only_what_is_certain_is_refused() -> None:
    guessed = room(missing=200)
    assert guessed.least < guessed.free < guessed.needed
    assert not guessed.enough
    check_room(guessed, "s", force=False)
    with pytest.raises(NoRoomError) as told:
        check_room(room(missing=1000), "s", force=False)
    assert str(told.value).startswith(
        "s: 1,000 records of about 8 steps need about 21.0 MB and the disk has 1.0 MB free; even "
        "of one step each they need 4.2 MB; make room"
    )
    check_room(room(missing=1000), "s", force=True)
    known = room(missing=1000, stored=StoreStats(50, 50, 75, 60, 0, 50 * 6000))
    with pytest.raises(NoRoomError, match=r"of about 2 steps need about 6\.0 MB and .* free; make"):
        check_room(known, "s", force=False)
    check_room(attrs.evolve(known, free=known.least), "s", force=False)
