"""Batches of a dataset in a sampler's order, read ahead by processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from types import FrameType

import torch

from rjepa_core.errors import UsageError

from .batches import LengthBatches
from .dataset import Batch, LatentDataset

# Batches come from the workers through it; locks and queues need some of it, too.
_SHARED, _SHARED_BYTES = "/dev/shm", 2**20
# Seconds in which a worker that is told to leave has left.
_PATIENCE = 5.0


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
        self._workers, self._ahead, self._context = num_workers, num_workers * prefetch, context
        self._pool: ProcessPoolExecutor | None = None

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
        if self._workers:
            try:
                for batch in self._read_ahead():
                    done += 1
                    yield self._pinned(batch)
                return
            except BrokenProcessPool:
                pass
            self.close()
            self._workers = 0
            self._warn(
                "a process that read ahead (training.num_workers) was killed, perhaps because "
                "memory ran short; the training process reads on by itself"
            )
        for rows in islice(self._sampler, done, None):
            yield self._pinned(self._dataset.__getitems__(rows))

    def close(self) -> None:
        """End the workers; reading on starts others."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        processes = [*(pool._processes or {}).values()]
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.join(timeout=_PATIENCE)
            # One that was killed a moment ago may have left the others waiting for it.
            process.kill()
        pool.shutdown()

    def _read_ahead(self) -> Iterator[Batch]:
        waiting: deque[Future[Batch]] = deque()
        try:
            for rows in self._sampler:
                waiting.append(self._submit(rows))
                if len(waiting) > self._ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except RuntimeError as error:
            if "shared memory" not in str(error):
                raise
            raise self._unusable(f"{_SHARED}: {str(error).splitlines()[0]}") from None
        finally:
            for future in waiting:
                future.cancel()

    def _submit(self, rows: Sequence[int]) -> Future[Batch]:
        try:
            if self._pool is None:
                self._check_shared()
                self._pool = ProcessPoolExecutor(
                    self._workers,
                    multiprocessing.get_context(self._context),
                    initializer=_begin,
                    initargs=(self._dataset,),
                )
            with blocked():
                return self._pool.submit(_read, rows)
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from None

    def _check_shared(self) -> None:
        """What is missing at once is said before anything is started."""
        if not os.path.isdir(_SHARED):
            return
        place = os.statvfs(_SHARED)
        free, total = (blocks * place.f_frsize >> 10 for blocks in (place.f_bavail, place.f_blocks))
        if free < _SHARED_BYTES >> 10:
            raise self._unusable(f"{_SHARED} has {free:,} KiB of {total:,} KiB left; enlarge it")

    def _unusable(self, reason: str) -> UsageError:
        """They cannot be started, or not be heard."""
        return UsageError(
            f"training.num_workers: {self._workers} processes that read ahead do not get what they "
            f"need: {reason}, or read in the training process: training.num_workers=0"
        )

    def _pinned(self, batch: Batch) -> Batch:
        return batch.pin_memory() if self._pin else batch


_dataset: LatentDataset | None = None


def _begin(dataset: LatentDataset) -> None:
    """In a worker, before anything is read."""
    global _dataset
    leave_to_parent()
    torch.set_num_threads(1)
    _dataset = dataset
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed tells nobody to leave."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _read(rows: Sequence[int]) -> Batch:
    assert _dataset is not None
    return _dataset.__getitems__(rows)


# Windows lacks the last one.
_ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


@contextmanager
def deferred() -> Iterator[None]:
    """What Python's handlers do to signals that come in here, they do when it ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    handlers = {one: signal.getsignal(one) for one in _ENDING}
    handlers = {one: handler for one, handler in handlers.items() if callable(handler)}
    for one in handlers:
        signal.signal(one, note)
    try:
        yield
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)
        for number in dict.fromkeys(came):
            signal.raise_signal(number)


@contextmanager
def blocked() -> Iterator[None]:
    """A process that is started in here meets no signal before it is ready for one; see
    `leave_to_parent`."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """Have this process, a worker, ended by its parent alone, as far as the parent can still end
    it: Ctrl-C and a terminal that goes away reach all processes of a terminal."""
    for number in _ENDING:
        terminates = number == signal.SIGTERM
        signal.signal(number, signal.SIG_DFL if terminates else signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
