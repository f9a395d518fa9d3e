"""Stored records as the evaluation needs them: one layer, one split, float32."""

from __future__ import annotations

import attrs

from ..domain.identity import LatentSpace, check_space
from ..errors import UsageError
from ..ports.store import LatentStore


def layer_in(store: LatentStore, space: LatentSpace, owner: str) -> int:
    """Which of the store's layers the latent space `space` of `owner` means.

    Raises:
        UsageError: the store was never written to.
        IdentityError: its records are of another latent space; the settings that differ are named.
    """
    identity = store.identity
    if identity is None:
        raise UsageError(f"{store.location}: holds no records")
    layers = identity.space.layers
    common = tuple(layer for layer in layers if layer in space.layers)
    check_space(attrs.evolve(identity.space, layers=common or layers), space, store.location, owner)
    return layers.index(common[0])
