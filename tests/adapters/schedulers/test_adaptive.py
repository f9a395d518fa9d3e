"""The adaptive scheduler: what it does when a machine breaks, fills up, slows down, or is well."""

from __future__ import annotations

import itertools
from statistics import median
from typing import Any

import pytest
from scheduler_machines import COST, Driver, batching

from rjepa_adapters.schedulers.adaptive import AdaptiveScheduler, AdaptiveSettings
from rjepa_core.ports.backend import InFlight, Observation
from rjepa_core.ports.probe import MemoryReading
from rjepa_core.testing.scheduler_suite import SchedulerContract

MIB = 1 << 20


def adaptive(**settings: Any) -> AdaptiveScheduler:
    return AdaptiveScheduler(AdaptiveSettings(**settings))


class TestDefaults(SchedulerContract):
    def make(self) -> AdaptiveScheduler:
        return adaptive()


class TestOneRow(SchedulerContract):
    def make(self) -> AdaptiveScheduler:
        return adaptive(batch_size=1, max_batch_size=1, encode_tokens=2)


class TestNarrowAndEager(SchedulerContract):
    def make(self) -> AdaptiveScheduler:
        return adaptive(batch_size=24, min_batch_size=5, max_batch_size=40, patience=1, margin=0.0)


class TestMemoryLimit(SchedulerContract):
    def make(self) -> AdaptiveScheduler:
        return adaptive(memory_limit="300 MiB", high_water=0.5)


def test_out_of_memory_comes_again_smaller_and_is_remembered_in_tokens() -> None:
    driver = Driver(adaptive(), fits=lambda tokens: tokens <= 12 * COST)
    assert driver.batches(2) == [16, 8]
    scheduler = driver.scheduler
    assert scheduler.room(InFlight()).tokens == 8 * COST
    assert scheduler.room(InFlight(2, 0, 3 * COST)).tokens == 5 * COST, "long rows weigh more"
    assert driver.decisions[0].reason == "out of memory"
    assert (driver.decisions[0].rows_before, driver.decisions[0].rows_after) == (16, 8)


@pytest.mark.parametrize("told", [True, False])
def test_sizes_between_the_powers_of_two_are_found(told: bool) -> None:
    driver = Driver(adaptive(), fits=lambda tokens: tokens <= 13 * COST, told=told, noise=0.2)
    driver.batches(400)
    assert len(driver.failed) <= 3
    assert median(driver.rows[-100:]) in (11, 12, 13)


def test_what_does_not_fit_is_tried_later_each_time() -> None:
    driver = Driver(adaptive(), fits=lambda tokens: tokens < 16 * COST)
    driver.batches(3000)
    failures = [i for i, rows in enumerate(driver.rows) if rows >= 16]
    waits = [b - a for a, b in itertools.pairwise(failures)]
    assert len(failures) >= 3
    assert waits == sorted(waits)
    assert waits[-1] > 4 * waits[0]


def test_memory_that_is_freed_without_a_probe_is_found_again() -> None:
    driver = Driver(adaptive(), fits=lambda tokens: tokens <= 9 * COST)
    driver.batches(30)
    assert median(driver.rows[-20:]) <= 9
    driver.fits = lambda tokens: True
    driver.batches(3000)
    assert median(driver.rows[-50:]) >= 24


def test_a_problem_too_large_alone_makes_the_others_no_smaller() -> None:
    scheduler = adaptive(max_batch_size=16)
    Driver(scheduler).batches(5)
    scheduler.observe(Observation("generate", 1, 0, 0, 1.0, True, tokens=100 * COST))
    room = scheduler.room(InFlight())
    assert room.rows == 16
    assert room.tokens is not None
    assert room.tokens >= 16 * COST


def limited(limit: int, weights: int = 500, others: int = 0, row: int = 20) -> Any:
    """A probe's reading after a batch, in MiB: weights, rows of 20, and what others hold."""

    def reading(tokens: int) -> MemoryReading:
        peak = weights + row * tokens // COST
        held = weights * MIB
        return MemoryReading((weights + others) * MIB, limit * MIB, peak * MIB, None, None, held)

    return reading


