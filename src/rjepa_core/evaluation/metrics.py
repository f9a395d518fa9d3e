"""Ranks of the true step, and the areas and shares that the evaluation is told in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

# Distances held at once while ranking.
_HELD = 8_000_000
# float32 products of a few thousand terms agree to about this share of the norms.
_EQUAL = 2e-6


def true_ranks(predictions: Floats, candidates: Floats, truth: Ints, held: int = _HELD) -> Doubles:
    """Rank of the true candidate of each prediction, by squared distance, 1 the nearest.

    Candidates as near as the true one share their ranks: it gets the middle one, so that a model
    that predicts one point for everything does not look perfect.

    Args:
        predictions: float32 [Q, E].
        candidates: float32 [N, E].
        truth: int64 [Q], which candidate is the true one.
        held: distances in memory at once.

    Returns:
        float64 [Q].
    """
    if not len(predictions):
        return np.empty(0)
    # Distances do not change with the origin; their rounding does.
    centre = candidates.mean(0, dtype=np.float64).astype(np.float32)
    candidates = candidates - centre
    norms = np.einsum("ne,ne->n", candidates, candidates)
    largest = float(norms.max())
    rows = max(1, held // len(candidates))
    ranks = np.empty(len(predictions))
    for start in range(0, len(predictions), rows):
        asked = predictions[start : start + rows] - centre
        distances = norms - 2.0 * (asked @ candidates.T)
        own = distances[np.arange(len(asked)), truth[start : start + rows], None]
        close = _EQUAL * (largest + np.einsum("qe,qe->q", asked, asked))[:, None]
        nearer = (distances < own - close).sum(1)
        equal = (np.abs(distances - own) <= close).sum(1) - 1
        ranks[start : start + rows] = 1.0 + nearer + equal / 2.0
    return ranks


def auroc(scores: Sequence[float] | Doubles, positive: Sequence[bool] | Flags) -> float:
    """Probability that a positive scores higher than a negative, ties counted half; NaN where one
    of the two is missing. (Hanley and McNeil 1982.)"""
    values, flags = np.asarray(scores, np.float64), np.asarray(positive, bool)
    positives, negatives = int(flags.sum()), int((~flags).sum())
    if not positives or not negatives:
        return float("nan")
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle = ends - (counts - 1) / 2.0
    total = float(middle[places][flags].sum())
    return (total - positives * (positives + 1) / 2.0) / (positives * negatives)


def named(scores: NDArray[np.floating], step: int) -> float:
    """1 where the largest score is that of `step`, shared where several are as large."""
    largest = scores.max()
    return float(scores[step] == largest) / int((scores == largest).sum())
