"""The host probe reads real sensors, and says where one is absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil

from rjepa_adapters.probes.host import HostProbe, cgroup_memory, pressure
from rjepa_core.plugins import ProbeAdapter, Registry
from rjepa_core.runner import find_probe
from rjepa_core.testing.probe_suite import ProbeContract


class TestHost(ProbeContract):
    adapter = Registry().find(ProbeAdapter, "host")
    device = "cpu"


def test_used_memory_follows_an_allocation() -> None:
    probe = HostProbe()
    # The whole host is measured, and others on it come and go.
    for _ in range(8):
        before = probe.read()
        ballast = np.ones(200 << 20, np.uint8)
        after = probe.read()
        assert before.used_bytes is not None
        assert after.used_bytes is not None
        grown = after.used_bytes - before.used_bytes
        if grown > (100 << 20):
            break
    assert grown > (100 << 20)
    assert after.limit_bytes is not None
    assert after.limit_bytes <= psutil.virtual_memory().total
    assert ballast[-1] == 1


def test_control_group_version_2(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("3000")
    (tmp_path / "memory.max").write_text("8000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 500\n")
    assert cgroup_memory(tmp_path) == (2500, 8000)
    (tmp_path / "memory.max").write_text("max\n")
    assert cgroup_memory(tmp_path) == (2500, None)


def test_control_group_version_1(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    folder.mkdir()
    (folder / "memory.usage_in_bytes").write_text("3000")
    (folder / "memory.limit_in_bytes").write_text("4000")
    assert cgroup_memory(tmp_path) == (3000, 4000)
    (folder / "memory.limit_in_bytes").write_text(str(0x7FFFFFFFFFFFF000))
    assert cgroup_memory(tmp_path) == (3000, None)


def test_absent_sensors_are_absent(tmp_path: Path) -> None:
    assert cgroup_memory(tmp_path) == (None, None)
    assert pressure(tmp_path / "none") is None
    (tmp_path / "memory").write_text("some avg10=12.50 avg60=0.00 avg300=0.00 total=1\n")
    assert pressure(tmp_path / "memory") == 0.125


def test_the_device_finds_its_probe() -> None:
    registry = Registry()
    assert isinstance(find_probe(registry, "cpu"), HostProbe)
    assert find_probe(registry, "tpu") is None