def test_memory_pressure_backs_off_to_the_next_size_under_the_mark() -> None:
    """16 rows pass the mark (900 of 1,000 MiB) and don't break; 8 are under it, 12 are not."""
    scheduler = adaptive()
    driver = Driver(scheduler, memory=limited(1000, weights=600, row=30))
    assert driver.batches(2) == [16, 8]
    assert driver.decisions[0].reason == "memory pressure"
    assert "1.055 GiB of 1000 MiB" in driver.decisions[0].detail
    driver.batches(100)
    assert max(driver.rows[1:]) == 8, "sizes over the mark are not tried"


def test_a_limit_that_moves_lowers_the_rows_and_returns_them() -> None:
    driver = Driver(adaptive(), memory=limited(2000), noise=0.2)
    driver.batches(40)
    before = driver.scheduler.room(InFlight()).rows
    assert before >= 32
    driver.memory = limited(2000, others=1100)
    assert max(driver.batches(20)[1:]) <= 8
    driver.memory = limited(2000)
    assert max(driver.batches(20)) >= before
    assert driver.failed == []
    assert {"memory pressure", "memory free"} <= {d.reason for d in driver.decisions}


def test_an_error_that_the_probe_explains_is_not_held_against_the_size() -> None:
    """Another process took memory under a running batch; once it is back, so are the rows."""
    driver = Driver(adaptive(max_batch_size=32), memory=limited(2000), noise=0.2)
    driver.batches(40)
    assert median(driver.rows[-20:]) == 32
    driver.memory = limited(2000, others=1100)
    driver.fits = lambda tokens: tokens <= 12 * COST
    driver.batches(10)
    assert len(driver.failed) == 1
    assert driver.scheduler.room(InFlight()).tokens is None
    driver.memory, driver.fits = limited(2000), lambda tokens: True
    assert 32 in driver.batches(20)


