"""Predictions and surprise of a trained model, batch by batch. All of it is deterministic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from rjepa_core.ports.world_model import Context

from .masks import Mask, leave_one_out, past
from .model import Jepa

# Rows of one forward pass: (trace, masked step) pairs.
_ROWS = 512


def predict_each(
    model: Jepa,
    steps_BSD: Tensor,
    prompt_BD: Tensor,
    domain_B: Tensor,
    context: Context,
) -> Tensor:
    """[B, S, E]: each step predicted from its context; all masks of a trace in one batch."""
    if context is Context.PAST:
        return torch.cat(
            [
                _in_parts(model, steps_BSD, prompt_BD, domain_B, past(1, step, step + 1))
                for step in range(steps_BSD.shape[1])
            ],
            1,
        )
    return _in_parts(model, steps_BSD, prompt_BD, domain_B, leave_one_out(steps_BSD.shape[1]))


def predict_masked(
    model: Jepa,
    steps_BSD: Tensor,
    prompt_BD: Tensor,
    domain_B: Tensor,
    mask: Mask,
) -> Tensor:
    """[B, M, E]: one mask a trace, all masked steps from the visible ones."""
    return model(steps_BSD, prompt_BD, domain_B, mask.to(steps_BSD.device))


def _in_parts(
    model: Jepa,
    steps: Tensor,
    prompt: Tensor,
    domain: Tensor,
    mask: Mask,
) -> Tensor:
    """[B, K, E] for K masks of one step each."""
    masks = len(mask.masked)
    found = []
    for begin, stop in _parts(len(steps), max(1, _ROWS // masks)):
        rows = stop - begin
        made = model(
            steps[begin:stop].repeat_interleave(masks, 0),
            prompt[begin:stop].repeat_interleave(masks, 0),
            domain[begin:stop].repeat_interleave(masks, 0),
            mask.repeat(rows).to(steps.device),
        )
        found.append(made.reshape(rows, masks, -1))
    return torch.cat(found)


def _parts(count: int, size: int) -> Iterator[tuple[int, int]]:
    return ((i, min(i + size, count)) for i in range(0, count, size))


def surprise(predicted: Tensor, targets: Tensor, target_std: Tensor) -> Tensor:
    """[...]: the mean over E of the squared error in the standardised target space."""
    return ((predicted.float() - targets.float()) / target_std).square().mean(-1)


def percentiles(values: Sequence[float]) -> list[float]:
    """The 0th to 100th percentile, 101 values."""
    points = torch.linspace(0, 1, 101, dtype=torch.float64)
    return torch.quantile(torch.tensor(values, dtype=torch.float64), points).tolist()
