"""The promises of every memory probe, as tests that a probe's own tests inherit.

    class TestMyProbe(ProbeContract):
        adapter = my_plugin.rjepa_probes()[0]
        device = "tpu:0"

Each failure names the broken promise.
"""

from __future__ import annotations

import time
from typing import ClassVar

import attrs
import pytest

from ..plugins import ProbeAdapter
from ..ports.probe import MemoryProbe, MemoryReading


class ProbeContract:
    """Inherit and name the adapter and an existing device.

    Attributes:
        adapter: the descriptor.
        device: a device of this machine that it measures.
        seconds: longest time of a reading; the loop takes one after each step.
    """

    adapter: ClassVar[ProbeAdapter]
    device: ClassVar[str]
    seconds: ClassVar[float] = 0.1

    @pytest.fixture
    def probe(self) -> MemoryProbe:
        return self.adapter.create(self.device, self.adapter.configure({}, "probe"))

    def test_it_claims_its_device_alone(self) -> None:
        assert self.adapter.claims(self.device), f"claims({self.device!r}) must be true"
        assert not self.adapter.claims("no such device"), "a device of others is not claimed"

    def test_a_reading_has_its_units(self, probe: MemoryProbe) -> None:
        for _ in range(3):
            reading = probe.read()
            assert isinstance(reading, MemoryReading), f"read() gives a MemoryReading: {reading!r}"
            for field in attrs.fields(MemoryReading):
                value = getattr(reading, field.name)
                if value is None:
                    continue
                if field.name == "stalled":
                    assert 0 <= value <= 1, f"stalled is a share of time, 0 to 1: {value!r}"
                else:
                    whole = isinstance(value, int) and value >= 0
                    assert whole, f"{field.name} is a whole number, never negative: {value!r}"

    def test_an_absent_sensor_reads_none(self, probe: MemoryProbe) -> None:
        reading = probe.read()
        for name in ("used_bytes", "limit_bytes", "held_bytes"):
            assert getattr(reading, name) != 0, f"{name}: a sensor that is absent reads None, not 0"
        assert attrs.astuple(reading) != (None,) * 6, "a probe without any sensor is of no use"

    def test_bytes_are_bytes(self, probe: MemoryProbe) -> None:
        reading = probe.read()
        if reading.limit_bytes is not None:
            assert reading.limit_bytes >= 1 << 20, (
                f"limit_bytes is in bytes: a limit of {reading.limit_bytes} holds no program"
            )
        if reading.used_bytes is not None and reading.limit_bytes is not None:
            assert reading.used_bytes <= 1.05 * reading.limit_bytes, (
                f"used_bytes {reading.used_bytes} is measured against limit_bytes "
                f"{reading.limit_bytes}"
            )
        if reading.peak_bytes is not None and reading.held_bytes is not None:
            assert reading.peak_bytes >= 0.95 * reading.held_bytes, (
                "peak_bytes is the most this process held, at least what it holds now"
            )

    def test_a_reading_is_quick(self, probe: MemoryProbe) -> None:
        probe.read()
        times = []
        for _ in range(9):
            began = time.perf_counter()
            probe.read()
            times.append(time.perf_counter() - began)
        middle = sorted(times)[4]
        assert middle <= self.seconds, f"a reading is taken after each step: {middle:.3f} s"
