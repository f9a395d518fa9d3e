"""The adaptive scheduler's settings, as people write them."""

from __future__ import annotations

import pytest
from scheduler_machines import Driver

from rjepa_adapters.schedulers.adaptive import AdaptiveScheduler, AdaptiveSettings
from rjepa_core.config import structure
from rjepa_core.errors import SettingsError
from rjepa_core.ports.probe import MemoryReading


@pytest.mark.parametrize(
    ("given", "bytes_"),
    [("8GiB", 8 << 30), ("512M", 512 << 20), (1000, 1000), ("1000", 1000), ("none", None)],
)
def test_memory_limit_as_people_write_it(given: object, bytes_: int | None) -> None:
    found = structure(AdaptiveSettings, {"memory_limit": given}).memory_limit
    if bytes_ is None:
        assert found is None
        return
    driver = Driver(AdaptiveScheduler(AdaptiveSettings(memory_limit=found)))
    driver.memory = lambda tokens: MemoryReading(
        used_bytes=bytes_, peak_bytes=bytes_, held_bytes=bytes_
    )
    assert driver.batches(2) == [16, 8]
    driver = Driver(AdaptiveScheduler(AdaptiveSettings(memory_limit=found)))
    driver.memory = lambda tokens: MemoryReading(peak_bytes=bytes_ // 2, held_bytes=bytes_ // 2)
    driver.batches(2)
    assert {d.reason for d in driver.decisions} == {"trial"}


@pytest.mark.parametrize(
    ("given", "start"),
    [({}, 16), ({"max_batch_size": 8}, 8), ({"min_batch_size": 32}, 32), ({"batch_size": 3}, 3)],
)
def test_the_usual_start_keeps_to_the_bounds(given: dict[str, object], start: int) -> None:
    assert structure(AdaptiveSettings, given).batch_size == start


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"memory_limit": "a lot"}, "memory_limit: must be bytes, or an amount such as 8GiB"),
        ({"memory_limit": "0"}, "memory_limit: must be at least one byte"),
        ({"min_batch_size": 9, "max_batch_size": 8}, "min_batch_size: must be at most"),
        ({"batch_size": 100}, "batch_size: must be between .* 1 and 64, got 100"),
        ({"high_water": "110%"}, "high_water"),
    ],
)
def test_wrong_settings_name_their_key(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        structure(AdaptiveSettings, wrong)
