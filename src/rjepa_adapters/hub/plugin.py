"""Register `hf:USER/NAME` as a store to be read, and as a world model."""

from __future__ import annotations

from collections.abc import Iterable

from rjepa_core.errors import UnsupportedError
from rjepa_core.plugins import (
    NoSettings,
    StoreAdapter,
    WorldModelAdapter,
    hookimpl,
)
from rjepa_core.ports.store import LatentStore, StoreMode
from rjepa_core.ports.world_model import WorldModel

from .fetch import PREFIX, HubPlace, is_store, store_of, world_model_of


def _create(location: str, mode: StoreMode, settings: NoSettings) -> LatentStore:
    if mode == "write":
        raise UnsupportedError(
            f"{PREFIX}{location}: a store on the Hugging Face Hub is only read; write to a "
            "folder, and upload that with rjepa_adapters.hub.push_to_hub"
        )
    return store_of(location)


def _beside(location: str) -> str:
    """Return a name in the working folder, as the cache holds what the hub does alone."""
    place = HubPlace.of(location)
    names = filter(None, (place.repo_id, place.revision))
    return "@".join(name.replace("/", "--") for name in names)


def _open(location: str, device: str) -> WorldModel:
    return world_model_of(location, device)


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
