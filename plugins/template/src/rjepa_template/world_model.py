"""A world model that predicts each step as the mean of its context.

A run is a folder with one JSON file: mean and scale of the latents it was trained on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from rjepa_core.domain.identity import Generation, Identity
from rjepa_core.errors import InputError, UsageError
from rjepa_core.plugins import open_store
from rjepa_core.ports.world_model import (
    Context,
    LatentSequence,
    TargetSpace,
    TrainSummary,
    TrainWatch,
    Verification,
    WorldModelInfo,
    check_ahead,
    check_verifies,
)
from rjepa_core.settings import TrainSettings

FILE = "template.json"
# Steps ahead that are predicted at most; leave `horizon` out if yours predicts the next one alone.
FURTHEST = 8
Floats = NDArray[np.float32]


class TemplateWorldModel:
    """A world model that predicts in the standardised space of the LLM's own latents."""

    def __init__(self, location: str, device: str) -> None:
        run = json.loads((Path(location) / FILE).read_text(encoding="utf-8"))
        space = Identity.from_json(run["identity"]).space
        self._mean = np.asarray(run["mean"], np.float32)
        self._scale = np.asarray(run["scale"], np.float32)
        width = len(self._mean)
        own = TargetSpace.LLM
        self.info = WorldModelInfo(
            location, space, width, width, own, "mean", horizon=FURTHEST, verifies=True
        )

    def predict(
        self,
        sequences: Sequence[LatentSequence],
        context: Context = Context.OTHERS,
        ahead: int = 1,
    ) -> list[Floats]:
        check_ahead(self.info, context, ahead)
        return [
            np.stack(
                [
                    self._mean_of(one, step, range(step - ahead + 1, step + 1), context)
                    for step in range(len(one.latents))
                ]
            )
            for one in self._check(sequences)
        ]

    def predict_masked(
        self, sequences: Sequence[LatentSequence], masked: Sequence[Sequence[int]]
    ) -> list[Floats]:
        found = []
        for number, (one, steps) in enumerate(zip(self._check(sequences), masked, strict=True)):
            known = set(range(len(one.latents)))
            if not steps or len(set(steps)) < len(steps) or not set(steps) <= known:
                raise InputError(f"sequence {number}: {list(steps)} are no steps to mask")
            found.append(np.stack([self._mean_of(one, s, steps, Context.OTHERS) for s in steps]))
        return found

    def targets(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        return [self._standard(one.latents) for one in self._check(sequences)]

    def surprise(
        self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
    ) -> list[Floats]:
        pairs = zip(self.predict(sequences, context), self.targets(sequences), strict=True)
        return [np.square(predicted - target).mean(axis=1) for predicted, target in pairs]

    def embeddings(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        return self.targets(sequences)

    def verify(self, sequences: Sequence[LatentSequence]) -> list[Verification]:
        # A real one is trained on labels; here what is unexpected counts as wrong.
        check_verifies(self.info, sequences)
        return [
            Verification((one / (1 + one)).astype(np.float32), float(1 / (1 + one.max())))
            for one in self.surprise(sequences)
        ]

    def unstandardise(self, predictions: Floats) -> Floats:
        return predictions * self._scale + self._mean

    def close(self) -> None:
        pass

    def _mean_of(
        self, one: LatentSequence, step: int, hidden: Sequence[int], context: Context
    ) -> Floats:
        """Return the mean [D] of the prompt and the visible steps."""
        last = step if context is Context.PAST else len(one.latents)
        seen = [i for i in range(last) if i not in hidden]
        mean: Floats = self._standard(np.vstack([one.prompt[None], one.latents[seen]])).mean(axis=0)
        return mean

    def _standard(self, latents: Floats) -> Floats:
        return (latents - self._mean) / self._scale

    def _check(self, sequences: Sequence[LatentSequence]) -> Sequence[LatentSequence]:
        width = len(self._mean)
        for number, one in enumerate(sequences):
            shapes = one.latents.shape, one.prompt.shape
            if shapes != ((max(1, len(one.latents)), width), (width,)):
                raise InputError(
                    f"sequence {number}: latents {shapes[0]} and prompt {shapes[1]}, "
                    f"expected [S, {width}] and [{width}]"
                )
            if not (np.isfinite(one.latents).all() and np.isfinite(one.prompt).all()):
                raise InputError(f"sequence {number}: NaN or infinite values")
        return sequences


def claims(location: str) -> bool:
    """Return whether the folder holds a run of this kind."""
    return (Path(location) / FILE).is_file()


def train(run: str, settings: TrainSettings, watch: TrainWatch) -> TrainSummary:
    """Compute mean and scale of the stores' latents, and write them into the folder `run`."""
    if not settings.data.stores:
        raise UsageError("data.stores: no store to train on; name one")
    began = time.perf_counter()
    vectors: list[NDArray[Any]] = []
    traces, layer = 0, settings.data.layer
    for place in settings.data.stores:
        store = open_store(place)
        identity = store.identity
        if identity is None:
            raise UsageError(f"{place}: the store holds nothing to train on")
        layers = identity.space.layers
        layer = layers[0] if layer is None else layer
        for key in store.keys():  # noqa: SIM118
            record = store.get(key)
            vectors.append(record.latents[layers.index(layer)].astype(np.float64))
            traces += 1
        store.close()
    every = np.concatenate(vectors)
    space = attrs.evolve(identity.space, layers=(layer,))
    written = {
        "identity": Identity(space, Generation("given")).to_json(),
        "mean": every.mean(axis=0).tolist(),
        "scale": np.maximum(every.std(axis=0), 1e-6).tolist(),
    }
    Path(run).mkdir(parents=True)
    (Path(run) / FILE).write_text(json.dumps(written), encoding="utf-8")
    seconds = time.perf_counter() - began
    best = float(np.square((every - every.mean(0)) / np.maximum(every.std(0), 1e-6)).mean())
    return TrainSummary(run, 1, 1, traces, seconds, 0, best, "done")
