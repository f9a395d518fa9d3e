"""Latents of many stores as a dataset for torch, read batch by batch, straight from the stores."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from rjepa_core.domain.latents import Vectors
from rjepa_core.errors import StoreError
from rjepa_core.plugins import open_store
from rjepa_core.ports.store import LatentStore
from rjepa_core.settings import STORE_DTYPES

from .batches import RankShare
from .index import Index


@attrs.frozen(eq=False)
class BatchLabels:
    """What is known about the traces of a batch; NaN where it is not.

    Attributes:
        wrong: float32 [B, S], 1 for a wrong step, 0 for a right one.
        logprobs: float32 [B, S].
        right: float32 [B], 1 for a right answer, 0 for a wrong one.
    """

    wrong: Tensor
    logprobs: Tensor
    right: Tensor


@attrs.frozen(eq=False)
class Batch:
    """Traces of equally many steps, or a part of such a batch.

    Attributes:
        latents: float32 [B, S, D], as the LLM gave them.
        prompts: float32 [B, D].
        domains: int64 [B], places in the index's `domains`.
        whole: traces of the optimiser's batch, all its parts together.
        last: the optimiser moves after this part.
        share: of the part, which these traces are.
        labels: of the traces, where the index has them.
    """

    latents: Tensor
    prompts: Tensor
    domains: Tensor
    whole: int
    last: bool = True
    share: RankShare = attrs.field(
        default=attrs.Factory(
            lambda self: RankShare(0, len(self.latents), len(self.latents)), takes_self=True
        )
    )
    labels: BatchLabels | None = None

    def __len__(self) -> int:
        return len(self.latents)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same on a device."""
        return self._each(lambda values: values.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The same in page-locked memory; the loader calls it."""
        return self._each(lambda values: values.pin_memory())

    def _each(self, call: Callable[[Tensor], Tensor]) -> Batch:
        labels = self.labels
        return attrs.evolve(
            self,
            latents=call(self.latents),
            prompts=call(self.prompts),
            domains=call(self.domains),
            labels=labels and BatchLabels(*map(call, attrs.astuple(labels, recurse=False))),
        )


class LatentDataset(Dataset[Batch]):
    """The records of an index; its memory does not grow with the stores.

    Stores are opened by the process that reads, when it first does, so that the dataset can be
    pickled and handed to workers, forked or spawned.
    """

    def __init__(self, index: Index) -> None:
        self.index = index
        self._stores: dict[int, LatentStore] = {}
        self._inherited: list[dict[int, LatentStore]] = []
        self._pid = os.getpid()

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int) -> Batch:
        """One record: a batch of one."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Records of equally many steps.

        Args:
            indices: B of them; where they are `Rows`, the batch says which part of which it is.

        Raises:
            ValueError: none, or their numbers of steps differ.
            StoreError: a record has gone or changed since the index was made.
            DamagedRecordError: a record does not match its checksum.
        """
        if not len(indices):
            raise ValueError("a batch needs an index at least")
        rows = np.asarray(indices, np.int64)
        steps = self.index.steps[rows]
        if (steps != steps[0]).any():
            raise ValueError(f"traces of {steps.min()} to {steps.max()} steps in one batch")
        of_store = np.searchsorted(self.index.first, rows, side="right") - 1
        numbers = np.unique(of_store).tolist()
        if len(numbers) == 1:
            latents, prompts = self._read(numbers[0], rows, int(steps[0]))
        else:
            width = self.index.hidden_size
            latents = torch.empty(len(rows), int(steps[0]), width)
            prompts = torch.empty(len(rows), width)
            for number in numbers:
                places = np.flatnonzero(of_store == number)
                read = self._read(number, rows[places], int(steps[0]))
                latents[places], prompts[places] = read
        labels = None
        if self.index.supervision is not None:
            found = self.index.supervision.of(rows, int(steps[0]))
            labels = BatchLabels(*map(torch.from_numpy, found))
        return Batch(
            latents,
            prompts,
            torch.from_numpy(self.index.domain[rows].astype(np.int64)),
            getattr(indices, "whole", len(rows)),
            getattr(indices, "last", True),
            getattr(indices, "share", RankShare(0, len(rows), len(rows))),
            labels,
        )

    def _read(self, number: int, rows: NDArray[np.int64], steps: int) -> tuple[Tensor, Tensor]:
        """Latents and prompts of records of one store, in the chosen layer.

        They are read as they are stored: torch widens them twice as fast as numpy does.
        """
        part, width = self.index.stores[number], self.index.hidden_size
        dtype = STORE_DTYPES[self.index.space.store_dtype]
        keys = [self.index.keys[i] for i in rows.tolist()]
        latents = np.empty((len(rows), part.layers, steps, width), dtype)
        prompts = np.empty((len(rows), part.layers, width), dtype)
        try:
            found = self._store(number).read_latents(keys, latents, prompts)
        except (KeyError, ValueError) as error:
            raise StoreError(f"{part.location}: {_text(error)}; {_CHANGED}") from None
        if (found != steps).any():
            raise StoreError(f"{part.location}: {keys[int((found != steps).argmax())]}; {_CHANGED}")
        return _widened(latents[:, part.layer]), _widened(prompts[:, part.layer])

    def _store(self, number: int) -> LatentStore:
        if os.getpid() != self._pid:
            # What was open before the fork is the parent's; it is kept, and never touched.
            self._inherited.append(self._stores)
            self._stores, self._pid = {}, os.getpid()
        if number not in self._stores:
            self._stores[number] = open_store(self.index.stores[number].location)
        return self._stores[number]

    def close(self) -> None:
        """Let go of the stores; reading opens them again."""
        if os.getpid() == self._pid:
            for store in self._stores.values():
                store.close()
        self._stores = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"index": self.index}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["index"])  # type: ignore[misc]


_CHANGED = "the store has changed since its records were counted; start again"


def _widened(values: Vectors) -> Tensor:
    """Stored vectors as float32, contiguous."""
    if values.dtype == STORE_DTYPES["bfloat16"]:
        stored = torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    else:
        stored = torch.from_numpy(values)
    return stored.float().contiguous()


def _text(error: Exception) -> str:
    return str(error.args[0]) if error.args else str(error)
