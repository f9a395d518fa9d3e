"""Which state of a run is its best: chosen on validation, and never one that does harm."""

from __future__ import annotations

from collections.abc import Mapping

Figures = Mapping[str, float]
# By `training.select`: the figure, what it is called, and whether more of it is better.
_MEASURES = {
    "retrieval": ("val_mrr_past", "mean reciprocal rank from the past", True),
    "error": ("val_error_past", "error from the past", False),
    "loss": ("val_loss", "validation loss", False),
}
# In which the start must not be better.
_HARM = {
    "val_error_past": ("error from the past", False),
    "val_top1_past": ("top-1 from the past", True),
    "val_error_others": ("error from the others", False),
}
# What a look at validation must find for it.
DECIDING = ("val_mrr_past", *_HARM)


def measure_of(select: str) -> str:
    """The figure that decides."""
    return _MEASURES[select][0]


def is_better(select: str, value: float, best: float | None) -> bool:
    """Whether a figure is better than the best so far."""
    if best is None:
        return True
    return value > best if _MEASURES[select][2] else value < best


def harm(row: Figures, start: Figures) -> str | None:
    """Say in what an epoch is worse than the start; None if in nothing.

    The start is ridge regression with one strength, a compromise between error and rank: the
    strength that ranks best may have a higher top-1, on little data much higher.

    Args:
        row: of the epoch.
        start: of the state before the first step; empty where the run started from nothing.
    """
    for name, (what, more) in _HARM.items():
        if name in start and (row[name] < start[name] if more else row[name] > start[name]):
            return f"{what} {row[name]:.4f}, at the start {start[name]:.4f}"
    return None


def reason(select: str, best: float | None, epoch: int, start: Figures, last: Figures) -> str:
    """Which state was chosen, and why, in a sentence.

    Args:
        select: as `training.select`.
        best: the figure of the chosen one; None where none was looked at.
        epoch: of the chosen one; 0 is the start.
        start: as for `harm`.
        last: the row of the last epoch.
    """
    if best is None:
        return "no epoch was looked at yet"
    name, what, more = _MEASURES[select]
    extreme = "highest" if more else "lowest"
    if epoch:
        among = ", of the epochs that are worse than the start in nothing" if start else ""
        return f"epoch {epoch} is the best: the {extreme} {what}, {best:.4g}{among}"
    why = harm(last, start) if all(one in last for one in _HARM) else None
    why = why or f"{what} {last.get(name, best):.4g}, at the start {best:.4g}"
    return (
        "the start, the linear path alone, is the best: no epoch was better without being worse "
        f"elsewhere (the last one: {why})"
    )
