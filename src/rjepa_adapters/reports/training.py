"""The report of a training run: an HTML page of curves, epochs, latent space and settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import attrs
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from rjepa_core.config import unstructure
from rjepa_core.settings import TrainSettings
from rjepa_core.text import count
from rjepa_core.training.verdict import measures, verdict

from .evaluated import EVALUATION
from .page import render
from .svg import CURVES, curves, scatter, shares

Row = Mapping[str, Any]
# Charts, and parts of the names of their values; the first match counts.
_CHARTS = (
    ("Loss", ("loss", "regression", "contrastive", "surprise", "error", "brier")),
    ("AUROC", ("auroc",)),
    ("Effective rank (RankMe)", ("rank",)),
    ("Retrieval of the masked step", ("top1", "mrr", "retrieval", "accuracy")),
    ("Spread of the dimensions", ("std", "spread", "variance")),
    ("Learning rate", ("lr",)),
)


def html(
    name: str,
    curve: Sequence[Row],
    settings: TrainSettings,
    picture: LatentPicture | None = None,
    best_epoch: int | None = None,
    chosen: str = "",
    reliability: Mapping[str, Sequence[Bin]] | None = None,
    too_little: str | None = None,
) -> str:
    """Return the page.

    Args:
        name: of the run.
        curve: a row of values for each epoch, as `MetricsLog.curve` returns them.
        settings: all settings of the run.
        picture: of the latent space, if there is one.
        best_epoch: marked in the table of epochs.
        chosen: which epoch was chosen, and why.
        reliability: of a verifier: predicted and observed shares, by what is predicted.
        too_little: what is to be said if it was trained on too few problems.
    """
    columns, epochs, best = _epochs(curve, best_epoch)
    return render(
        "training.html",
        heading=f"World model {name}: {settings.model.objective}",
        wide=False,
        verdict=verdict(curve, best_epoch, too_little is not None),
        too_little=[] if too_little is None else [too_little],
        measures=measures(curve),
        evaluation=EVALUATION,
        chosen=chosen,
        charts=list(_curves(curve)),
        columns=columns,
        epochs=epochs,
        best=best,
        picture=_picture(picture) if picture is not None else None,
        reliability=[_reliability(name, bins) for name, bins in (reliability or {}).items()],
        settings=list(_settings(settings)),
    )


class Bin(Protocol):
    """Predictions of about the same probability, and how many of them came true."""

    @property
    def predicted(self) -> float: ...
    @property
    def observed(self) -> float: ...
    @property
    def count(self) -> int: ...


def _curves(curve: Sequence[Row]) -> Iterator[tuple[Markup, str]]:
    """Yield the charts of each kind of value, with no more lines than there are colours."""
    across = [float(row.get("epoch", i + 1)) for i, row in enumerate(curve)]
    for title, names in _group_charts(curve):
        for begin in range(0, len(names), CURVES):
            lines = {n: [_number(row.get(n)) for row in curve] for n in names[begin:][:CURVES]}
            caption = f"{title}, by epoch."
            yield curves(caption, across, lines), caption


def _group_charts(curve: Sequence[Row]) -> list[tuple[str, list[str]]]:
    """Return the titles of the charts, and the names of the values in each."""
    groups: dict[str, list[str]] = {title: [] for title, _ in _CHARTS}
    for name in _names(curve):
        if all(_number(row.get(name)) is None for row in curve):
            continue
        for title, parts in _CHARTS:
            if any(part in name for part in parts):
                groups[title].append(name)
                break
    return [(title, members) for title, members in groups.items() if members]


def _epochs(
    curve: Sequence[Row], best: int | None
) -> tuple[tuple[str, ...], list[tuple[str, ...]], int | None]:
    """Return columns, rows of cells, and the index of the best row."""
    columns = ("epoch", *(name for name in _names(curve) if name != "epoch"))
    rows, marked = [], None
    for i, row in enumerate(curve):
        epoch = int(row.get("epoch", i + 1))
        marked = i if epoch == best else marked
        rows.append((str(epoch), *(_cell(row.get(name)) for name in columns[1:])))
    return columns, rows, marked


def _picture(picture: LatentPicture) -> tuple[Markup, str]:
    first, second = (f"{share * 100:.0f} %" for share in picture.explained)
    caption = (
        f"{picture.name} of {count(len(picture.points), 'step')}, on their first two principal "
        f"components, which explain {first} and {second} of the variance."
    )
    return scatter(caption, picture.points, picture.positions), caption


def _reliability(name: str, bins: Sequence[Bin]) -> tuple[Markup, str]:
    points = [(one.predicted, one.observed, one.count) for one in bins]
    caption = f"Probability of {name}: predicted, and observed."
    return shares(caption, points), caption


def _settings(settings: TrainSettings) -> Iterator[tuple[str, str]]:
    for section, values in unstructure(settings).items():
        for name, value in values.items():
            yield f"{section}.{name}", _format_setting(value)


def _names(curve: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in curve for name in row))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _format_setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v:g}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else str(value)


@attrs.frozen(eq=False)
class LatentPicture:
    """Steps on their first two principal components.

    Attributes:
        points: float64 [N, 2].
        positions: int64 [N], index of each step in its trace, from 0.
        explained: share of the variance explained by each of the two.
        name: of the space, for the caption.
    """

    points: NDArray[np.float64]
    positions: NDArray[np.int64]
    explained: tuple[float, float]
    name: str = "step embeddings"


def latent_picture(
    sequences: Sequence[NDArray[np.float32]], name: str = "step embeddings", most: int = 2000
) -> LatentPicture:
    """Return the first two principal components of the steps of traces.

    Args:
        sequences: one array [S, W] per trace.
        name: of the space.
        most: most steps that are shown, chosen evenly.

    Raises:
        ValueError: there is no step, or a value is not finite.
    """
    if not sequences:
        raise ValueError("a picture needs a trace at least")
    positions = np.concatenate([np.arange(len(s)) for s in sequences])
    chosen = np.arange(len(positions))
    if len(positions) > most:
        chosen = np.linspace(0, len(positions) - 1, most).astype(np.int64)
    values = np.concatenate(sequences)[chosen].astype(np.float64)
    if not len(values) or not np.isfinite(values).all():
        raise ValueError("a picture needs steps, and their values must be finite")
    values -= values.mean(0)
    if values.shape[1] == 1:
        values = np.concatenate([values, np.zeros_like(values)], 1)
    _, strength, axes = np.linalg.svd(values, full_matrices=False)
    if len(axes) == 1:
        axes, strength = np.concatenate([axes, np.zeros_like(axes)]), np.append(strength, 0.0)
    # A component's sign is arbitrary; its largest entry is made positive, so that it is stable.
    signs = np.sign(np.take_along_axis(axes[:2], np.abs(axes[:2]).argmax(1)[:, None], 1))
    plane = axes[:2] * np.where(signs == 0, 1.0, signs)
    shares = strength**2 / max(float((strength**2).sum()), 1e-300)
    return LatentPicture(
        values @ plane.T, positions[chosen], (float(shares[0]), float(shares[1])), name
    )
