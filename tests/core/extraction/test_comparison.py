"""What a store holds of a run's work, found while the sources are read once."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rjepa_core.domain.problem import GivenSolution, Problem
from rjepa_core.domain.trace import Failure, RecordKey
from rjepa_core.errors import InputError, StatementChangedError
from rjepa_core.extraction.comparison import StoredEntries, missing, read_once, remaining
from rjepa_core.extraction.queue import WINDOW
from rjepa_core.extraction.work import Worklist
from rjepa_core.ports.source import SourceRow
from rjepa_core.ports.store import Entry


@attrs.define
class Rows:
    """A source in memory; `reads` counts how often it was opened."""

    items: list[SourceRow]
    reads: int = 0

    def rows(self):
        self.reads += 1
        yield from self.items


def row(name, statement=None, solutions=(), where="f"):
    problem = Problem(name, statement or f"What is {name}?")
    return SourceRow(problem, tuple(GivenSolution(s) for s in solutions), where)


def source(*names):
    return Rows([row(name) for name in names])


@attrs.define
class Entries:
    """Of a store, only what is asked of it here."""

    held: dict[RecordKey, Entry]
    location: str = "some.store"

    def entry(self, key):
        return self.held.get(key)

    def entries(self):
        return ((key, entry) for key, entry in self.held.items() if not entry.failed)

    def failures(self):
        failed = ((key, entry) for key, entry in self.held.items() if entry.failed)
        return (Failure(key, entry.statement_hash, "why", "") for key, entry in failed)


def entries(worklist, failed):
    """A store that holds the work at these positions; True for a failure."""
    items = list(worklist)
    return Entries(
        {
            items[i].key: Entry(statement_hash=items[i].problem.statement_hash, failed=bad)
            for i, bad in failed.items()
        }
    )


def test_what_a_store_lacks():
    worklist = Worklist([source("a", "b", "c")], samples=2)
    store = entries(worklist, {0: False, 3: True, 5: False})
    assert [str(i.key) for i in missing(worklist, store, False)] == ["a#1", "b", "c"]
    assert [str(i.key) for i in missing(worklist, store, True)] == ["a#1", "b", "b#1", "c"]


@pytest.mark.parametrize("retry", [False, True])
def test_counts_of_what_a_store_lacks(retry):
    worklist = Worklist([source("a", "b", "c")], samples=2)
    store = entries(worklist, {0: False, 3: True, 5: False})
    found = remaining(worklist, store, retry)
    assert found.stored == 2
    assert found.failed == (0 if retry else 1)
    assert found.missing == len(list(missing(worklist, store, retry)))


def test_a_changed_statement_under_a_stored_id_is_refused():
    store = entries(Worklist([source("a")]), {0: False})
    changed = Worklist([Rows([row("a", "Something else?")])])
    with pytest.raises(StatementChangedError, match=r"'a' is in some\.store with another"):
        remaining(changed, store, False, check=True)


KEYS = st.builds(RecordKey, st.sampled_from(["a", "b", "a#1", "a#", ""]), st.integers(0, 3))
HASHES = st.sampled_from(["0" * 32, "ab" * 16, "AB" * 16, "short", "", "x" * 32])


@given(st.dictionaries(KEYS, st.builds(Entry, HASHES, st.booleans())))
def test_a_walk_finds_what_look_ups_find(held):
    store = Entries(held)
    walked = StoredEntries(store)
    for name in ("a", "b", "a#1", "a#", "", "c"):
        for sample in range(4):
            key = RecordKey(name, sample)
            assert walked.entry(key) == store.entry(key)


def test_little_work_is_read_once():
    rows = source("a", "b", "c")
    store = entries(Worklist([source("a", "b", "c")]), {1: False})
    asked = read_once(Worklist([rows]), store, False)
    assert [str(item.key) for item in asked.missing()] == ["a", "c"]
    assert rows.reads == 1


def test_much_work_is_read_again_when_it_is_done():
    names = [f"p{i}" for i in range(WINDOW + 2)]
    rows = source(*names)
    asked = read_once(Worklist([rows]), entries(Worklist([source(*names)]), {0: False}), False)
    assert rows.reads == 1
    seen = []
    assert [item.key.problem_id for item in asked.missing(lambda: seen.append(1))] == names[1:]
    assert rows.reads == 2
    assert len(seen) == len(names)


def test_what_is_wrong_in_a_source_is_said_before_what_changed():
    rows = [row("a", "Changed?"), row("b"), row("b", "Other?")]
    store = entries(Worklist([source("a")]), {0: False})
    with pytest.raises(InputError, match="'b' is there already"):
        read_once(Worklist([Rows(rows)]), store, False)
    with pytest.raises(StatementChangedError, match="'a' is in"):
        read_once(Worklist([Rows(rows[:2])]), store, False)


@pytest.mark.parametrize("retry", [False, True])
def test_failed_work_is_counted_whether_it_is_tried_again_or_not(retry):
    work = Worklist([source("a", "b", "c")], samples=2)
    asked = read_once(work, entries(work, {0: False, 3: True, 5: True}), retry)
    assert asked.failed == 2
    assert asked.before.missing == (5 if retry else 3)
    assert asked.before == remaining(work, entries(work, {0: False, 3: True, 5: True}), retry)
