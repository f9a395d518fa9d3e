"""What is looked at on the validation part while a model trains."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import torch
from torch import Tensor

from rjepa_core.ports.world_model import Context, Floats

from .dataset import Batch
from .masks import Masker, split
from .network import Network
from .objectives import squared_distances
from .prediction import percentiles, predict_each, surprise

# Steps among which the true one is looked for while training; `evaluate` uses all.
_CANDIDATES = 4096
_PICTURED = 600
_LOOKED = 512
# Fewer say nothing about a collapse.
_LEAST_STEPS = 8


@attrs.frozen(eq=False)
class Validation:
    """Figures of one look.

    Attributes:
        row: for the curve: `val_loss` and, where they were asked for, `val_top1`, `val_mrr`,
            `val_surprise`, `rank_targets`, `rank_predictions`, `spread_targets`.
        warning: of a collapse.
        quantiles: percentiles of the surprise by number of steps; 0 holds those of all.
        traces: targets [S, E] of some traces, for a picture.
    """

    row: dict[str, Any]
    warning: str | None = None
    quantiles: dict[int, list[float]] = attrs.field(factory=dict)
    traces: tuple[Floats, ...] = ()


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
def look(network: Network, batches: Iterable[Batch], device: torch.device) -> Validation:
    """Retrieval of each step from the others, surprise, spread and rank."""
    network.eval()
    predicted, targets, counts = [], [], []
    traces: list[Floats] = []
    for batch in batches:
        here = batch.to(device)
        steps, prompts = network.standardise(here.latents, here.prompts)
        count = steps.shape[1]
        places = _places(count)
        made = predict_each(network.jepa, steps, prompts, here.domains, Context.OTHERS, places)
        predicted.append(made.flatten(0, 1).float().cpu())
        wanted = network.targets(steps)[:, places.to(device)].float().cpu()
        targets.append(wanted.flatten(0, 1))
        counts.append(torch.full((len(targets[-1]),), count))
        if len(traces) < _PICTURED:
            traces += list(wanted.numpy())
    made, wanted, where = torch.cat(predicted), torch.cat(targets), torch.cat(counts)
    if network.objective.kind != "frozen":
        # The LLM's own latents are standardised already.
        network.target_std.copy_(wanted.std(0).clamp(min=1e-6))
    found = surprise(made, wanted, network.target_std.cpu())
    ranks = _ranks(made[:_CANDIDATES], wanted[:_CANDIDATES])
    row = {
        "val_top1": float((ranks == 1).float().mean()),
        "val_mrr": float((1.0 / ranks).mean()),
        "val_surprise": float(found.mean()),
        "rank_targets": rank_me(wanted),
        "rank_predictions": rank_me(made),
        "spread_targets": spread(wanted),
    }
    quantiles = {0: percentiles(found.tolist())}
    for count in sorted(set(where.tolist())):
        quantiles[count] = percentiles(found[where == count].tolist())
    return Validation(row, collapse_warning(wanted, made), quantiles, tuple(traces))


@torch.no_grad()
def collapse_on(network: Network, batch: Batch, masker: Masker, device: torch.device) -> str | None:
    """A warning, if targets or predictions of a training batch have collapsed; nothing that the
    training draws from is touched."""
    rows, count = batch.latents.shape[:2]
    if rows * count < _LEAST_STEPS:
        return None
    network.eval()
    here = batch.to(device)
    steps, prompts = network.standardise(here.latents, here.prompts)
    mask = masker.draw(rows, count, torch.Generator().manual_seed(0)).to(device)
    made = network.jepa(steps, prompts, here.domains, mask).flatten(0, 1)
    return collapse_warning(network.targets(steps).flatten(0, 1), made)


def _places(count: int) -> Tensor:
    """The steps of a trace that are looked at: all, but of a long one so many that it takes no
    longer than one of `_LOOKED` steps."""
    if count <= _LOOKED:
        return torch.arange(count)
    return torch.linspace(0, count - 1, max(1, _LOOKED**2 // count)).round().long()


def _ranks(made: Tensor, wanted: Tensor) -> Tensor:
    distance = squared_distances(made, wanted)
    closer = distance < distance.diagonal()[:, None]
    # A space that has collapsed tells nothing apart: ties count against the prediction.
    equal = (distance == distance.diagonal()[:, None]).sum(1) - 1
    return 1.0 + closer.sum(1) + equal


_SPREAD, _RANK = 0.1, 0.02
_ROWS = 2048


def rank_me(made_NE: Tensor) -> float:
    """Effective rank: the exponential of the entropy of the singular values' shares (RankMe,
    arXiv:2210.02885), of the centred rows; between 1 and E."""
    rows = made_NE[:_ROWS].float()
    values = torch.linalg.svdvals(rows - rows.mean(0))
    shares = values / values.sum().clamp(min=1e-12)
    return float(torch.exp(-(shares * torch.log(shares + 1e-12)).sum()))


def spread(made_NE: Tensor) -> float:
    """The median dimension's standard deviation over the rows."""
    return float(made_NE.float().std(0).median())


def collapse_warning(targets_NE: Tensor, predicted_NE: Tensor) -> str | None:
    """What is wrong, and what to try; None where nothing is."""
    size = targets_NE.shape[1]
    found, rank = spread(targets_NE), rank_me(targets_NE)
    if found < _SPREAD:
        what = f"the targets hardly differ any more (median spread {found:.2g}, 1 is healthy)"
    elif rank < max(1.5, _RANK * size):
        what = f"the targets use {rank:.1f} of {size} dimensions"
    elif spread(predicted_NE) < _SPREAD * found:
        what = f"all predictions are nearly the same (median spread {spread(predicted_NE):.2g})"
    else:
        return None
    return (
        f"collapse: {what}; try model.objective=frozen, a larger training.contrastive, "
        "training.variance (ema) or training.sigreg (sigreg), or a lower training.lr"
    )
