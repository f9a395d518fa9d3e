"""A training run as an HTML page: curves, epochs, a picture of the latent space, settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from rjepa_core.config import unstructure
from rjepa_core.settings import TrainSettings

from .page import render
from .picture import LatentPicture
from .svg import CURVES, curves, scatter

Row = Mapping[str, Any]
# What a value's name holds, and the chart that it belongs to; the first that fits.
_CHARTS = (
    ("Loss", ("loss", "regression", "contrastive", "surprise", "error")),
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
) -> str:
    """Return the whole page.

    Args:
        name: of the run.
        curve: a row of values for each epoch, as `MetricsLog.curve` has them.
        settings: of the run, whole.
        picture: of the latent space, if there is one.
        best_epoch: marked in the table of epochs.
        chosen: which epoch was chosen, and why.
    """
    columns, epochs, best = _epochs(curve, best_epoch)
    return render(
        "training.html",
        heading=f"World model {name}: {settings.model.objective}",
        wide=False,
        chosen=chosen,
        charts=list(_curves(curve)),
        columns=columns,
        epochs=epochs,
        best=best,
        picture=_picture(picture) if picture is not None else None,
        settings=list(_settings(settings)),
    )


def _curves(curve: Sequence[Row]) -> Iterator[tuple[Markup, str]]:
    """A chart for each kind of value, with as many lines as it can tell apart."""
    across = [float(row.get("epoch", i + 1)) for i, row in enumerate(curve)]
    for title, names in _grouped(curve):
        for begin in range(0, len(names), CURVES):
            lines = {n: [_number(row.get(n)) for row in curve] for n in names[begin:][:CURVES]}
            caption = f"{title}, by epoch."
            yield curves(caption, across, lines), caption


def _grouped(curve: Sequence[Row]) -> list[tuple[str, list[str]]]:
    """Titles of the charts, and the names of the values in each."""
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
    """Columns, rows of cells, and the place of the best row among them."""
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
        f"{picture.name} of {len(picture.points):,} steps, on their first two principal "
        f"components, which hold {first} and {second} of the variance."
    )
    return scatter(caption, picture.points, picture.positions), caption


def _settings(settings: TrainSettings) -> Iterator[tuple[str, str]]:
    for section, values in unstructure(settings).items():
        for name, value in values.items():
            yield f"{section}.{name}", _plain(value)


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


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v:g}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else str(value)
