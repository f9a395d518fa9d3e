"""What is looked at on the validation part while a model trains.

What a run is judged by is the prediction of a step from its past, with the steps that the model was
given left out of those among which the true one is looked for: not to answer with a neighbour is
no merit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rjepa_core.ports.world_model import Context, Floats

from .batches import Ints, shuffled
from .collapse import collapse_warning, rank_me, spread
from .dataset import Batch
from .masks import split
from .network import Network
from .objectives import squared_distances
from .prediction import percentiles, predict_each, surprise

# Steps of the sample; `evaluate` uses all.
_SAMPLE = 4096
_PICTURED = 600
_LOOKED = 512
# Standardised steps [B, S, D], prompts, domains and places [K] to predictions [B, K, E].
Predict = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
# Rows of distances that are held at once.
_ROWS = 1024


@attrs.frozen(eq=False)
class Validation:
    """Figures of one look.

    Attributes:
        row: for the curve: `val_error_past`, `val_top1_past`, `val_mrr_past`, `val_error_others`,
            `rank_targets`, `rank_predictions`, `spread_targets`.
        warning: of a collapse.
        quantiles: percentiles of the surprise by number of steps; 0 holds those of all.
        traces: targets [S, E] of some traces, for a picture.
    """

    row: dict[str, Any]
    warning: str | None = None
    quantiles: dict[int, list[float]] = attrs.field(factory=dict)
    traces: tuple[Floats, ...] = ()


@attrs.frozen(eq=False)
class Sampled:
    """Steps of the sample, N of them.

    Attributes:
        predicted, targets: [N, E].
        inputs: [N, D], standardised.
        trace, place: int64 [N], which trace each is of, and which of its steps.
    """

    predicted: Tensor
    targets: Tensor
    inputs: Tensor
    trace: Tensor
    place: Tensor


def sample(steps: Ints, seed: int) -> NDArray[np.int64]:
    """Whole traces of all lengths, until they have some thousand steps: the same ones each time.

    Args:
        steps: int32 [N], of each trace of the validation part.
        seed: of the choice.
    """
    order = shuffled(len(steps), seed)
    looked = np.array([len(_places(int(count))) for count in steps[order]])
    return order[: max(1, int(np.searchsorted(looked.cumsum(), _SAMPLE, side="right")))]


@torch.no_grad()
def loss_on(network: Network, batches: Iterable[Batch], device: torch.device, seed: int) -> float:
    """The objective's loss with one masked step a trace, the same steps each time."""
    network.eval()
    generator = torch.Generator().manual_seed(seed)
    total, rows = 0.0, 0
    for batch in batches:
        here = batch.to(device)
        steps, prompts = network.standardise(here.latents, here.prompts)
        hidden = torch.randint(steps.shape[1], (len(steps), 1), generator=generator)
        mask = split(hidden, steps.shape[1]).to(device)
        losses = network.objective(network.jepa, steps, prompts, here.domains, mask, generator)
        # The regulariser is about the training; what is validated is how well it predicts.
        total += float(losses.regression + losses.contrastive) * len(steps)
        rows += len(steps)
    return total / rows


@torch.no_grad()
def look(
    network: Network, sampled: Iterable[Batch], rest: Iterable[Batch], device: torch.device
) -> Validation:
    """Prediction from the past and from the others, spread and rank, on the sample; percentiles on
    all.

    Args:
        network: to look at.
        sampled: the sample of the validation part; gone through twice.
        rest: what is not in the sample.
        device: of the network.
    """
    network.eval()

    def predict(steps: Tensor, prompts: Tensor, domains: Tensor, places: Tensor) -> Tensor:
        return predict_each(network.jepa, steps, prompts, domains, Context.PAST, places)

    seen = predicted_by(predict, network, sampled, device)
    if network.objective.own_targets:
        # The LLM's own latents are standardised already.
        network.target_std.copy_(seen.targets.std(0).clamp(min=1e-6))
    found: dict[int, list[float]] = {}
    errors: list[float] = []
    for batches, figures in ((sampled, errors), (rest, [])):
        for batch in batches:
            here = batch.to(device)
            steps, prompts = network.standardise(here.latents, here.prompts)
            places = _places(steps.shape[1])
            made = predict_each(network.jepa, steps, prompts, here.domains, Context.OTHERS, places)
            wanted = network.targets(steps)[:, places.to(device)]
            each = surprise(made, wanted, network.target_std).flatten().tolist()
            found.setdefault(steps.shape[1], []).extend(each)
            figures += each
    every = [value for values in found.values() for value in values]
    row = {
        **past_figures(seen, network.target_std.cpu()),
        "val_error_others": sum(errors) / len(errors),
        "rank_targets": rank_me(seen.targets),
        "rank_predictions": rank_me(seen.predicted),
        "spread_targets": spread(seen.targets),
    }
    quantiles = {0: percentiles(every)} | {n: percentiles(found[n]) for n in sorted(found)}
    warning = None
    if network.objective.own_targets:
        warning = collapse_warning(seen.targets, seen.inputs)
    return Validation(row, warning, quantiles, _pictured(seen))


