"""Batches of a dataset in a sampler's order, read ahead by processes of their own."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import attrs
import torch
from torch.utils.data import DataLoader, Dataset

from rjepa_core.errors import RJepaError, UsageError

from . import signals
from .batches import LengthBatches
from .dataset import Batch, LatentDataset

# Batches come from the workers through it; locks and queues need some of it, too.
_SHARED, _SHARED_BYTES = "/dev/shm", 2**20
_ALONE = "read in the training process: training.num_workers=0"


class Loader:
    """Batches in the sampler's order, whatever the number of workers and whatever becomes of them.

    Workers stay from epoch to epoch; call `sampler.set_epoch` before each. Where one is killed,
    this process reads on by itself.

    Args:
        dataset: to read.
        sampler: which records a batch.
        num_workers: processes that read ahead; 0 reads when asked.
        pin: into page-locked memory, for a CUDA device.
        prefetch: batches that each worker reads ahead.
        context: how workers start: `fork`, `spawn`, `forkserver`, or None as the platform does.
        warn: told if a worker was killed.
    """

    def __init__(
        self,
        dataset: LatentDataset,
        sampler: LengthBatches,
        num_workers: int = 0,
        pin: bool = False,
        prefetch: int = 4,
        context: str | None = None,
        warn: Callable[[str], None] = lambda line: warnings.warn(line, stacklevel=2),
    ) -> None:
        self._dataset, self._sampler, self._pin, self._warn = dataset, sampler, pin, warn
        self._ahead: DataLoader[Batch | _Refused] | None = None
        self._iterator: Any = None
        if num_workers:
            self._ahead = DataLoader(
                _Ahead(dataset),
                batch_sampler=sampler,
                num_workers=num_workers,
                collate_fn=_as_it_is,
                pin_memory=pin,
                persistent_workers=True,
                prefetch_factor=prefetch,
                multiprocessing_context=context,
                worker_init_fn=_deaf,
                # Of its own: each epoch draws a seed for the workers, which must not move torch's.
                generator=torch.Generator(),
            )

    def __len__(self) -> int:
        """Batches, or parts of them, that are still to come in the epoch."""
        return len(self._sampler)

    def __iter__(self) -> Iterator[Batch]:
        """The batches of an epoch.

        Raises:
            StoreError: as the dataset.
            UsageError: the system does not give the workers what they need.
        """
        done = 0
        if self._ahead is not None:
            try:
                for batch in self._read_ahead(self._ahead):
                    done += 1
                    yield batch
                return
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                self._warn(self._lost(self._ahead.num_workers))
            self.close()
        for rows in islice(self._sampler, done, None):
            batch = self._dataset.__getitems__(rows)
            yield batch.pin_memory() if self._pin else batch

    def close(self) -> None:
        """End the workers; what is still to be read, this process reads by itself."""
        iterator, self._iterator, self._ahead = self._iterator, None, None
        if iterator is None:
            return
        iterator._shutdown_workers()
        for process in iterator._workers:
            # One that hangs is deaf to being told to leave, too.
            if process.is_alive():
                process.kill()

    def _read_ahead(self, ahead: DataLoader[Batch | _Refused]) -> Iterator[Batch]:
        _check_shared(ahead.num_workers)
        try:
            with signals.blocked(), signals.quiet_children():
                self._iterator = iter(ahead)
        except OSError as error:
            raise _unusable(ahead.num_workers, error.strerror or str(error)) from None
        for batch in self._iterator:
            if isinstance(batch, _Refused):
                raise batch.error
            yield batch

    def _lost(self, workers: int) -> str:
        codes = [one.exitcode for one in self._iterator._workers if one.exitcode]
        how = f"was killed by signal {-codes[0]}" if codes and codes[0] < 0 else "has ended"
        return (
            f"one of {workers} processes that read ahead (training.num_workers) {how}, perhaps "
            "because memory ran short; the training process reads on by itself"
        )


@attrs.frozen
class _Refused:
    """What a worker has instead of a batch: raised by the process that asked, it is one line."""

    error: RJepaError

    def pin_memory(self) -> _Refused:
        """For the loader, which pins whatever comes."""
        return self


class _Ahead(Dataset[Any]):
    """A dataset as the workers read it."""

    def __init__(self, dataset: LatentDataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitems__(self, indices: Sequence[int]) -> Batch | _Refused:
        """As the dataset, in shared memory."""
        try:
            batch = self._dataset.__getitems__(indices)
        except RJepaError as error:
            return _Refused(error)
        try:
            # Here, not when it is sent: there, a full /dev/shm would lose it without a word.
            for tensor in (batch.latents, batch.prompts, batch.domains):
                tensor.share_memory_()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            info = torch.utils.data.get_worker_info()
            workers = 1 if info is None else info.num_workers
            return _Refused(_unusable(workers, f"{_SHARED}: {str(error).splitlines()[0]}"))
        return batch


def _check_shared(workers: int) -> None:
    """What is missing at once is said before anything is started."""
    if not os.path.isdir(_SHARED):
        return
    place = os.statvfs(_SHARED)
    free = place.f_bavail * place.f_frsize
    if free < _SHARED_BYTES:
        total = place.f_blocks * place.f_frsize
        raise _unusable(
            workers, f"{_SHARED} has {free >> 10:,} KiB of {total >> 10:,} KiB left; enlarge it"
        )


def _unusable(workers: int, reason: str) -> UsageError:
    """They cannot be started, or not be heard."""
    return UsageError(
        f"training.num_workers: {workers} processes that read ahead do not get what they need: "
        f"{reason}, or {_ALONE}"
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _deaf(worker: int) -> None:
    signals.ignore()
