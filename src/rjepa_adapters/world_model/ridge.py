"""Ridge regression as the linear path's start: what has a closed form need not be searched for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from .dataset import Batch
from .linear_path import LinearPath
from .network import Network
from .prediction import parts, surprise
from .validation import past_figures, predicted_by

# Of the inputs of a part of a batch.
_BYTES, _FLOAT = 2**28, 4


# Tried where none is given, for standardised inputs.
STRENGTHS = (10.0, 100.0, 300.0, 1000.0, 2000.0, 5000.0, 20000.0)
GAINS = (1.0, 1.05, 1.1, 1.15, 1.2)
_TOLERANCE = 1.05


@torch.no_grad()
def start_from_ridge(
    network: Network,
    batches: Iterable[Batch],
    validation: Sequence[Batch],
    strengths: Sequence[float] = STRENGTHS,
    gains: Sequence[float] = GAINS,
) -> dict[str, float]:
    """Set the linear path to the ridge regressions of each step from the others, leave-one-out,
    and from the past.

    The strength is the one that has the smallest error on validation. A regression shrinks its
    predictions towards the mean, from where all steps look alike: from the past it is stretched
    again, for the best ranks that cost little of the error, and none of what makes it better than
    plain ridge regression.

    One pass over the batches; the normal equations take (4 D)^2 + (3 D)^2 floats. All else of the
    model starts at zero, so that the untrained model is the regression.

    Args:
        network: of objective `frozen`, with a linear path.
        batches: the training part.
        validation: a sample of the validation part.
        strengths: of the penalty, for standardised inputs.
        gains: by which predictions from the past may be stretched.

    Returns:
        what plain ridge regression, of which no step is apart, reaches on the sample, each figure
        with the strength that is best for it: `val_error_past`, `val_top1_past`, `val_mrr_past`,
        `val_error_others`.
    """
    path = network.jepa.linear
    assert path is not None
    maps = {"past": path.past, "others": path.others}
    equations = _equations(network, path, batches)
    reached: dict[str, float] = {}
    for name, one in maps.items():
        error = f"val_error_{name}"
        tried: dict[float, float] = {}
        for strength in strengths:
            # What it has to be better than is the plain regression.
            one.weight.copy_(equations[name].solve(strength, path.plain(one)))
            found = _figures(network, one, name == "past", validation)
            for figure, value in found.items():
                better = min if "error" in figure else max
                reached[figure] = better(value, reached.get(figure, value))
            if path.apart:
                one.weight.copy_(equations[name].solve(strength))
                found = _figures(network, one, name == "past", validation)
            tried[strength] = found[error]
        strength = min(tried, key=lambda each: tried[each])
        weight = equations[name].solve(strength)
        one.weight.copy_(weight)
        if name == "past":
            best = {gain: _figures(network, one, True, validation, gain) for gain in gains}
            # A longer prediction ranks better and errs more: not by much, nor beyond the plain.
            most = max(tried[strength], min(reached[error], _TOLERANCE * tried[strength]))
            fit = [gain for gain in gains if gain == 1 or best[gain][error] <= most]
            one.weight.copy_(max(fit, key=lambda gain: best[gain]["val_mrr_past"]) * weight)
    network.jepa.start_at_the_linear_path()
    return reached


def _figures(
    network: Network,
    one: nn.Linear,
    past: bool,
    validation: Sequence[Batch],
    gain: float = 1.0,
) -> dict[str, float]:
    """Of one of the two maps, alone; times `gain`."""
    path = network.jepa.linear
    assert path is not None

    def predict(steps: Tensor, prompts: Tensor, domains: Tensor, places: Tensor) -> Tensor:
        made: Tensor = one(path.features_each(steps, prompts, past))
        return gain * made[:, places]

    seen = predicted_by(predict, network, validation, one.weight.device)
    if past:
        return past_figures(seen, network.target_std.cpu())
    return {"val_error_others": float(surprise(seen.predicted, seen.targets, 1.0).mean())}


def _equations(
    network: Network, path: LinearPath, batches: Iterable[Batch]
) -> dict[str, _Equations]:
    maps = {"others": path.others, "past": path.past}
    equations = {name: _Equations(one.weight) for name, one in maps.items()}
    for batch in batches:
        here = batch.to(path.others.weight.device)
        steps, prompts = network.standardise(here.latents, here.prompts)
        rows, count, _ = steps.shape
        size = max(1, _BYTES // (_FLOAT * count * path.others.in_features))
        for begin, stop in parts(rows, size):
            own, prompt = steps[begin:stop], prompts[begin:stop]
            for name, one in equations.items():
                one.take(path.features_each(own, prompt, name == "past"), own)
    return equations


class _Equations:
    """Normal equations of one map, of weight [E, F]."""

    def __init__(self, weight: Tensor) -> None:
        self._squares = weight.new_zeros(weight.shape[1], weight.shape[1])
        self._products = weight.new_zeros(weight.shape[1], weight.shape[0])

    def take(self, inputs_BMF: Tensor, wanted_BME: Tensor) -> None:
        """Inputs, and what is sought from them."""
        inputs = inputs_BMF.flatten(0, 1)
        self._squares.addmm_(inputs.T, inputs)
        self._products.addmm_(inputs.T, wanted_BME.flatten(0, 1))

    def solve(self, strength: float, inputs: Tensor | None = None) -> Tensor:
        """The weight. Each input is penalised by its variance, which is to standardise it; the
        constant, the last one, is not.

        Args:
            strength: of the penalty.
            inputs: int64, which of them may be used; all by default.
        """
        squares, products = self._squares, self._products
        if inputs is not None:
            squares, products = squares[inputs][:, inputs], products[inputs]
        means = squares[-1] / squares[-1, -1]
        variances = squares.diagonal() / squares[-1, -1] - means**2
        variances[-1] = 0.0
        variances[:-1].clamp_(min=1e-6)
        found = torch.linalg.solve(squares + torch.diag(strength * variances), products).T
        if inputs is None:
            return found
        whole = found.new_zeros(len(found), len(self._squares))
        whole[:, inputs] = found
        return whole
