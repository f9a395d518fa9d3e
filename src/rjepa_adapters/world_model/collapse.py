"""Whether the targets that a model makes itself still tell its inputs apart."""

from __future__ import annotations

import torch
from torch import Tensor

# Of the spread, and of the rank, that the inputs of the same rows have.
_SPREAD, _RANK = 0.1, 0.05
_ROWS = 2048


def rank_me(made_NE: Tensor) -> float:
    """Effective rank: the exponential of the entropy of the singular values' shares (RankMe,
    arXiv:2210.02885), of the centred rows; between 1 and the smaller of N - 1 and E."""
    rows = made_NE[:: max(1, len(made_NE) // _ROWS)].float()
    values = torch.linalg.svdvals(rows - rows.mean(0))
    shares = values / values.sum().clamp(min=1e-12)
    return float(torch.exp(-(shares * torch.log(shares + 1e-12)).sum()))


def spread(made_NE: Tensor) -> float:
    """The median dimension's standard deviation over the rows."""
    return float(made_NE.float().std(0, correction=0).median())


def collapse_warning(targets_NE: Tensor, inputs_ND: Tensor) -> str | None:
    """What is wrong with targets of some rows, and what to try; None where nothing is.

    A few rows span few dimensions whatever they hold, and rows that are alike have targets that
    are: targets are compared with what they were made of.

    Args:
        targets_NE: that a model has made.
        inputs_ND: of what; each dimension by its spread over the training part.
    """
    rank, possible = rank_me(targets_NE), min(rank_me(inputs_ND), targets_NE.shape[1])
    found, given = spread(targets_NE), min(1.0, spread(inputs_ND))
    if found < _SPREAD * given:
        what = f"the targets hardly differ any more (median spread {found:.2g}, 1 is healthy)"
    elif rank - 1 < _RANK * (possible - 1):
        what = f"the targets use {rank:.1f} dimensions, where the steps use {possible:.1f}"
    else:
        return None
    return (
        f"collapse: {what}; try model.objective=frozen, a larger training.contrastive, "
        "training.variance (ema) or training.sigreg (sigreg), or a lower training.lr"
    )
