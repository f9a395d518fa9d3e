"""The traces of stores as a `torch.utils.data.Dataset`, and their batches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from rjepa_core import DataSettings, LatentStore, RecordKey, Registry
from rjepa_core.config import path_text
from rjepa_core.domain.problem import Split
from rjepa_core.errors import ArgumentError
from rjepa_core.text import count

from ..world_model.dataset import LatentDataset
from ..world_model.index import open_index

Location = str | os.PathLike[str]


class TraceDataset(Dataset[dict[str, Any]]):
    """The traces of one or more stores; its memory does not grow with them.

    An item is a dict: `latents` float32 [S, D], `prompt` float32 [D], `steps` S, `key` a
    `RecordKey`, `store` the location. It can be pickled, and read by several workers; `collate`
    makes batches of it:

        loader = DataLoader(TraceDataset("runs/first"), batch_size=32, shuffle=True,
                            collate_fn=collate)

    Args:
        stores: location of a store, or several; all of one latent space. Of an open store its
            location is taken: a store that a worker reads is opened there.
        layer: as an absolute index; needed where the stores hold several.
        split: `train`, `validation` or `test`, as world models are trained and evaluated: a problem
            is in one of them, in whatever store; None for all.
        min_steps: shortest trace that is used, in steps.
        registry: finds the stores' adapters.

    Raises:
        UsageError: a store is missing or empty, or holds no such layer, or nothing is left to read.
        IdentityError: the stores are of several latent spaces; the message names the settings.
        ArgumentError: there is no such split.
    """

    def __init__(
        self,
        stores: Location | LatentStore | Sequence[Location | LatentStore],
        layer: int | None = None,
        split: str | None = None,
        min_steps: int = 1,
        registry: Registry | None = None,
    ) -> None:
        several = stores if isinstance(stores, list | tuple) else [stores]
        names = [path_text(one, "stores") for one in several]
        data = DataSettings(stores=names, layer=layer, min_steps=min_steps)
        self._records = LatentDataset(open_index(data, _split(split), registry=registry))

    def __repr__(self) -> str:
        index = self._records.index
        return (
            f"<TraceDataset: {count(len(self), 'trace')}, {count(int(index.steps.sum()), 'step')}, "
            f"layer {index.space.layers[0]}, D {index.space.hidden_size}>"
        )

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"trace {index} of {len(self)}")
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return several items, those of equally many steps read together."""
        steps = self._records.index.steps[np.asarray(indices, np.int64)]
        found: list[dict[str, Any]] = [{} for _ in indices]
        for size in np.unique(steps).tolist():
            places = np.flatnonzero(steps == size).tolist()
            batch = self._records.__getitems__([indices[place] for place in places])
            for row, place in enumerate(places):
                store, key = self.key(indices[place])
                found[place] = {
                    "latents": batch.latents[row],
                    "prompt": batch.prompts[row],
                    "steps": size,
                    "key": key,
                    "store": store,
                }
        return found

    def key(self, index: int) -> tuple[str, RecordKey]:
        """Return the location of a trace's store, and its key there."""
        number, key = self._records.index.key(index)
        return self._records.index.stores[number].location, key

    @property
    def hidden_size(self) -> int:
        """D."""
        return self._records.index.hidden_size

    def close(self) -> None:
        """Let go of the stores; reading opens them again."""
        self._records.close()


def collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return B items of a `TraceDataset` as a batch, padded with zeros to the longest trace.

    Returns:
        `latents` float32 [B, S, D], `mask` bool [B, S] (true where there is a step), `prompts`
        float32 [B, D], `steps` int64 [B], `keys` and `stores`, B each.
    """
    steps = torch.tensor([item["steps"] for item in items])
    padded: Tensor = torch.nn.utils.rnn.pad_sequence(
        [item["latents"] for item in items], batch_first=True
    )
    return {
        "latents": padded,
        "mask": torch.arange(padded.shape[1])[None] < steps[:, None],
        "prompts": torch.stack([item["prompt"] for item in items]),
        "steps": steps,
        "keys": [item["key"] for item in items],
        "stores": [item["store"] for item in items],
    }


def _split(name: str | None) -> Split | None:
    if name is None:
        return None
    try:
        return Split(name)
    except ValueError:
        known = ", ".join(split.value for split in Split)
        raise ArgumentError(f"split: got {name!r:.80}, expected one of {known}") from None
