"""Pictures of steps with matplotlib: `pip install 'rjepa[plot]'`.

Each function draws on the axes that it is given, or on new ones, and returns them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rjepa_core import LatentRecord, LatentStore, Ranking, ScoredTrace, StepArrays
from rjepa_core.domain.problem import derived_id
from rjepa_core.errors import ArgumentError
from rjepa_core.plugins import given_store
from rjepa_core.scoring import Scored
from rjepa_core.text import shortened

from .optional import import_optional


def surprise_profile(
    scored: ScoredTrace | Scored | Ranking | Sequence[ScoredTrace | Scored], ax: Any = None
) -> Any:
    """Draw the surprise of each step as a line, one for each trace.

    Args:
        scored: what `score_text`, `rank_texts` or `score` return. The solutions of a ranking are
            named by their place among the texts, and their answer.
        ax: matplotlib's axes to draw on; None makes new ones.

    Returns:
        The axes.

    Raises:
        UsageError: matplotlib is not installed.
        ArgumentError: nothing is given.
    """
    if isinstance(scored, Ranking):
        scored = scored.solutions
    each = list(scored) if isinstance(scored, Iterable) else [scored]
    if wrong := [one for one in each if not isinstance(one, ScoredTrace | Scored)]:
        raise ArgumentError(
            f"scored: got {wrong[0]!r:.80}, expected what score_text or score return, or several"
        )
    if not each:
        raise ArgumentError("scored: got nothing to draw, expected one or more scored traces")
    axes = _axes(ax)
    for one in each:
        axes.plot(range(len(one.surprise)), one.surprise, marker="o", label=_label(one))
    axes.set(xlabel="step", ylabel="surprise (mean squared error)")
    _whole_steps(axes, max(len(one.surprise) for one in each))
    axes.set_ylim(bottom=0)
    if len(each) > 1:
        axes.legend()
    return axes


def _label(one: ScoredTrace | Scored) -> str:
    if isinstance(one, Scored):
        return str(one.key)
    trace = one.trace
    # Of a text that was given without an id, which says nothing to anyone.
    derived = trace.problem.id == derived_id(trace.problem.domain, trace.problem.statement)
    name = f"text {trace.sample}" if derived else str(trace.key)
    return name if trace.answer is None else f"{name}, answer {shortened(trace.answer, 20)}"


def cosine_map(
    record: LatentRecord,
    layer: int | None = None,
    ax: Any = None,
    layers: LatentStore | Sequence[int] | None = None,
) -> Any:
    """Draw how similar the steps of a record are: the cosine of each two latents.

    All latents of a layer point in much the same direction; the colours go from the least cosine
    to the greatest of two different steps, and the bar beside the map says what they are.

    Args:
        record: of S steps.
        layer: as an absolute index, if `layers` says which ones the record holds; else its place
            among them, from 0, or negative from the last. None draws the first.
        ax: matplotlib's axes to draw on; None makes new ones.
        layers: the record's store, or its layers, which a record alone does not know.

    Returns:
        The axes.

    Raises:
        UsageError: matplotlib is not installed.
        ArgumentError: the record holds no such layer.
    """
    if not isinstance(record, LatentRecord):
        raise ArgumentError(f"record: got {record!r:.80}, expected a record, as of store[key]")
    latents = np.asarray(record.latents[_place(len(record.latents), layer, layers)], np.float32)
    unit = latents / np.maximum(np.linalg.norm(latents, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    others = cosines[~np.eye(len(cosines), dtype=bool)]
    low, high = (float(others.min()), float(others.max())) if others.size else (-1.0, 1.0)
    axes = _axes(ax)
    image = axes.imshow(cosines, vmin=low, vmax=max(high, low + 1e-6), cmap="viridis")
    between = f": {low:.3f} to {high:.3f} between steps" if others.size else ""
    axes.figure.colorbar(image, ax=axes, label=f"cosine{between}")
    axes.set(xlabel="step", ylabel="step", title=str(record.key))
    _whole_steps(axes, len(latents), both=True)
    return axes


def _place(held: int, layer: int | None, layers: LatentStore | Sequence[int] | None) -> int:
    """Return the place of a layer among the `held` ones of a record."""
    if layers is not None and not isinstance(layers, Sequence):
        layers = () if layers.identity is None else layers.identity.space.layers
    if layers is not None and len(layers) != held:
        raise ArgumentError(f"layers: got {len(layers)}, and the record holds {held}")
    if layer is None:
        return 0
    if layers is not None and layer in layers:
        return list(layers).index(layer)
    if -held <= layer < (held if layers is None else 0):
        return layer
    if layers is not None:
        has = ", ".join(map(str, layers))
        raise ArgumentError(f"layer: the record holds no layer {layer}; it has {has}")
    raise ArgumentError(
        f"layer: got {layer!r}, expected a place from 0 to {held - 1}; for an absolute index, name "
        "the record's layers: layers=store"
    )


def pca(
    steps: StepArrays | LatentStore | str | os.PathLike[str] | NDArray[np.float32],
    color: Sequence[float] | NDArray[Any] | None = None,
    ax: Any = None,
    layer: int | None = None,
) -> Any:
    """Draw steps in the plane in which they differ most: their first two principal components.

    Args:
        steps: a store or its location, `store.arrays(layer)`, or an array [N, D]; N and D at
            least 2.
        color: of each step, N numbers; by default the index of the step in its trace.
        ax: matplotlib's axes to draw on; None makes new ones.
        layer: of a store, as an absolute index; needed where it holds several.

    Returns:
        The axes; their labels say which share of the variance each component has.

    Raises:
        UsageError: matplotlib is not installed.
        ArgumentError: there are too few steps or dimensions, not as many colours as steps, or no
            such layer.
    """
    if not isinstance(steps, StepArrays | np.ndarray):
        with given_store(steps, name="steps") as store:
            steps = store.arrays(layer)
    elif layer is not None and layer != getattr(steps, "layer", None):
        raise ArgumentError(f"layer: got {layer}, and the steps are not of a store; leave it out")
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
