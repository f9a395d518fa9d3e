"""The memory of a CUDA device, as used by all processes on the card."""

from __future__ import annotations

import torch

from rjepa_core.ports.probe import MemoryReading


class CudaProbe:
    """Reads `torch.cuda`: the whole card, this process's peak, and allocator retries."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._retries = self._total_retries()

    def read(self) -> MemoryReading:
        free, total = torch.cuda.mem_get_info(self._device)
        # Memory that the allocator holds but does not use is free for this process.
        reserved = torch.cuda.memory_reserved(self._device)
        allocated = torch.cuda.memory_allocated(self._device)
        peak = torch.cuda.max_memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        retries = self._total_retries()
        new, self._retries = retries - self._retries, retries
        used = total - free - (reserved - allocated)
        return MemoryReading(used, total, peak, new, held_bytes=allocated)

    def _total_retries(self) -> int:
        return int(torch.cuda.memory_stats(self._device).get("num_alloc_retries", 0))
