"""The small parts: the ladder of sizes, retries, amounts of memory, and the memory watch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rjepa_adapters.schedulers.hill_climb import Retries
from rjepa_adapters.schedulers.ladder import Ladder
from rjepa_adapters.schedulers.memory_limits import MemoryWatch, format_bytes, parse_bytes
from rjepa_core.ports.probe import MemoryReading


def test_the_ladder_has_a_step_between_the_powers_of_two() -> None:
    ladder = Ladder(1, 64, 16)
    assert ladder.sizes == (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
    assert (ladder.floor(15.9), ladder.floor(0)) == (12, 1)
    assert (ladder.below(12), ladder.above(12)) == (8, 16)
    assert (ladder.below(1), ladder.above(64)) == (1, 64)
    assert ladder.between(8, 16) == 12
    assert ladder.between(8, 12) is None
    assert [ladder.nearest(rows) for rows in (9.7, 9.9, 0.2, 1e9)] == [8, 12, 1, 64]


@given(st.integers(1, 300), st.integers(0, 300), st.data())
def test_a_ladder_keeps_to_its_ends_and_has_its_start(
    low: int, more: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(low, low + more))
    ladder = Ladder(low, low + more, start)
    assert {low, start, low + more} <= set(ladder.sizes)
    assert ladder.sizes == tuple(sorted(set(ladder.sizes)))
    assert ladder.sizes[0] == low
    assert ladder.sizes[-1] == low + more


def test_what_failed_is_due_later_each_time() -> None:
    retries = Retries(8)
    assert retries.due(16, 0)
    assert retries.failed(16, now=0, clear=False) == 8
    assert not retries.due(16, 7)
    assert retries.due(16, 8)
    assert retries.failed(16, now=8, clear=False) == 16
    assert retries.failed(16, now=30, clear=True) == 64
    assert retries.failed(16, now=100, clear=True, certain=False) == 128
    assert [retries.failed(16, now=300, clear=True) for _ in range(3)] == [512] * 3


def test_only_clear_failures_bound_what_lies_between() -> None:
    retries = Retries(8)
    retries.failed(32, 0, clear=False)
    assert retries.lowest(above=8) is None
    retries.failed(48, 0, clear=True)
    assert retries.lowest(above=8) == 48
    assert retries.lowest(above=48) is None


def test_success_forgets_what_is_smaller_and_hastens_what_is_larger() -> None:
    retries = Retries(8)
    for size in (12, 16, 32):
        for _ in range(4):
            retries.failed(size, 0, clear=True)
    retries.succeeded(16, now=20)
    assert retries.due(12, 20)
    assert retries.due(16, 20)
    assert not retries.due(32, 27)
    assert retries.due(32, 28)


@pytest.mark.parametrize(
    ("text", "amount"),
    [("8GiB", 8 << 30), ("1.5 gb", 3 << 29), ("512 MiB", 1 << 29), ("64k", 1 << 16), ("7 B", 7)],
)
def test_amounts(text: str, amount: int) -> None:
    assert parse_bytes(text) == amount
    assert parse_bytes(amount) == amount
    assert parse_bytes(format_bytes(amount).replace(" bytes", "")) == amount


@pytest.mark.parametrize("text", ["", "GiB", "8 XiB", "1.2.3", "-4", "eight"])
def test_no_amounts(text: str) -> None:
    with pytest.raises(ValueError, match="such as 8GiB"):
        parse_bytes(text)


def watch(limit: int | None = None) -> MemoryWatch:
    return MemoryWatch(Ladder(1, 64, 16), 0.9, limit, 8)


def test_no_reading_and_absent_sensors_cap_nothing() -> None:
    memory = watch(limit=100)
    memory.read(None, 16, 16, 16, failed=False)
    memory.read(MemoryReading(), 16, 16, 16, failed=False)
    assert memory.cap is None


def test_the_cap_is_the_largest_size_under_the_mark() -> None:
    """100 of 1,000 are held, a row takes 50: 16 of them fit under 900."""
    memory = watch()
    memory.read(MemoryReading(100, 1000, 500, held_bytes=100), 8, 8, 8, failed=False)
    assert memory.cap == 16
    memory.read(MemoryReading(400, 1000, 500, held_bytes=100), 8, 8, 8, failed=False)
    assert memory.cap == 8, "300 are somebody else's"
    memory.read(MemoryReading(950, 1000, 500, held_bytes=100), 8, 8, 8, failed=False)
    assert memory.cap == 1


def test_room_must_last_before_it_is_used() -> None:
    memory = watch()
    memory.read(MemoryReading(400, 1000, 500, held_bytes=100), 8, 8, 8, failed=False)
    caps = []
    for _ in range(4):
        memory.read(MemoryReading(100, 1000, 500, held_bytes=100), 8, 8, 8, failed=False)
        caps.append(memory.cap)
    assert caps == [8, 8, 8, 16]


def test_what_a_failed_batch_took_is_not_learned() -> None:
    memory = watch()
    memory.read(MemoryReading(100, 1000, 500, held_bytes=100), 8, 8, 8, failed=False)
    memory.read(MemoryReading(100, 1000, 120, held_bytes=100), 64, 64, 64, failed=True)
    assert memory.cap == 16


def test_the_limit_that_binds_first_counts() -> None:
    memory = watch(limit=600)
    memory.read(MemoryReading(100, 1000, 500, held_bytes=100), 8, 8, 8, failed=False)
    assert memory.cap == 8
    assert memory.detail == "500 bytes of 600 bytes used at the peak, the mark is 540 bytes"


def test_rows_that_are_still_ending_lower_the_cap_no_further() -> None:
    memory = watch()
    caps = []
    for rows in (16, 14, 11, 9, 8):
        memory.read(MemoryReading(950, 1000), rows, rows, 1, failed=False)
        caps.append(memory.cap)
    assert caps == [8, 8, 8, 8, 4]
