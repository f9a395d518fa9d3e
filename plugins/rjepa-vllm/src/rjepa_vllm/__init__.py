"""A backend on vLLM: what it generates comes back as records, pooled where it was made.

Importing this loads neither vLLM nor torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rjepa_core.plugins import BackendAdapter, hookimpl
from rjepa_core.settings import ModelSettings

from .settings import VllmSettings

if TYPE_CHECKING:
    from rjepa_core.ports.backend import LLMBackend

__all__ = ["VllmSettings", "rjepa_backends"]


def _create(model: ModelSettings, settings: VllmSettings) -> LLMBackend:
    from .device import pick_device

    pick_device(model.device)
    from .backend import VllmBackend

    return VllmBackend(model, settings)


def _context(model: ModelSettings, settings: VllmSettings) -> int | None:
    from .checkpoint import context

    return context(model, settings)


def _diagnose() -> Mapping[str, str]:
    from .device import diagnose

    return diagnose()


@hookimpl
def rjepa_backends() -> Iterable[BackendAdapter]:
    return [
        BackendAdapter(
            name="vllm",
            summary="vLLM: continuous batching, tensor parallelism, its own kernels",
            settings=VllmSettings,
            create=_create,
            diagnose=_diagnose,
            context=_context,
        )
    ]
