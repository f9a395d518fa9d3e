"""Register the Hugging Face backend; torch is imported only when a model is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rjepa_core.plugins import BackendAdapter, hookimpl
from rjepa_core.settings import ModelSettings

from .settings import HuggingFaceSettings

if TYPE_CHECKING:
    from rjepa_core.ports.backend import LLMBackend


def _create(model: ModelSettings, settings: HuggingFaceSettings) -> LLMBackend:
    from ..dynamo import import_dynamo

    import_dynamo()
    from .backend import HuggingFaceBackend
    from .loading import load

    return HuggingFaceBackend(load(model, settings), settings)


def _context(model: ModelSettings, settings: HuggingFaceSettings) -> int | None:
    from .loading import context

    return context(model, settings)


def _diagnose() -> Mapping[str, str]:
    from .diagnosis import diagnose

    return diagnose()


def _models() -> Sequence[str]:
    from .names import known_models

    return known_models()


@hookimpl
def rjepa_backends() -> Iterable[BackendAdapter]:
    return [
        BackendAdapter(
            name="huggingface",
            summary="transformers: dense, GGUF and AWQ checkpoints, in batches",
            settings=HuggingFaceSettings,
            create=_create,
            diagnose=_diagnose,
            context=_context,
            models=_models,
        )
    ]
