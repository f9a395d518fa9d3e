"""Ridge regression as the linear path's start: what has a closed form need not be searched for."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from .dataset import Batch
from .masks import Mask, leave_one_out
from .network import Network


@torch.no_grad()
def start_from_ridge(network: Network, batches: Iterable[Batch], strength: float) -> None:
    """Set the linear path to the ridge regression of each step from the others, leave-one-out.

    One pass over the batches; the normal equations take (4 D)^2 floats. The predictor's output
    starts at zero, so that the untrained model is the regression.

    Args:
        network: of objective `frozen`, with a linear path.
        batches: the training part.
        strength: added to the diagonal, for standardised inputs.
    """
    path = network.jepa.linear
    assert path is not None
    weight = path.map.weight
    gram = torch.zeros(weight.shape[1], weight.shape[1], device=weight.device)
    cross = torch.zeros(weight.shape[1], weight.shape[0], device=weight.device)
    for batch in batches:
        here = batch.to(weight.device)
        steps, prompts = network.standardise(here.latents, here.prompts)
        rows, count, width = steps.shape
        each = leave_one_out(count)
        mask = Mask(
            each.visible.repeat(rows, 1).to(weight.device),
            each.masked.repeat(rows, 1).to(weight.device),
        )
        inputs = path.features(
            steps.repeat_interleave(count, 0), prompts.repeat_interleave(count, 0), mask
        ).flatten(0, 1)
        gram.addmm_(inputs.T, inputs)
        cross.addmm_(inputs.T, steps.reshape(-1, width))
    gram.diagonal().add_(strength)
    weight.copy_(torch.linalg.solve(gram, cross).T)
    network.jepa.predictor.out.weight.zero_()
    network.jepa.predictor.out.bias.zero_()
