"""The host probe reads real sensors, and says where one is absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from rjepa_adapters.huggingface.placement import free_bytes
from rjepa_adapters.probes import host
from rjepa_adapters.probes.host import HostProbe, cgroup_memory, pressure
from rjepa_core.plugins.hooks import ProbeAdapter
from rjepa_core.plugins.locate import find_probe
from rjepa_core.plugins.registry import Registry
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


def nested(root: Path, groups: dict[str, dict[str, object]]) -> Path:
    """A tree of groups below `root`, and what `/proc` says of a process in the last of them."""
    own = root / "own"
    own.mkdir()
    for name, files in groups.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (root / name / file).write_text(f"{content}\n")
    return own


def v1(used: int, limit: int = 0x7FFFFFFFFFFFF000, cache: int = 0) -> dict[str, object]:
    return {
        "memory.usage_in_bytes": used,
        "memory.limit_in_bytes": limit,
        "memory.stat": f"inactive_file 1\ntotal_inactive_file {cache}",
    }


def v2(used: int, most: object = "max", high: object = "max", cache: int = 0) -> dict[str, object]:
    return {
        "memory.current": used,
        "memory.max": most,
        "memory.high": high,
        "memory.stat": f"anon 1\ninactive_file {cache}",
    }


def test_a_limit_above_the_process_version_2(tmp_path: Path) -> None:
    """As Slurm and systemd set it: on the job, not on the process's own group."""
    own = nested(
        tmp_path,
        {
            "slurm": v2(90_000),
            "slurm/job": v2(5000, 8000, cache=1000),
            "slurm/job/step": v2(2000, 9000),
            "slurm/job/step/task": v2(1000),
            "slurm/other": v2(10, 20),
        },
    )
    (own / "cgroup").write_text("0::/slurm/job/step/task\n")
    assert cgroup_memory(tmp_path, own) == (4000, 8000)


def test_where_the_kernel_slows_a_group_down_is_a_limit(tmp_path: Path) -> None:
    own = nested(tmp_path, {"user": v2(3000, 8000), "user/run": v2(2000, 6000, high=5000)})
    (own / "cgroup").write_text("0::/user/run\n")
    assert cgroup_memory(tmp_path, own) == (2000, 5000)


def test_a_limit_above_the_process_version_1(tmp_path: Path) -> None:
    groups = {
        "memory": v1(90_000),
        "memory/job": v1(5000, 8000, cache=1000),
        "memory/job/step": v1(2000),
        "unified/job/step": {},
    }
    own = nested(tmp_path, groups)
    (own / "cgroup").write_text("9:cpu,cpuacct:/\n4:memory:/job/step\n0::/job/step\n")
    assert cgroup_memory(tmp_path, own) == (4000, 8000)


def test_of_equal_limits_the_upper_group_has_more_in_it(tmp_path: Path) -> None:
    own = nested(tmp_path, {"a": v2(7000, 8000), "a/b": v2(1000, 8000)})
    (own / "cgroup").write_text("0::/a/b\n")
    assert cgroup_memory(tmp_path, own) == (7000, 8000)


def test_both_versions_at_once(tmp_path: Path) -> None:
    own = nested(tmp_path, {"memory/a": v1(10, 9000), "unified/b": v2(20, 8000)})
    (own / "cgroup").write_text("4:memory:/a\n0::/b\n")
    assert cgroup_memory(tmp_path, own) == (20, 8000)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/docker/abc", (3000, 8000)),  # the container's group is mounted as the root
        ("/docker/abc/inner", (1000, 2000)),
        ("/../abc/inner", (3000, 8000)),  # outside of the namespace
        ("/", (3000, 8000)),
    ],
)
def test_in_a_container(tmp_path: Path, path: str, found: tuple[int, int]) -> None:
    own = nested(tmp_path, {"memory": v1(3000, 8000), "memory/inner": v1(1000, 2000)})
    (own / "cgroup").write_text(f"4:memory:{path}\n")
    assert cgroup_memory(tmp_path, own) == found


def test_a_load_may_take_what_the_group_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = psutil.virtual_memory().total
    for group, most in (((300, 1000), 700), ((2000, 1000), 0)):
        monkeypatch.setattr(host, "cgroup_memory", lambda group=group: group)
        assert host.free_bytes() == free_bytes(torch.device("cpu")) == most
    for nothing in ((None, None), (300, None), (0, 2 * machine)):
        monkeypatch.setattr(host, "cgroup_memory", lambda group=nothing: group)
        assert 0 < host.free_bytes() <= machine


def test_absent_sensors_are_absent(tmp_path: Path) -> None:
    assert cgroup_memory(tmp_path) == (None, None)
    assert pressure(tmp_path / "none") is None
    (tmp_path / "memory").write_text("some avg10=12.50 avg60=0.00 avg300=0.00 total=1\n")
    assert pressure(tmp_path / "memory") == 0.125


def test_the_device_finds_its_probe() -> None:
    registry = Registry()
    assert isinstance(find_probe(registry, "cpu"), HostProbe)
    assert find_probe(registry, "tpu") is None
