"""The latent space that all stores of a world model share, in the layer that was chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import attrs

from rjepa_core.domain.identity import LatentSpace, differences, known_together
from rjepa_core.errors import IdentityError, UsageError
from rjepa_core.ports.store import LatentStore
from rjepa_core.settings import DataSettings
from rjepa_core.stores import check_prompts_alike


def check_distinct(locations: Sequence[str]) -> None:
    """Refuse a store that is named twice, in whatever words (`UsageError`)."""
    places = Counter(str(Path(location).resolve()) for location in locations)
    for location in locations:
        if places[str(Path(location).resolve())] > 1:
            raise UsageError(f"data.stores: {location} is named twice; name each store once")


def choose_layer(
    data: DataSettings, stores: Sequence[LatentStore]
) -> tuple[list[tuple[int, int]], LatentSpace]:
    """Number of layers and the chosen one's position in each store, and the space that all share.

    Raises:
        UsageError: a store was never written, or does not hold the layer.
        IdentityError: the spaces differ; the message names the settings.
    """
    places: list[tuple[int, int]] = []
    chosen: list[LatentSpace] = []
    for location, store in zip(data.stores, stores, strict=True):
        identity = store.identity
        if identity is None:
            raise UsageError(f"{location}: the store is empty; extract into it first")
        layer = _layer_of(data.layer, identity.space.layers, location)
        layers = identity.space.layers
        places.append((len(layers), layers.index(layer)))
        chosen.append(attrs.evolve(identity.space, layers=(layer,)))
    space = chosen[0]
    for location, other in zip(data.stores[1:], chosen[1:], strict=True):
        named = "; ".join(
            f"{key} is {a} there and {b} here" for key, a, b in differences(space, other)
        )
        if named:
            raise IdentityError(
                f"{location} is of another latent space than {data.stores[0]}: {named}; "
                "a world model belongs to one: leave one of the stores out"
            )
        space = known_together(space, other)
    check_prompts_alike(stores)
    return places, space


def _layer_of(wanted: int | None, layers: Sequence[int], where: str) -> int:
    stored = ", ".join(map(str, layers))
    if wanted is None:
        if len(layers) > 1:
            raise UsageError(
                f"data.layer: {where} holds layers {stored}; choose one: data.layer={layers[-1]}"
            )
        return layers[0]
    if wanted not in layers:
        hint = " (layers are absolute indices here)" if wanted < 0 else ""
        raise UsageError(
            f"data.layer: {where} does not hold layer {wanted}{hint}; it holds {stored}"
        )
    return wanted
