"""Register `hf:USER/NAME` as a store to be read, and as a world model."""

from __future__ import annotations

from collections.abc import Iterable

from rjepa_core.errors import UnsupportedError
from rjepa_core.plugins import (
    NoSettings,
    StoreAdapter,
    WorldModelAdapter,
    hookimpl,
    open_store,
    open_world_model,
)
from rjepa_core.ports.store import LatentStore, StoreMode
from rjepa_core.ports.world_model import WorldModel

from .fetch import PREFIX, fetch, is_store


def _create(location: str, mode: StoreMode, settings: NoSettings) -> LatentStore:
    if mode == "write":
        raise UnsupportedError(
            f"{PREFIX}{location}: a store on the Hugging Face Hub is only read; write to a "
            "folder, and upload that with rjepa_adapters.hub.push_to_hub"
        )
    return open_store(fetch(location, "store"))


def _beside(location: str) -> str:
    return str(fetch(location, "store"))


def _open(location: str, device: str) -> WorldModel:
    return open_world_model(fetch(location, "world_model"), device)


@hookimpl
def rjepa_stores() -> Iterable[StoreAdapter]:
    return [
        StoreAdapter(
            name="hf",
            summary="a store on the Hugging Face Hub, hf:USER/NAME; read only",
            create=_create,
            exists=is_store,
            beside=_beside,
        )
    ]


@hookimpl
def rjepa_world_models() -> Iterable[WorldModelAdapter]:
    return [
        WorldModelAdapter(
            name="hf",
            summary="a world model on the Hugging Face Hub, hf:USER/NAME",
            open=_open,
            claims=lambda location: location.startswith(PREFIX),
        )
    ]
