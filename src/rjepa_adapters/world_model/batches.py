"""Batches of traces with equally many steps: nothing is padded."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

Ints = NDArray[np.int32]
# A trace of more steps counts for several of a batch: memory grows with the steps.
LONG = 128


@attrs.frozen
class RankShare:
    """Which rows of a part a process has: `start` to `stop` (exclusive) of `rows`.

    Where there are fewer rows than processes, some have none; they read the first row, and it
    counts for nothing.
    """

    start: int
    stop: int
    rows: int

    @property
    def taken(self) -> slice:
        """The rows that the process reads."""
        return slice(self.start, self.stop) if self.stop > self.start else slice(0, 1)


def shares(rows: int, world: int) -> list[RankShare]:
    """The shares of `world` processes, in order, together all rows."""
    return [RankShare(rows * i // world, rows * (i + 1) // world, rows) for i in range(world)]


class Rows(list[int]):
    """Indices of one batch, or of one part of it.

    Attributes:
        whole: how many the optimiser's batch has, all parts together.
        last: the optimiser moves after this part.
        share: of the part, these indices; all of it, where it is not given.
    """

    def __init__(
        self, indices: list[int], whole: int, last: bool, share: RankShare | None = None
    ) -> None:
        super().__init__(indices)
        self.whole = whole
        self.last = last
        self.share = share or RankShare(0, len(indices), len(indices))

    def __reduce__(self) -> tuple[type[Rows], tuple[list[int], int, bool, RankShare]]:
        return Rows, (list(self), self.whole, self.last, self.share)


class LengthBatches(Sampler[list[int]]):
    """A batch sampler: traces of equal length, shuffled, each exactly once an epoch.

    Traces are shuffled inside each length, cut into batches, and the batches shuffled. What a
    length leaves over is a smaller batch: never dropped, never joined with another length. The
    order follows from seed and epoch, the same on every platform and in every version of numpy.

    Args:
        steps: int32 [N], steps of each trace.
        batch_size: traces per step of the optimiser, at most; of traces of more than `long`
            steps as many fewer as they are longer, one at least.
        seed: of the order.
        accumulate: parts that a batch comes in, one behind the other; a batch of fewer traces has
            fewer. `Rows.last` marks the part after which the optimiser moves.
        ordered: not shuffled: by length, then as the index has them.
        rank, world: which of how many processes this is; each takes its share of every part.
        long: see `batch_size`; None counts every trace as one.
        chosen: the traces that are gone through, places in `steps`; all of them by default.
    """

    def __init__(
        self,
        steps: Ints,
        batch_size: int,
        seed: int = 0,
        accumulate: int = 1,
        ordered: bool = False,
        rank: int = 0,
        world: int = 1,
        long: int | None = LONG,
        chosen: NDArray[np.int64] | None = None,
    ) -> None:
        if batch_size < 1 or accumulate < 1 or seed < 0:
            raise ValueError("batch_size and accumulate must be at least 1, seed at least 0")
        self._chosen = chosen
        self._steps = np.asarray(steps if chosen is None else steps[chosen], np.int32)
        self._batch_size = batch_size
        self._accumulate = accumulate
        self._long = long
        self._seed = seed
        self._ordered = ordered
        self._rank, self._world = rank, world
        self._epoch = 0
        self._skip = 0
        _, self._sizes, self._part_sizes = self._cut()

    @property
    def batches(self) -> int:
        """Batches of an epoch: steps of the optimiser."""
        return len(self._sizes)

    def set_epoch(self, epoch: int) -> None:
        """Order the traces as this epoch does, from its first batch on."""
        self._epoch, self._skip = epoch, 0

    def start(self, batch: int) -> None:
        """Leave out the first `batch` batches of the epoch, which were done before."""
        if not 0 <= batch <= self.batches:
            raise ValueError(f"there is no batch {batch} in an epoch of {self.batches}")
        self._skip = batch

    def __len__(self) -> int:
        """Parts that are still to come in the epoch (batches, where they have one part)."""
        if self._accumulate == 1:
            return self.batches - self._skip
        left = self._batch_order()[self._skip :]
        return int((-(-self._sizes[left] // self._part_sizes[left])).sum())

    def __iter__(self) -> Iterator[list[int]]:
        order = self._order() if self._chosen is None else self._chosen[self._order()]
        starts, sizes, part_sizes = self._cut()
        for number in self._batch_order()[self._skip :]:
            size, most = int(sizes[number]), int(part_sizes[number])
            rows = order[starts[number] : starts[number] + size].tolist()
            for begin in range(0, size, most):
                part = rows[begin : begin + most]
                share = shares(len(part), self._world)[self._rank]
                yield Rows(part[share.taken], size, begin + most >= size, share)

    def _cut(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Where each batch begins in the traces sorted by length, how many it has, and how many
        each of its parts has at most."""
        lengths, counts = np.unique(self._steps, return_counts=True)
        starts: list[int] = []
        sizes: list[int] = []
        part_sizes: list[int] = []
        begin = 0
        for steps, count in zip(lengths.tolist(), counts.tolist(), strict=True):
            most = self._batch_size
            if self._long is not None and steps > self._long:
                most = max(1, most * self._long // steps)
            for offset in range(0, count, most):
                starts.append(begin + offset)
                sizes.append(min(most, count - offset))
                part_sizes.append(-(-most // self._accumulate))
            begin += count
        return np.array(starts, np.int64), np.array(sizes, np.int64), np.array(part_sizes, np.int64)

    def _order(self) -> NDArray[np.int64]:
        """All traces, sorted by length, shuffled inside of each."""
        if self._ordered:
            return np.argsort(self._steps, kind="stable")
        shuffled = self._shuffle(0, len(self._steps))
        return shuffled[np.argsort(self._steps[shuffled], kind="stable")]

    def _batch_order(self) -> NDArray[np.int64]:
        if self._ordered:
            return np.arange(self.batches)
        return self._shuffle(1, self.batches)

    def _shuffle(self, purpose: int, count: int) -> NDArray[np.int64]:
        return shuffled(count, self._seed, self._epoch, purpose)


def shuffled(count: int, *seed: int) -> NDArray[np.int64]:
    """A permutation from raw bits, whose stream numpy promises never to change."""
    source = np.random.PCG64(np.random.SeedSequence(seed))
    return np.argsort(source.random_raw(count), kind="stable")
