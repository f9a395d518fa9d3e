"""A world model's description as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rjepa_core.domain.identity import LatentSpace
from rjepa_core.ports.world_model import TargetSpace, WorldModelInfo


def info_from_json(facts: Mapping[str, Any], location: str) -> WorldModelInfo:
    """What `/info` says of the world model.

    Raises:
        KeyError, TypeError, ValueError: it is another service's.
    """
    found = LatentSpace.from_json(facts["space"])
    if found.fingerprint != facts["fingerprint"]:
        raise ValueError("its latent space has another fingerprint than it says")
    return WorldModelInfo(
        location=location,
        space=found,
        hidden_size=int(facts["hidden_size"]),
        target_size=int(facts["target_size"]),
        target_space=TargetSpace(facts["target_space"]),
        objective=str(facts["objective"]),
        quantiles={int(key): tuple(values) for key, values in facts["quantiles"].items()},
        # Older services do not say.
        network=str(facts.get("network", "")),
        seed=facts.get("seed"),
    )


def info_to_json(info: WorldModelInfo) -> dict[str, Any]:
    """Inverse of `info_from_json`, through JSON; the service's own limits aside.

    How far ahead it looks and its configuration, which names places, stay with the run.
    """
    return {
        "fingerprint": info.space.fingerprint,
        "space": json.loads(json.dumps(info.space.to_json())),
        "hidden_size": info.hidden_size,
        "target_size": info.target_size,
        "target_space": info.target_space.value,
        "objective": info.objective,
        "quantiles": {str(key): list(values) for key, values in info.quantiles.items()},
        "network": info.network,
        "seed": info.seed,
    }
