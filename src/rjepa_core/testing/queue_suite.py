"""The promises of every queue of pending work, as tests that a queue's own tests inherit.

    class TestMyQueue(QueueContract):
        def make(self, work):
            return MyQueue(work)

The extraction loop takes its problems from a queue (`rjepa_core.ports.executor.WorkQueue`), which
the workers of an executor share. Each failure names the broken promise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from ..domain.problem import Problem
from ..domain.trace import RecordKey, Work
from ..ports.backend import Room
from ..ports.executor import WorkQueue
from .scheduler_suite import inherited

PLENTY = Room(rows=10**6, tokens=None, given_tokens=10**9, encode_tokens=10**9)
LENGTHS = st.lists(st.integers(1, 30), max_size=40)


def _works(lengths: Sequence[int]) -> list[Work]:
    return [Work(Problem(f"p{i}", "x" * n), i % 3) for i, n in enumerate(lengths)]


def _cost(work: Work) -> int:
    return len(work.problem.statement)


def _check_once(taken: Sequence[Work], given_out: Sequence[Work]) -> None:
    found, wanted = Counter(w.key for w in taken), Counter(w.key for w in given_out)
    lost, repeated = wanted - found, found - wanted
    assert not lost, f"work was lost, it was never taken: {_names(lost)}"
    assert not repeated, f"work was repeated, it was taken twice: {_names(repeated)}"


def _names(keys: Counter[RecordKey]) -> str:
    return ", ".join(sorted(str(key) for key in keys)[:5])


class QueueContract:
    """Inherit and implement `make`."""

    def make(self, work: Sequence[Work]) -> WorkQueue:
        """Return a new queue that holds the work."""
        raise NotImplementedError("implement make()")

    def drain(self, queue: WorkQueue, room: Room = PLENTY) -> list[Work]:
        """Take work until there is no more."""
        taken: list[Work] = []
        while queue:
            batch = queue.take(room, _cost, at_least_one=True)
            assert batch, "the queue stalls: more may come, there is room, and nothing is given"
            taken += batch
            assert len(taken) < 1000, "work is repeated without end"
        return taken

    @inherited
    @given(LENGTHS, st.integers(1, 5))
    @example([9, 8, 9, 7, 9], 3)
    def test_everything_is_taken_once(self, lengths: list[int], rows: int) -> None:
        work = _works(lengths)
        taken = self.drain(self.make(work), Room(rows, None, 0, 1))
        _check_once(taken, work)

    @inherited
    @given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=40))
    @example([(9, True)])
    @example([(9, True), (8, False), (7, True), (9, True)])
    def test_what_is_put_back_comes_again(self, problems: list[tuple[int, bool]]) -> None:
        work = _works([length for length, _ in problems])
        chosen = {item.key for item, (_, back) in zip(work, problems, strict=True) if back}
        queue = self.make(work)
        taken = self.drain(queue)
        back = [item for item in taken if item.key in chosen]
        queue.put_back(back)
        holds = bool(queue)
        _check_once(self.drain(queue), back)
        assert holds == bool(back), "a queue is true while it holds what was put back, or false"

    @inherited
    @given(LENGTHS, st.integers(0, 4), st.integers(0, 40))
    @example([9, 8, 9, 7, 9], 2, 40)
    @example([9, 8, 9, 7, 9], 4, 20)
    def test_room_is_kept_to(self, lengths: list[int], rows: int, tokens: int) -> None:
        taken = self.make(_works(lengths)).take(Room(rows, tokens, 0, 1), _cost)
        assert len(taken) <= rows, f"{len(taken)} rows were given where there is room for {rows}"
        cost = sum(map(_cost, taken))
        assert cost <= tokens, f"{cost} tokens were given where there is room for {tokens}"

    def test_something_is_given_where_nothing_is_in_flight(self) -> None:
        queue = self.make(_works([30, 30]))
        taken = queue.take(Room(2, 10, 0, 1), _cost, at_least_one=True)
        assert len(taken) == 1, (
            "the queue stalls: with `at_least_one` the first is given even if it is larger than "
            f"the room's tokens, and no other: {len(taken)}"
        )

    def test_an_empty_queue_is_false(self) -> None:
        queue = self.make([])
        assert not queue, "a queue without work is false, or a run would never end"
        assert not queue.take(PLENTY, _cost, at_least_one=True), "nothing comes of nothing"
