"""Ridge regression as the linear path's start: what has a closed form need not be searched for."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from .batches import LONG
from .dataset import Batch
from .masks import Mask, past, split
from .model import LinearPath
from .network import Network
from .prediction import divided, parts

# Of the steps, repeated for each that is left out.
_BYTES, _FLOAT = 2**30, 4


@torch.no_grad()
def start_from_ridge(network: Network, batches: Iterable[Batch], strength: float) -> None:
    """Set the linear path to the ridge regressions of each step from the others, leave-one-out,
    and from the past.

    One pass over the batches; the normal equations take (4 D)^2 + (3 D)^2 floats. The predictor's
    output starts at zero, so that the untrained model is the regression.

    Args:
        network: of objective `frozen`, with a linear path.
        batches: the training part.
        strength: of the penalty, for standardised inputs.
    """
    path = network.jepa.linear
    assert path is not None
    others, before = _Equations(path.others.weight), _Equations(path.past.weight)
    device = path.others.weight.device
    for batch in batches:
        here = batch.to(device)
        steps, prompts = network.standardise(here.latents, here.prompts)
        rows, count, width = steps.shape
        if count > LONG:
            # Repeated for each of them, they would take the square of their number.
            for row in range(rows):
                own, prompt = steps[row : row + 1], prompts[row : row + 1]
                others.take(path.features_each(own, prompt, False), own)
                before.take(path.features_each(own, prompt, True), own)
            continue
        places = torch.arange(count)
        size = max(1, _BYTES // (_FLOAT * count * width))
        for begin, stop in parts(rows * count, size):
            trace, place = divided(torch.arange(begin, stop), places)
            mask = split(place[:, None], count).to(device)
            trace = trace.to(device)
            others.add(path, steps[trace], prompts[trace], mask)
        for step in range(count):
            before.add(path, steps, prompts, past(rows, step, step + 1).to(device))
    others.solve(strength)
    before.solve(strength)
    network.jepa.predictor.out.weight.zero_()
    network.jepa.predictor.out.bias.zero_()


class _Equations:
    """Normal equations of one map.

    Args:
        weight: [E, F], where the solution goes.
    """

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight
        self._squares = weight.new_zeros(weight.shape[1], weight.shape[1])
        self._products = weight.new_zeros(weight.shape[1], weight.shape[0])

    def add(self, path: LinearPath, steps: Tensor, prompts: Tensor, mask: Mask) -> None:
        """Steps [B, S, D] with their masks; the masked ones are what is sought."""
        wanted = steps.gather(1, mask.masked[..., None].expand(-1, -1, steps.shape[-1]))
        self.take(path.features(steps, prompts, mask), wanted)

    def take(self, inputs_BMF: Tensor, wanted_BME: Tensor) -> None:
        """Inputs, and what is sought from them."""
        inputs = inputs_BMF.flatten(0, 1)
        self._squares.addmm_(inputs.T, inputs)
        self._products.addmm_(inputs.T, wanted_BME.flatten(0, 1))

    def solve(self, strength: float) -> None:
        """Each input is penalised by its variance, which is to standardise it; the constant, the
        last one, is not."""
        means = self._squares[-1] / self._squares[-1, -1]
        variances = self._squares.diagonal() / self._squares[-1, -1] - means**2
        variances[-1] = 0.0
        variances[:-1].clamp_(min=1e-6)
        self._squares.diagonal().add_(strength * variances)
        self._weight.copy_(torch.linalg.solve(self._squares, self._products).T)
