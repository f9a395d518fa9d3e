"""Speeds and the gain between sizes."""

from __future__ import annotations

import math
import random

import pytest

from rjepa_adapters.schedulers.speed_model import Measuring, Speeds, work_of
from rjepa_core.ports.backend import Observation


def test_without_measurements_the_usual_is_expected() -> None:
    gain = Speeds().gain(16, 8)
    assert gain.mean == pytest.approx(0.25 * math.log(2))
    assert gain.sd == pytest.approx(0.35)
    assert Speeds().typical(8) is None


def test_measurements_outweigh_the_usual() -> None:
    speeds = Speeds()
    for _ in range(12):
        speeds.add(8, 100.0)
        speeds.add(16, 50.0)
    gain = speeds.gain(16, 8)
    assert gain.mean == pytest.approx(math.log(0.5), abs=0.05)
    assert gain.sd < 0.1
    assert speeds.typical(16) == pytest.approx(50.0)


def test_one_measurement_decides_little() -> None:
    speeds = Speeds()
    for _ in range(5):
        speeds.add(8, 100.0)
    speeds.add(16, 50.0)
    gain = speeds.gain(16, 8)
    assert math.log(0.5) < gain.mean < 0
    assert gain.sd > 0.1


def test_the_unit_of_work_does_not_matter() -> None:
    one, other = Speeds(), Speeds()
    for size, speed in [(8, 1.0), (16, 1.5), (8, 1.1), (32, 0.7)]:
        one.add(size, speed)
        other.add(size, 1e4 * speed)
    assert one.gain(32, 8).mean == pytest.approx(other.gain(32, 8).mean, abs=1e-3)


def test_one_slow_batch_moves_a_gain_little() -> None:
    speeds = Speeds()
    for _ in range(8):
        speeds.add(8, 100.0)
        speeds.add(16, 125.0)
    before = speeds.gain(16, 8).mean
    speeds.add(16, 12.5)
    assert abs(speeds.gain(16, 8).mean - before) < 0.1


def test_a_size_in_between_profits_from_its_neighbours() -> None:
    speeds = Speeds()
    for _ in range(10):
        speeds.add(8, 100.0)
        speeds.add(16, 200.0)
    gain = speeds.gain(12, 8)
    assert 0.25 * math.log(1.5) < gain.mean < math.log(2)


def test_old_measurements_count_less() -> None:
    speeds = Speeds()
    for _ in range(10):
        speeds.add(8, 100.0)
        speeds.add(16, 50.0)
    sure = speeds.gain(16, 8).sd
    for _ in range(300):
        speeds.add(8, 100.0)
    assert speeds.gain(16, 8).sd > 1.3 * sure


def test_noise_is_learned_from_neighbours_in_time() -> None:
    speeds, rng = Speeds(), random.Random(0)
    assert speeds.noise == pytest.approx(0.25)
    for _ in range(200):
        speeds.add(8, math.exp(rng.gauss(0, 0.1)))
    assert 0.08 < speeds.noise < 0.16


def test_a_collapse_is_most_of_the_last_three_batches() -> None:
    speeds = Speeds()
    for _ in range(8):
        speeds.add(8, 100.0)
    found = []
    for _ in range(3):
        speeds.add(8, 15.0)
        found.append(speeds.collapsed(8))
    assert found == [False, True, True]
    speeds.forget_before(8, 3)
    assert speeds.count(8) == 3
    assert not speeds.collapsed(8)


def test_the_nearest_smaller_size_that_was_measured_lately() -> None:
    speeds = Speeds()
    speeds.add(4, 1.0)
    for _ in range(60):
        speeds.add(8, 1.0)
    speeds.add(16, 1.0)
    assert speeds.measured_below(16) == 8
    assert speeds.measured_below(8) is None, "4 rows are long ago"


def seen(rows: int, ended: int | None, seconds: float = 1.0, new: int = 100) -> Observation:
    return Observation("generate", rows, 50, new, seconds, ended=ended)


def test_a_whole_batch_is_a_measurement() -> None:
    assert Measuring().add(seen(8, None, 2.0), 8, filled=True) == work_of(50, 100) / 2


def test_a_stream_is_measured_over_as_many_rows_as_are_in_flight() -> None:
    measuring = Measuring()
    settling = [measuring.add(seen(8, 2, 9.0), 8, filled=True) for _ in range(4)]
    assert settling == [None] * 4, "rows are still being read in"
    found = [measuring.add(seen(8, 2, 0.5), 8, filled=True) for _ in range(4)]
    assert found == [None] * 3 + [4 * work_of(50, 100) / 2.0]


def test_what_did_not_fill_its_size_is_no_measurement_of_it() -> None:
    measuring = Measuring()
    assert measuring.add(seen(3, None), 8, filled=False) is None
    for seconds, new in ((0.0, 100), (1.0, 0)):
        empty = Observation("generate", 8, 0, new, seconds)
        assert measuring.add(empty, 8, filled=True) is None
