"""A training run in a sentence, and what the values of its curve mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
# By the name of a value; of the training part unless it begins with `val_`.
_MEASURES = {
    "loss": "what training lowers; of the steps that were trained on",
    "val_loss": "the same on the validation part, which is not trained on",
    "val_error_past": "mean squared error of steps predicted from those before; 1 is about what "
    "always predicting the mean step gets",
    "val_top1_past": "share of steps that are found at once among those of the sample, by the "
    "prediction from those before",
    "val_mrr_past": "mean of 1 / rank of the true step in that search; 1 is best",
    "val_error_others": "mean squared error of steps predicted from all the others",
    "rank_targets": "effective number of dimensions of what is predicted; near 1 it has collapsed",
    "rank_predictions": "the same of the predictions",
    "spread_targets": "mean spread of the dimensions of what is predicted; near 0 it has collapsed",
    "val_log_loss_steps": "mean log loss (nats) of the probabilities that steps are wrong",
    "val_auroc_steps": "probability that a wrong step is given a higher probability of being wrong "
    "than a right one; 0.5 is chance",
    "val_brier_steps": "mean squared error of the probabilities that steps are wrong",
    "val_log_loss_answers": "as for the steps, of the answers being right",
    "val_auroc_answers": "as for the steps, of the answers",
    "val_brier_answers": "as for the steps, of the answers",
}


def verdict(curve: Sequence[Row], best_epoch: int | None, too_little: bool = False) -> str:
    """Return the sentence to begin with: what the chosen state does on validation.

    Args:
        curve: a row of values for each epoch.
        best_epoch: the chosen one; 0 is the start.
        too_little: whether it was trained on too little to be judged.
    """
    if not curve:
        return "No epoch was finished: there is nothing to judge yet."
    chosen = [row for row in curve if row.get("epoch") == best_epoch]
    row, who = (chosen or curve[-1:])[0], "it" if chosen else "its last epoch"
    found = _found(row)
    if not found:
        return "What it is worth was not measured while it trained."
    said = f"On validation, {who} {found}"
    if best_epoch == 0:
        said = f"Training added nothing to the linear path that it started from. {said}"
    return f"Too little to judge by. {said}." if too_little else f"{said}."


def _found(row: Row) -> str:
    top, error = _value(row, "val_top1_past"), _value(row, "val_error_past")
    steps, answers = _value(row, "val_auroc_steps"), _value(row, "val_auroc_answers")
    if top is not None:
        beside = "" if error is None else f", with an error of {error:.2f} where the mean has 1"
        return f"finds {100 * top:.0f} % of the next steps at once from those before{beside}"
    if steps is None and answers is None:
        return ""
    parts = [
        f"{what} in {100 * share:.0f} % of pairs"
        for what, share in (
            ("a wrong step from a right one", steps),
            ("a wrong answer from a right one", answers),
        )
        if share is not None
    ]
    return f"tells {' and '.join(parts)} (50 % is chance)"


def _value(row: Row, name: str) -> float | None:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def measures(curve: Sequence[Row]) -> list[tuple[str, str]]:
    """Return the values of a curve that are known, each with what it says in one line."""
    names = dict.fromkeys(name for row in curve for name in row)
    return [(name, _MEASURES[name]) for name in names if name in _MEASURES]