def test_pressure_without_peaks_halves_the_rows() -> None:
    driver = Driver(adaptive())
    driver.memory = lambda tokens: MemoryReading((600 + tokens // COST * 20) * MIB, 1000 * MIB)
    assert driver.batches(2) == [16, 8]


@pytest.mark.parametrize(
    "sign",
    [MemoryReading(retries=2), MemoryReading(99, 100, stalled=0.5), MemoryReading(stalled=0.5)],
)
def test_retries_and_stalls_lower_the_rows(sign: MemoryReading) -> None:
    driver = Driver(adaptive(), memory=lambda tokens: sign)
    assert driver.batches(2)[1] < 16
    assert driver.decisions[0].reason == "memory pressure"
    driver.memory = lambda tokens: MemoryReading(50, 100, retries=0, stalled=0.0)
    driver.batches(200)
    assert max(driver.rows) > 16, "not for ever"


def test_a_stall_with_plenty_of_memory_is_somebody_elses() -> None:
    driver = Driver(adaptive(), memory=lambda tokens: MemoryReading(10, 100, stalled=0.9))
    driver.batches(30)
    assert "memory pressure" not in {d.reason for d in driver.decisions}


def cliff(above: int, factor: float = 3.3) -> Any:
    return lambda rows: batching(rows) * (factor if rows > above else 1.0)


@pytest.mark.parametrize("noise", [0.0, 0.2])
@pytest.mark.parametrize("start", [8, 16, 32, 64])
def test_a_silent_cliff_is_left_and_avoided(start: int, noise: float) -> None:
    driver = Driver(adaptive(batch_size=start), step=cliff(8), noise=noise)
    driver.batches(200)
    first = next(i for i, rows in enumerate(driver.rows) if rows <= 8)
    assert first <= (3 if start <= 16 else 9)
    assert sum(rows > 8 for rows in driver.rows) <= 16
    assert median(driver.rows) == 8
    reasons = {d.reason for d in driver.decisions}
    assert reasons & {"slower", "not faster"}


def test_a_cliff_that_comes_in_the_middle_of_a_run() -> None:
    driver = Driver(adaptive(max_batch_size=16), noise=0.1)
    driver.batches(40)
    assert median(driver.rows[-20:]) == 16
    driver.step = cliff(8)
    driver.batches(30)
    assert median(driver.rows[-15:]) <= 8


def test_one_slow_batch_changes_nothing() -> None:
    driver = Driver(adaptive(max_batch_size=16), noise=0.1)
    driver.batches(30)
    assert driver.batches(1, slow=6.0) == [16]
    assert driver.batches(8) == [16] * 8


def test_goes_up_where_larger_is_faster() -> None:
    driver = Driver(adaptive(), noise=0.2)
    driver.batches(40)
    assert median(driver.rows[-20:]) == 64
    assert driver.rows[:2] == [16, 8], "a look down before going up"


def test_prefers_the_smaller_size_where_the_larger_is_not_clearly_faster() -> None:
    """Above 8 rows the machine is saturated: a step takes as much longer as it has more rows."""
    driver = Driver(adaptive(), step=lambda rows: batching(min(rows, 8)) * max(1, rows / 8))
    driver.batches(300)
    assert median(driver.rows[-150:]) <= 12
    noisy = Driver(adaptive(), step=driver.step, noise=0.2)
    noisy.batches(300)
    assert median(noisy.rows[-150:]) <= 16


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_a_stream_of_rows_finds_the_same(noise: float) -> None:
    """An engine that refills rows and observes each few tokens."""
    well = Driver(adaptive(), noise=noise)
    well.stream(1500)
    assert median(well.rows[-300:]) == 64
    slow = Driver(adaptive(), step=cliff(8), noise=noise)
    slow.stream(2500)
    assert median(slow.rows[-1000:]) == 8
    assert sum(rows > 8 for rows in slow.rows) < 400


def test_a_stream_under_pressure_backs_off_step_by_step() -> None:
    driver = Driver(adaptive(), noise=0.1)
    driver.memory = lambda tokens: MemoryReading((500 + tokens // COST * 20) * MIB, 900 * MIB)
    driver.stream(1500)
    assert max(driver.rows[-500:]) <= 16
    assert min(driver.rows[-500:]) >= 4


def test_out_of_memory_in_encode_lowers_encoding_alone_and_recovers_slowly() -> None:
    scheduler = adaptive(encode_tokens=4000)
    scheduler.observe(Observation("encode", 9, 3800, 0, 1.0, True))
    room = scheduler.room(InFlight())
    assert (room.rows, room.tokens, room.encode_tokens) == (16, None, 1900)
    [told] = scheduler.changes()
    assert (told.rows_before, told.rows_after, told.reason) == (16, 16, "out of memory")
    assert "4,000 -> 1,900 tokens" in str(told)
    for _ in range(15):
        scheduler.observe(Observation("encode", 5, 1800, 0, 1.0))
    assert scheduler.room(InFlight()).encode_tokens == 1900
    for _ in range(2000):
        limit = scheduler.room(InFlight()).encode_tokens
        scheduler.observe(Observation("encode", 5, int(0.9 * limit), 0, 1.0))
    assert scheduler.room(InFlight()).encode_tokens == 4000


def test_times_of_nothing_are_no_measurements() -> None:
    scheduler = adaptive()
    for _ in range(50):
        scheduler.observe(Observation("generate", 16, 100, 100, 0.0))
        scheduler.observe(Observation("generate", 16, 0, 0, 1.0))
    assert scheduler.room(InFlight()).rows == 16
    assert scheduler.changes() == ()


def test_a_trial_without_full_batches_ends() -> None:
    scheduler = adaptive()
    Driver(scheduler).batches(1)
    assert scheduler.room(InFlight()).rows == 8
    for _ in range(10):
        scheduler.observe(Observation("generate", 2, 200, 200, 1.0, tokens=2 * COST))
    assert scheduler.room(InFlight()).rows == 16
