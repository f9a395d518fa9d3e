"""The journal of a run: points and decisions, taken bit by bit, and read back as past runs."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from rjepa_core.extraction.history import KIND, Journal, past_runs
from rjepa_core.ports.backend import Observation
from rjepa_core.ports.executor import Progress
from rjepa_core.ports.probe import MemoryReading
from rjepa_core.ports.scheduler import Decision


def progress(
    tokens: int, rows: int = 8, phase: str = "generate", used: int | None = None
) -> Progress:
    memory = None if used is None else MemoryReading(used, 2 * used)
    seen = Observation(phase, rows, 0, 0, 1.0, memory=memory)  # type: ignore[arg-type]
    return Progress(new_tokens=tokens, last=seen)


def test_speed_is_what_came_since_the_last_point() -> None:
    journal = Journal("r")
    journal.see(10.0, progress(1000, rows=16, used=50))
    journal.see(20.0, progress(4000, rows=8, used=60))
    entry = journal.take(20.0)
    assert entry is not None
    assert entry["points"] == [[10.0, 16, 100.0, 50, 100], [20.0, 8, 300.0, 60, 120]]
    assert journal.take(21.0) is None


def test_rows_are_those_of_generating_where_something_is_generated() -> None:
    journal = Journal("r")
    journal.see(5.0, progress(10, rows=16))
    journal.see(10.0, progress(20, rows=2, phase="encode"))
    given_only = Journal("s")
    given_only.see(5.0, progress(0, rows=30, phase="encode"))
    assert [point[1] for point in (journal.take(10.0) or {})["points"]] == [16, 16]
    assert [point[1] for point in (given_only.take(5.0) or {})["points"]] == [30]


def test_a_night_has_some_hundred_points_and_entries() -> None:
    journal, entries, seconds, tokens = Journal("r"), [], 0.0, 0
    while seconds < 34 * 3600:
        seconds, tokens = seconds + 10, tokens + 5000
        journal.see(seconds, progress(tokens))
        if journal.due(seconds):
            entries.append(journal.take(seconds))
    points = [point for entry in entries if entry for point in entry["points"]]
    assert 100 < len(points) < 1500
    assert 50 < len(entries) < 500
    assert all(point[2] == 500 for point in points)


@given(
    st.lists(
        st.tuples(st.floats(0.1, 600), st.integers(0, 9000), st.integers(1, 64), st.booleans()),
        max_size=60,
    )
)
def test_nothing_is_lost_between_entries(steps: list[tuple[float, int, int, bool]]) -> None:
    """Whenever entries are taken, the story has every decision, and its speeds add up."""
    journal, history, seconds, tokens, changes = Journal("r"), [], 0.0, 0, 0
    for length, new, rows, change in steps:
        seconds, tokens = seconds + length, tokens + new
        if change:
            changes += 1
            journal.decided(seconds, Decision(rows, rows + 1, "trial", "why"))
        journal.see(seconds, progress(tokens, rows))
        if journal.due(seconds):
            history.append(journal.take(seconds))
    if (rest := journal.take(seconds)) is not None:
        history.append(rest)
    assert json.loads(json.dumps(history)) == history
    told = past_runs([entry for entry in history if entry])
    if not history:
        assert told == []
        return
    (story,) = told
    assert story.entry is None
    assert len(story.changes) == changes
    ends = [point.at for point in story.points]
    assert ends == sorted(ends)


def test_a_killed_run_has_a_story_and_others_keep_theirs() -> None:
    killed, whole = (
        Journal("2026-01-01T00:00:00.000+00:00"),
        Journal("2026-01-02T00:00:00.000+00:00"),
    )
    for journal in (killed, whole):
        journal.see(30.0, progress(100))
        journal.decided(31.0, Decision(16, 8, "slower", "x"))
    history = [
        killed.take(70.0),
        {"kind": "merge", "added": 1},
        whole.take(40.0),
        {"kind": "extract", "started": "2026-01-02T00:00:00.000+00:00", "seconds": 50.0},
        {"kind": "extract", "started": "2026-01-03T00:00:00.000+00:00", "seconds": 5.0},
    ]
    told = past_runs([entry for entry in history if entry])
    assert [story.started[:10] for story in told] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert [story.seconds for story in told] == [70.0, 50.0, 5.0]
    assert [story.entry is None for story in told] == [True, False, False]
    assert told[0].changes[0]["reason"] == "slower"
    assert (history[0] or {})["kind"] == KIND
    assert told[2].points == ()
