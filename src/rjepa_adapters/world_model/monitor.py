"""Watch for collapse: all inputs told apart by nothing, or by a few directions alone."""

from __future__ import annotations

import torch
from torch import Tensor

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
