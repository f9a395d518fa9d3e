"""Pending: whatever is taken and put back, nothing is lost or repeated."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from rjepa_core.domain.problem import GivenSolution, Problem
from rjepa_core.domain.trace import Work
from rjepa_core.extraction.queue import Pending, estimated_length
from rjepa_core.ports.backend import Room
from rjepa_core.testing.queue_suite import QueueContract


class TestContract(QueueContract):
    def make(self, work):
        return Pending(work)


class TestSmallWindow(QueueContract):
    def make(self, work):
        return Pending(iter(work), window=3)


PLENTY = Room(rows=10**6, tokens=None, given_tokens=10**9, encode_tokens=10**9)


def room(rows=0, tokens=None, given_tokens=0):
    return Room(rows, tokens, given_tokens, encode_tokens=1)


def work(name, length=1, solution=None):
    given_solution = None if solution is None else GivenSolution("s" * solution)
    return Work(Problem(name, "x" * length), 0, given_solution)


def works(lengths):
    return [work(f"p{i}", n) for i, n in enumerate(lengths)]


def names(items):
    return [item.problem.id for item in items]


def length(item):
    return len(item.problem.statement)


lengths = st.lists(st.integers(1, 30), max_size=40)


@given(lengths=lengths, window=st.integers(1, 10), data=st.data())
def test_nothing_is_lost_or_repeated(lengths, window, data):
    items = works(lengths)
    pending = Pending(iter(items), window)
    held, done = [], []
    for _ in range(data.draw(st.integers(0, 60))):
        if held and data.draw(st.booleans()):
            back = data.draw(st.lists(st.sampled_from(held), unique_by=id))
            held = [item for item in held if item not in back]
            pending.put_back(back)
        else:
            tokens = data.draw(st.none() | st.integers(0, 60))
            held += pending.take(
                room(data.draw(st.integers(0, 5)), tokens), length, data.draw(st.booleans())
            )
        if held and data.draw(st.booleans()):
            done.append(held.pop())
        out = Counter(names(held + done))
        assert all(count == 1 for count in out.values())
    while pending:
        done += pending.take(PLENTY, length)
    assert Counter(names(held + done)) == Counter(names(items))
    assert not pending.take(PLENTY, length)


@given(lengths=lengths, window=st.integers(1, 10), rows=st.integers(1, 6))
def test_windows_are_sorted_and_come_in_order(lengths, window, rows):
    items = works(lengths)
    pending = Pending(items, window)
    for start in range(0, len(items), window):
        part = items[start : start + window]
        taken = []
        while len(taken) < len(part):
            taken += pending.take(room(rows), length)
        assert sorted(names(taken)) == sorted(names(part))
        sizes = [length(item) for item in taken]
        assert sizes == sorted(sizes, reverse=True)
    assert not pending


def test_only_a_window_is_read_ahead():
    read = []

    def endless():
        for i in range(10**6):
            read.append(i)
            yield work(f"p{i}")

    pending = Pending(endless(), window=8)
    assert pending
    pending.take(room(3), length)
    assert len(read) == 8


def test_rows_bound_what_is_generated():
    assert len(Pending(works([1] * 9)).take(room(4), length)) == 4
    assert Pending(works([1] * 9)).take(room(0), length) == []


def test_tokens_bound_what_is_generated():
    taken = Pending(works([10, 10, 10])).take(room(9, tokens=25), length)
    assert len(taken) == 2


def test_what_is_larger_than_the_room_waits_unless_nothing_is_in_flight():
    pending = Pending(works([50, 1]))
    assert pending.take(room(9, tokens=20), length) == []
    [alone] = pending.take(room(9, tokens=20), length, at_least_one=True)
    assert length(alone) == 50
    assert names(pending.take(room(9, tokens=20), length)) == ["p1"]


def test_at_least_one_is_no_leave_to_go_beyond_the_rows():
    assert Pending(works([50])).take(room(0, tokens=20), length, at_least_one=True) == []


def test_given_solutions_are_bounded_by_tokens_and_not_by_rows():
    items = [work(f"p{i}", solution=10) for i in range(9)]
    taken = Pending(items).take(room(0, given_tokens=25), lambda item: item.given.length)
    # The third crosses the bound; a fourth has no room.
    assert len(taken) == 3


def test_what_is_put_back_is_taken_among_the_next():
    pending = Pending(works([5, 5, 5, 5]), window=2)
    first = pending.take(room(2), length)
    pending.put_back(first)
    assert sorted(names(pending.take(room(2), length))) == sorted(names(first))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_what_is_put_back_takes_its_place_in_the_order(lengths, random):
    pending = Pending(works(lengths))
    taken = pending.take(room(len(lengths) // 2 + 1), length)
    random.shuffle(taken)
    pending.put_back(taken)
    sizes = []
    while pending:
        sizes += [length(item) for item in pending.take(PLENTY, length)]
    assert sizes == sorted(lengths, reverse=True)


def test_putting_back_makes_an_exhausted_queue_true_again():
    pending = Pending(works([1]))
    taken = pending.take(PLENTY, length)
    assert not pending
    pending.put_back(taken)
    assert pending


def test_lengths_are_estimated_by_what_will_be_read():
    assert estimated_length(work("p", 7)) == 7
    assert estimated_length(work("p", 7, solution=30)) == 30


def test_short_work_is_not_padded_to_twice_its_length() -> None:
    """Two long problems do not share a batch with the short ones, whatever rows there are."""
    pending = Pending(works([10, 11, 12, 13, 30, 29, 18]))
    assert [length(w) for w in pending.take(room(16), length)] == [30, 29, 18]
    assert [length(w) for w in pending.take(room(16), length)] == [13, 12, 11, 10]
    assert not pending
