"""Register the built-in memory probes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rjepa_core.plugins import ProbeAdapter, hookimpl
from rjepa_core.ports.probe import MemoryProbe


def _host(device: str, settings: Any) -> MemoryProbe:
    from .host import HostProbe

    return HostProbe()


def _cuda(device: str, settings: Any) -> MemoryProbe:
    from .cuda import CudaProbe

    return CudaProbe(device)


@hookimpl
def rjepa_probes() -> Iterable[ProbeAdapter]:
    return [
        ProbeAdapter(
            name="cuda",
            summary="a CUDA card's memory, as used by everyone",
            create=_cuda,
            claims=lambda device: device.startswith("cuda"),
        ),
        ProbeAdapter(
            name="host",
            summary="the machine's or the control group's memory",
            create=_host,
            claims=lambda device: device == "cpu",
        ),
    ]