def past_figures(seen: Sampled, target_std: Tensor) -> dict[str, float]:
    """Error, share of first ranks and mean reciprocal rank of predictions from the past."""
    ranks = ranks_from_past(seen)
    return {
        "val_error_past": float(surprise(seen.predicted, seen.targets, target_std).mean()),
        "val_top1_past": float((ranks == 1).float().mean()),
        "val_mrr_past": float((1.0 / ranks).mean()),
    }


def ranks_from_past(seen: Sampled) -> Tensor:
    """[N]: of each true step among all steps of the sample but those that came before it in its
    trace, by distance. Ties count half."""
    found = []
    for begin in range(0, len(seen.place), _ROWS):
        rows = slice(begin, begin + _ROWS)
        distance = squared_distances(seen.predicted[rows], seen.targets)
        given = seen.trace[rows, None] == seen.trace
        given &= seen.place[rows, None] > seen.place
        distance[given] = torch.inf
        own = distance.gather(1, (begin + torch.arange(len(distance)))[:, None])
        closer, equal = (distance < own).sum(1), (distance == own).sum(1) - 1
        found.append(1.0 + closer + equal / 2)
    return torch.cat(found)


@torch.no_grad()
def collapse_on(network: Network, batch: Batch, device: torch.device) -> str | None:
    """A warning, if the targets of a training batch have collapsed."""
    if not network.objective.own_targets:
        # They are the LLM's, and stay what they are.
        return None
    network.eval()
    here = batch.to(device)
    steps, _ = network.standardise(here.latents, here.prompts)
    return collapse_warning(network.targets(steps).flatten(0, 1), steps.flatten(0, 1))


def predicted_by(
    predict: Predict, network: Network, batches: Iterable[Batch], device: torch.device
) -> Sampled:
    """Predictions and targets of all steps of some batches that are looked at."""
    predicted, targets, inputs, trace, place = [], [], [], [], []
    traces = 0
    for batch in batches:
        here = batch.to(device)
        steps, prompts = network.standardise(here.latents, here.prompts)
        places = _places(steps.shape[1])
        at = places.to(device)
        made = predict(steps, prompts, here.domains, places)
        predicted.append(made.flatten(0, 1).float().cpu())
        targets.append(network.targets(steps)[:, at].flatten(0, 1).float().cpu())
        inputs.append(steps[:, at].flatten(0, 1).cpu())
        trace.append((traces + torch.arange(len(steps))).repeat_interleave(len(places)))
        place.append(places.repeat(len(steps)))
        traces += len(steps)
    return Sampled(*map(torch.cat, (predicted, targets, inputs, trace, place)))


def _pictured(seen: Sampled) -> tuple[Floats, ...]:
    """Targets of some traces, of all lengths."""
    traces = torch.tensor_split(seen.targets, torch.diff(seen.trace).nonzero()[:, 0] + 1)
    return tuple(one.numpy() for one in traces[:: max(1, len(traces) // _PICTURED)])


def _places(count: int) -> Tensor:
    """The steps of a trace that are looked at: all, but of a long one so many that it takes no
    longer than one of `_LOOKED` steps."""
    if count <= _LOOKED:
        return torch.arange(count)
    return torch.linspace(0, count - 1, max(1, _LOOKED**2 // count)).round().long()
