"""Several processes that train one model, each on a device of its own, by torch.distributed.

They are started by `torchrun`, which says in the environment who each of them is. Each takes a
share of every batch's rows; what depends on the whole batch (negatives, regularisers) is gathered,
what is drawn at random is drawn for the whole batch by all of them, so that the number of processes
changes the arithmetic's order and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import attrs
import torch
import torch.distributed as dist
import torch.distributed.nn.functional as distributed
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  the field's usual name

from rjepa_core.errors import UsageError

from .batches import RankShare, shares

# Process 0 looks at the validation part while the others wait for it.
_PATIENCE = timedelta(hours=2)


@attrs.frozen
class Processes:
    """Who this process is.

    Attributes:
        rank: from 0.
        world: how many there are.
        local: which of those on this machine.
    """

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """`training.device` for this process: one card each."""
        several = self.world > 1 and torch.cuda.is_available()
        return f"cuda:{self.local}" if several and name in ("auto", "cuda") else name

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sums over all processes."""
        if self.world == 1:
            return list(values)
        together = torch.tensor(values, dtype=torch.float64, device=_device())
        dist.all_reduce(together)
        return together.tolist()

    def told(self, values: Sequence[float]) -> list[float]:
        """What process 0 says; the others' values only tell how many there are."""
        if self.world == 1:
            return list(values)
        said = torch.tensor(values, dtype=torch.float64, device=_device())
        dist.broadcast(said, 0)
        return said.tolist()

    def meet(self) -> None:
        """Wait until all processes are here."""
        self.sum([0.0])

    def gather(self, own: Tensor, share: RankShare) -> Tensor:
        """[rows of the part, ...] from each process's [rows, ...]; gradients go back to whose
        rows they are."""
        if self.world == 1:
            return own
        sizes = [one.stop - one.start for one in shares(share.rows, self.world)]
        missing = max(sizes) - (share.stop - share.start)
        padded = F.pad(own[: share.stop - share.start], (*[0, 0] * (own.ndim - 1), 0, missing))
        if padded.requires_grad:
            parts = distributed.all_gather(padded)  # type: ignore[no-untyped-call]
        else:
            parts = [torch.empty_like(padded) for _ in sizes]
            dist.all_gather(parts, padded.contiguous())
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


ALONE = Processes()


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """The processes that `torchrun` started, while they work together; this one alone where it
    was started by itself.

    Raises:
        UsageError: the environment is half a torchrun's.
    """
    world = _number("WORLD_SIZE", 1)
    if world == 1:
        yield ALONE
        return
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        if name not in os.environ:
            raise UsageError(f"WORLD_SIZE is {world}, but {name} is not set: start it by torchrun")
    found = Processes(_number("RANK", 0), world, _number("LOCAL_RANK", 0))
    on_cards = torch.cuda.is_available() and device != "cpu"
    if on_cards:
        torch.cuda.set_device(found.local)
    dist.init_process_group("nccl" if on_cards else "gloo", timeout=_PATIENCE)
    try:
        yield found
    finally:
        dist.destroy_process_group()


def _device() -> torch.device:
    if dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _number(name: str, otherwise: int) -> int:
    try:
        return int(os.environ.get(name, otherwise))
    except ValueError:
        raise UsageError(
            f"environment: {name} is {os.environ[name]!r}, which is no number"
        ) from None
