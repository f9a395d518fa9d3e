"""The fixed scheduler."""

from __future__ import annotations

from rjepa_adapters.schedulers.fixed import FixedScheduler, FixedSettings
from rjepa_core.ports.backend import InFlight, Observation
from rjepa_core.testing.scheduler_suite import SchedulerContract


class TestFixed(SchedulerContract):
    def make(self) -> FixedScheduler:
        return FixedScheduler(FixedSettings(batch_size=8, encode_tokens=2000))


class TestOneRow(SchedulerContract):
    def make(self) -> FixedScheduler:
        return FixedScheduler(FixedSettings(batch_size=1, encode_tokens=2))


def generated(rows: int, out_of_memory: bool = False, ended: int | None = None) -> Observation:
    return Observation("generate", rows, 100, 100, 1.0, out_of_memory, ended=ended)


def test_halves_until_it_fits_and_then_goes_back() -> None:
    scheduler = FixedScheduler(FixedSettings(batch_size=8))
    assert scheduler.room(InFlight(rows=3)).rows == 5
    scheduler.observe(generated(8, out_of_memory=True))
    assert scheduler.room(InFlight()).rows == 4
    scheduler.observe(generated(4, out_of_memory=True))
    assert scheduler.room(InFlight()).rows == 2
    scheduler.observe(generated(2))
    assert scheduler.room(InFlight()).rows == 8


def test_stays_smaller_until_a_batch_of_rows_in_flight_has_ended() -> None:
    # An engine may give all rows back: at the full size again at once, none would ever end.
    scheduler = FixedScheduler(FixedSettings(batch_size=8))
    scheduler.observe(generated(8, out_of_memory=True))
    for ended in (0, 1, 0, 2):
        scheduler.observe(generated(4, ended=ended))
        assert scheduler.room(InFlight()).rows == 4
    scheduler.observe(generated(4, ended=1))
    assert scheduler.room(InFlight()).rows == 8


def test_encoding_tokens_stay_lowered() -> None:
    scheduler = FixedScheduler(FixedSettings(encode_tokens=4096))
    scheduler.observe(Observation("encode", 9, 3000, 0, 1.0, True))
    assert scheduler.room(InFlight()).encode_tokens == 1500
    scheduler.observe(Observation("encode", 9, 1400, 0, 1.0))
    assert scheduler.room(InFlight(given_tokens=1000)).given_tokens == 500
