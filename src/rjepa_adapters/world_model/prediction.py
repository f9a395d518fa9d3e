"""Predictions and surprise of a trained model, part by part. All of it is deterministic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from rjepa_core.ports.world_model import (
    Context,
)

from .masks import Mask, each_past, split
from .model import Block, Jepa

# Rows of one forward pass, (trace, masked step) pairs, and the memory that they may take.
_ROWS = 512
PASS_BYTES = 256 * 2**20
_FLOAT = 4
# A trace of more is refused: S steps take S passes over S steps each.
MOST_STEPS = 4096


def predict_each(
    model: Jepa,
    steps_BSD: Tensor,
    prompt_BD: Tensor,
    domain_B: Tensor,
    context: Context,
    places_K: Tensor | None = None,
    ahead: int = 1,
) -> Tensor:
    """[B, K, E]: each step, or each at those places, predicted from its context; from the past
    `ahead` steps before it."""
    rows, count, _ = steps_BSD.shape
    device = steps_BSD.device
    places = torch.arange(count) if places_K is None else places_K
    masks = len(places)
    size = pairs_at_once(masks, row_bytes(model, count))
    found = []
    for begin, stop in parts(rows * masks, size):
        pair = torch.arange(begin, stop)
        # From the past, steps of one place stand together: little is filled up.
        past = context is Context.PAST
        trace, place = (pair % rows, places[pair // rows]) if past else divided(pair, places)
        mask = each_past(place, ahead) if past else split(place[:, None], count)
        # What comes later need not be carried along.
        seen = steps_BSD[:, : int(place.max()) + 1] if past else steps_BSD
        trace = trace.to(device)
        made = model(seen[trace], prompt_BD[trace], domain_B[trace], mask.to(device))
        found.append(made[:, 0])
    made = torch.cat(found)
    if context is Context.PAST:
        return made.view(masks, rows, -1).transpose(0, 1)
    return made.view(rows, masks, -1)


def predict_masked(
    model: Jepa,
    steps_BSD: Tensor,
    prompt_BD: Tensor,
    domain_B: Tensor,
    mask: Mask,
) -> Tensor:
    """[B, M, E]: one mask a trace, all masked steps from the visible ones."""
    return model(steps_BSD, prompt_BD, domain_B, mask.to(steps_BSD.device))


def pairs_at_once(masks: int, each: int) -> int:
    """(trace, masked step) pairs of one pass: whole traces of `masks` pairs where they fit, and no
    more than the memory for activations holds at `each` bytes."""
    return max(1, min(max(1, _ROWS // masks) * masks, PASS_BYTES // each))


def divided(pair: Tensor, places_K: Tensor) -> tuple[Tensor, Tensor]:
    """Trace and place of each pair, where the pairs go through trace after trace."""
    return pair // len(places_K), places_K[pair % len(places_K)]


def row_bytes(model: Jepa, steps: int) -> int:
    """What one row of a forward pass takes at most, its steps repeated for it included."""
    width = model.hidden_size
    # Repeated, those that are visible, and, for the linear path, with zeros at the others.
    vectors = 4 * steps * width
    blocks = [one for one in model.modules() if isinstance(one, Block)]
    tokens = steps + 1
    within = max((14 * tokens * b.out.in_features + b.heads * tokens**2 for b in blocks), default=0)
    return _FLOAT * (vectors + within)


def parts(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Begin and end of parts of `size` at most."""
    return ((i, min(i + size, count)) for i in range(0, count, size))


def surprise(predicted: Tensor, targets: Tensor, target_std: Tensor | float) -> Tensor:
    """[...]: the mean over E of the squared error in the standardised target space."""
    return ((predicted.float() - targets.float()) / target_std).square().mean(-1)


def percentiles(values: Sequence[float]) -> list[float]:
    """The 0th to 100th percentile, 101 values."""
    points = torch.linspace(0, 1, 101, dtype=torch.float64)
    return torch.quantile(torch.tensor(values, dtype=torch.float64), points).tolist()
