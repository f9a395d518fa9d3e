"""Register the world model of a service."""

from __future__ import annotations

from collections.abc import Iterable

from rjepa_core.plugins import WorldModelAdapter, hookimpl
from rjepa_core.ports.world_model import WorldModel


def _open(location: str, device: str) -> WorldModel:
    from .client import RemoteWorldModel

    return RemoteWorldModel(location, device)


@hookimpl
def rjepa_world_models() -> Iterable[WorldModelAdapter]:
    return [
        WorldModelAdapter(
            name="remote",
            summary="a world model behind `rjepa-cli serve`, by its address http://…",
            open=_open,
            claims=lambda location: location.lower().startswith(("http://", "https://")),
        )
    ]
