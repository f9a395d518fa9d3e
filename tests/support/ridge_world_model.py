"""A world model of numpy that fills the port: ridge regression on standardised latents.

Its run is a folder with `ridge.npz` and `space.json`, so that stores and command line meet it as
they would meet a trained one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from rjepa_core.domain.identity import Generation, Identity, LatentSpace
from rjepa_core.errors import InputError
from rjepa_core.evaluation.ridge import NormalEquations, Ridge
from rjepa_core.evaluation.targets import Standards, measure
from rjepa_core.plugins.hooks import WorldModelAdapter, hookimpl
from rjepa_core.ports.store import LatentStore
from rjepa_core.ports.world_model import (
    Context,
    LatentSequence,
    TargetSpace,
    WorldModelInfo,
    check_ahead,
)

FILE, SPACE = "ridge.npz", "space.json"
Floats = NDArray[np.float32]


class RidgeWorldModel:
    """See the port. Noise of the given size is added, so that a poor one can be made."""

    def __init__(
        self, location: str, space: LatentSpace, ridge: Ridge, noise: float = 0.0, seed: int = 0
    ) -> None:
        width = len(ridge.standards.mean)
        self._ridge, self._noise = ridge, noise
        self.info = WorldModelInfo(
            location,
            space,
            width,
            width,
            TargetSpace.LLM,
            "ridge",
            {0: tuple([0.0] * 101)},
            horizon=max(ahead for _, ahead in ridge.weights),
            seed=seed,
            configuration={"ridge": {"noise": noise}},
        )

    def predict(
        self,
        sequences: Sequence[LatentSequence],
        context: Context = Context.OTHERS,
        ahead: int = 1,
    ) -> list[Floats]:
        check_ahead(self.info, context, ahead)
        for number, sequence in enumerate(sequences):
            if not np.isfinite(sequence.latents).all():
                raise InputError(f"sequence {number}: not finite")
        random = np.random.default_rng(self.info.seed)
        return [
            p + self._noise * random.standard_normal(p.shape).astype(np.float32)
            for p in self._ridge.predict(sequences, context, ahead)
        ]

    def predict_masked(
        self, sequences: Sequence[LatentSequence], masked: Sequence[Sequence[int]]
    ) -> list[Floats]:
        found = []
        for sequence, hidden in zip(sequences, masked, strict=True):
            seen = sequence.latents.copy()
            seen[list(hidden)] = self._ridge.standards.mean
            found.append(self.predict([attrs.evolve(sequence, latents=seen)])[0][list(hidden)])
        return found

    def targets(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        return self._ridge.targets(sequences)

    def surprise(
        self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
    ) -> list[Floats]:
        pairs = zip(self.predict(sequences, context), self.targets(sequences), strict=True)
        return [((p - t) ** 2).mean(1) for p, t in pairs]

    def embeddings(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        return [
            np.concatenate([p, t], axis=1)
            for p, t in zip(self.predict(sequences), self.targets(sequences), strict=True)
        ]

    def unstandardise(self, predictions: Floats) -> Floats:
        return predictions * self._ridge.standards.scale + self._ridge.standards.mean

    def close(self) -> None:
        pass


def train_ridge(
    store: LatentStore,
    run: Path,
    noise: float = 0.0,
    strength: float = 100.0,
    seed: int = 0,
    horizon: int = 3,
) -> None:
    """Fit to all of a store and write the run."""
    assert store.identity is not None
    space = attrs.evolve(store.identity.space, layers=store.identity.space.layers[:1])
    records = [store.get(key) for key, _ in store.entries()]
    sequences = [
        LatentSequence(
            np.asarray(r.latents[0], np.float32), np.asarray(r.prompt_latent[0], np.float32)
        )
        for r in records
    ]
    standards = measure([sequences])
    weights = {}
    for context, ahead in [(Context.OTHERS, 1), *((Context.PAST, i + 1) for i in range(horizon))]:
        equations = NormalEquations(standards, context, ahead)
        equations.add(sequences)
        weights[f"{context.value} {ahead}"] = equations.solve(strength)
    run.mkdir(parents=True)
    arrays = {**attrs.asdict(standards), **weights, "noise": noise, "seed": seed}
    np.savez(run / FILE, **arrays)
    identity = Identity(space, Generation("given"))
    (run / SPACE).write_text(json.dumps(identity.to_json()))


def open_ridge(location: str, device: str) -> RidgeWorldModel:
    found: Any = np.load(Path(location) / FILE)
    fields = [field.name for field in attrs.fields(Standards)]
    standards = Standards(
        **{name: int(found[name]) if found[name].ndim == 0 else found[name] for name in fields}
    )
    looks = [name.split(" ") for name in found.files if " " in name]
    weights = {(Context(name), int(far)): found[f"{name} {far}"] for name, far in looks}
    space = Identity.from_json(json.loads((Path(location) / SPACE).read_text())).space
    noise, seed = float(found["noise"]), int(found["seed"])
    return RidgeWorldModel(location, space, Ridge(standards, weights), noise, seed)


@hookimpl
def rjepa_world_models() -> Iterable[WorldModelAdapter]:
    return [
        WorldModelAdapter(
            name="ridge",
            summary="ridge regression, for tests",
            open=open_ridge,
            claims=lambda location: (Path(location) / FILE).exists(),
        )
    ]
