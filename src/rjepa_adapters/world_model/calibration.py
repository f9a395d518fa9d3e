"""How far a verifier's probabilities can be believed: figures on validation, and calibration."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from rjepa_core.evaluation.fitting import fit_logistic
from rjepa_core.evaluation.statistics import auroc

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]
BINS = 10
# A verifier that knows nothing must not turn its own order round.
_LEAST_SLOPE = 1e-3


@attrs.frozen(eq=False)
class Judged:
    """What a verifier said where the truth is known.

    Attributes:
        steps, answers: logits float64 [N], and bool [N], whether they are wrong.
    """

    steps: tuple[Doubles, Flags]
    answers: tuple[Doubles, Flags]

    @property
    def reliability(self) -> dict[str, list[Bin]]:
        """Of steps and answers, where the logits are calibrated."""
        return {
            "wrong steps": reliability(probability(self.steps[0]), self.steps[1]),
            "wrong answers": reliability(probability(self.answers[0]), self.answers[1]),
        }

    @property
    def loss(self) -> float:
        """The mean of the two log losses, calibrated; of one, where of the other nothing is known.

        A calibration changes no order: it only keeps an epoch that is sure of itself from being
        worse than one that knows less.
        """
        known = []
        for logits, wrong in (self.steps, self.answers):
            if len(wrong):
                slope, shift = platt(logits, wrong)
                known.append(log_loss(slope * logits + shift, wrong))
        return float(np.mean(known))


@attrs.frozen
class Bin:
    """Predictions of about the same probability.

    Attributes:
        predicted: their mean.
        observed: share of them that came true.
        count: how many there are.
    """

    predicted: float
    observed: float
    count: int


def platt(logits: Doubles, wrong: Flags) -> tuple[float, float]:
    """Slope and shift of the logits whose probabilities fit the labels best (Platt, 1999); 1 and 0
    where there are labels of one kind alone."""
    if wrong.all() or not wrong.any():
        return 1.0, 0.0
    found = fit_logistic(logits[:, None], wrong)
    slope = float(found.weights[0] / found.scale[0])
    if slope < _LEAST_SLOPE:
        share = float(wrong.mean())
        shift = math.log(share / (1 - share))
        return _LEAST_SLOPE, shift - _LEAST_SLOPE * float(logits.mean())
    return slope, found.bias - slope * float(found.mean[0])


def figures(found: Judged, slope: list[float], shift: list[float]) -> dict[str, Any]:
    """Row of an epoch: log loss, AUROC and Brier score, calibrated. A figure that needs both wrong
    and right ones is left out where there are none."""
    row: dict[str, Any] = {}
    for place, name in enumerate(("steps", "answers")):
        logits, wrong = (found.steps, found.answers)[place]
        if not len(wrong):
            continue
        row[f"val_log_loss_{name}"] = log_loss(slope[place] * logits + shift[place], wrong)
        if 0 < wrong.sum() < len(wrong):
            row[f"val_auroc_{name}"] = auroc(logits, wrong)
        likely = probability(slope[place] * logits + shift[place])
        row[f"val_brier_{name}"] = float(np.square(likely - wrong).mean())
    return row


def log_loss(logits: Doubles, wrong: Flags) -> float:
    """Mean negative log-likelihood."""
    return float(np.logaddexp(0.0, np.where(wrong, -logits, logits)).mean())


def probability(logits: Doubles) -> Doubles:
    """The logistic function, float64 [N]."""
    found: Doubles = np.exp(-np.logaddexp(0.0, -logits))
    return found


def better_than_chance(scores: Doubles, wrong: Flags) -> bool:
    """Whether AUROC is above 0.5 by two standard errors, as they are where it is 0.5 (Hanley and
    McNeil, 1982)."""
    number, positive = len(wrong), int(wrong.sum())
    error = math.sqrt((number + 1) / (12 * positive * (number - positive)))
    return auroc(scores, wrong) > 0.5 + 2 * error


def reliability(likely: Doubles, wrong: Flags, bins: int = BINS) -> list[Bin]:
    """Predicted and observed shares, in bins of equal width; empty ones are left out."""
    place = np.minimum((likely * bins).astype(np.int64), bins - 1)
    return [
        Bin(float(likely[place == i].mean()), float(wrong[place == i].mean()), int(count))
        for i, count in enumerate(np.bincount(place, minlength=bins))
        if count
    ]
