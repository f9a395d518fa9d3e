"""A store or a world model that a function was given: open, or by its location."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError
from ..ports.store import LatentStore, StoreMode
from ..ports.world_model import WorldModel
from .locate import locate, open_world_model
from .registry import Registry

if TYPE_CHECKING:
    from os import PathLike

    Place = str | PathLike[str]


@contextmanager
def given_store(
    store: LatentStore | Place,
    mode: StoreMode = "read",
    registry: Registry | None = None,
    name: str = "store",
) -> Iterator[LatentStore]:
    """Yield an open store as it is; one that is given by its location is opened, never created, and
    closed in the end. `name` is the argument's name, for the message.

    Raises:
        ArgumentError: it is neither.
        StoreNotFoundError: there is no store.
    """
    given: Any = store
    if _is_place(given):
        place = locate(given, registry)
        place.require()
        opened = place.open(mode)
        try:
            yield opened
        finally:
            opened.close()
    elif hasattr(given, "read_latents"):
        yield given
    else:
        raise ArgumentError(
            f"{name}: got {store!r:.80}, expected what open_store(…) returns, or its location"
        )


@contextmanager
def given_world_model(
    world_model: WorldModel | Place, registry: Registry | None = None
) -> Iterator[WorldModel]:
    """Yield an open world model as it is; one that is given by its location, or by the name of a
    pretrained run, is opened, and closed in the end.

    Raises:
        ArgumentError: it is neither.
        InputError: no adapter knows the location.
    """
    given: Any = world_model
    if _is_place(given):
        opened = open_world_model(given, registry=registry)
        try:
            yield opened
        finally:
            opened.close()
    elif hasattr(world_model, "surprise"):
        yield given
    else:
        raise ArgumentError(
            f"world_model: got {world_model!r:.80}, expected what open_world_model(…) returns, or "
            "its location"
        )


def _is_place(value: object) -> bool:
    return isinstance(value, str) or hasattr(type(value), "__fspath__")
