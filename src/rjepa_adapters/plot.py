"""Pictures of steps with matplotlib: `pip install 'rjepa[plot]'`.

Each function draws on the axes that it is given, or on new ones, and returns them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rjepa_core import LatentRecord, LatentStore, ScoredTrace, StepArrays
from rjepa_core.errors import ArgumentError
from rjepa_core.plugins import given_store
from rjepa_core.scoring import Scored

from .optional import import_optional


def surprise_profile(
    scored: ScoredTrace | Scored | Sequence[ScoredTrace | Scored], ax: Any = None
) -> Any:
    """Draw the surprise of each step as a line, one for each trace.

    Args:
        scored: what `score_text`, `rank_texts(…).solutions` or `score` return.
        ax: matplotlib's axes to draw on; None makes new ones.

    Returns:
        The axes.

    Raises:
        UsageError: matplotlib is not installed.
        ArgumentError: nothing is given.
    """
    each = list(scored) if isinstance(scored, Iterable) else [scored]
    if wrong := [one for one in each if not isinstance(one, ScoredTrace | Scored)]:
        raise ArgumentError(
            f"scored: got {wrong[0]!r:.80}, expected what score_text or score return, or several"
        )
    if not each:
        raise ArgumentError("scored: got nothing to draw, expected one or more scored traces")
    axes = _axes(ax)
    for one in each:
        key = one.trace.key if isinstance(one, ScoredTrace) else one.key
        axes.plot(range(len(one.surprise)), one.surprise, marker="o", label=str(key))
    axes.set(xlabel="step", ylabel="surprise (mean squared error)")
    _whole_steps(axes, max(len(one.surprise) for one in each))
    axes.set_ylim(bottom=0)
    if len(each) > 1:
        axes.legend()
    return axes


def cosine_map(record: LatentRecord, layer: int = 0, ax: Any = None) -> Any:
    """Draw how similar the steps of a record are: the cosine of each two latents, -1 to 1.

    Args:
        record: of S steps.
        layer: a place in the record's layers, from 0.
        ax: matplotlib's axes to draw on; None makes new ones.

    Returns:
        The axes.

    Raises:
        UsageError: matplotlib is not installed.
        ArgumentError: the record holds no such layer.
    """
    if not isinstance(record, LatentRecord):
        raise ArgumentError(f"record: got {record!r:.80}, expected a record, as of store[key]")
    layers = len(record.latents)
    if not 0 <= layer < layers:
        raise ArgumentError(f"layer: got {layer!r}, expected a place from 0 to {layers - 1}")
    latents = np.asarray(record.latents[layer], np.float32)
    unit = latents / np.maximum(np.linalg.norm(latents, axis=1, keepdims=True), 1e-12)
    axes = _axes(ax)
    image = axes.imshow(unit @ unit.T, vmin=-1, vmax=1, cmap="RdBu_r")
    axes.figure.colorbar(image, ax=axes, label="cosine")
    axes.set(xlabel="step", ylabel="step", title=str(record.key))
    _whole_steps(axes, len(latents), both=True)
    return axes


def pca(
    steps: StepArrays | LatentStore | str | os.PathLike[str] | NDArray[np.float32],
    color: Sequence[float] | NDArray[Any] | None = None,
    ax: Any = None,
) -> Any:
    """Draw steps in the plane in which they differ most: their first two principal components.

    Args:
        steps: `store.arrays(layer)`, a store of one layer or its location, or an array [N, D];
            N and D at least 2.
        color: of each step, N numbers; by default the index of the step in its trace.
        ax: matplotlib's axes to draw on; None makes new ones.

    Returns:
        The axes; their labels say which share of the variance each component has.

    Raises:
        UsageError: matplotlib is not installed.
        ArgumentError: there are too few steps or dimensions, or not as many colours as steps.
    """
    if not isinstance(steps, StepArrays | np.ndarray):
        with given_store(steps, name="steps") as store:
            steps = store.arrays()
    label = "" if color is not None or isinstance(steps, np.ndarray) else "step"
    if color is None and isinstance(steps, StepArrays):
        color = steps.step
    values = np.asarray(steps.latents if isinstance(steps, StepArrays) else steps, np.float64)
    if values.ndim != 2 or min(values.shape) < 2:
        raise ArgumentError(f"steps: got shape {list(values.shape)}, expected [N, D], both above 1")
    if color is not None and len(color) != len(values):
        raise ArgumentError(f"color: got {len(color)} numbers, expected {len(values)}, one a step")
    places, shares = principal_components(values)
    axes = _axes(ax)
    dots = axes.scatter(places[:, 0], places[:, 1], c=color, s=12, alpha=0.7)
    if color is not None:
        axes.figure.colorbar(dots, ax=axes, label=label)
    axes.set(
        xlabel=f"component 1 ({100 * shares[0]:.0f} % of the variance)",
        ylabel=f"component 2 ({100 * shares[1]:.0f} %)",
    )
    return axes


def principal_components(values: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the first two principal components [N, 2] of values [N, D], and their shares [2]."""
    centred = values - values.mean(0)
    # Of the covariance [D, D]: N may be large.
    strengths, axes = np.linalg.eigh(centred.T @ centred)
    total = float(strengths.sum()) or 1.0
    return centred @ axes[:, :-3:-1], strengths[:-3:-1] / total


def _axes(ax: Any) -> Any:
    if ax is not None:
        return ax
    pyplot = import_optional("matplotlib.pyplot", "rjepa_adapters.plot", "plot")
    return pyplot.subplots(layout="constrained")[1]


def _whole_steps(axes: Any, steps: int, both: bool = False) -> None:
    places = range(0, steps, max(1, steps // 12))
    axes.set_xticks(places)
    if both:
        axes.set_yticks(places)
