"""Train a world model with an adapter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from ..config import path_text, settings_of
from ..errors import UnsupportedError
from ..plugins import Registry, WorldModelAdapter, progress_bar
from ..ports.progress import ProgressBar
from ..ports.world_model import TrainProgress, TrainSummary, TrainWatch
from ..settings import TrainSettings

if TYPE_CHECKING:
    from os import PathLike

DEFAULT_TRAINER = "jepa"


def train_world_model(
    run: str | PathLike[str],
    settings: TrainSettings | Mapping[str, Any],
    watch: TrainWatch | None = None,
    registry: Registry | None = None,
    trainer: str = DEFAULT_TRAINER,
    progress: bool | str = False,
) -> TrainSummary:
    """Train a world model into the folder `run`; `open_world_model` opens it.

    Args:
        run: folder, new unless `watch.resume`.
        settings: of the run, or its sections and keys as in YAML.
        watch: how the caller follows it.
        registry: finds the adapters.
        trainer: the adapter's name.
        progress: whether a bar is shown, or the name of the adapter that shows it.

    Returns:
        What was done: epochs, steps, seconds, and one row of values per epoch.

    Raises:
        UsageError: anything that the user can fix before anything is computed.
        DiskFullError: a checkpoint did not fit; earlier ones are intact.
    """
    registry, watch = registry or Registry(), watch or TrainWatch()
    settings = settings_of(TrainSettings, settings)
    adapter = registry.find(WorldModelAdapter, trainer)
    if adapter.train is None:
        raise UnsupportedError(f"world model {adapter.name!r} cannot be trained")
    with progress_bar(progress, registry) as bar:
        return adapter.train(path_text(run, "run"), settings, _shown(watch, bar))


def _shown(watch: TrainWatch, bar: ProgressBar) -> TrainWatch:
    def report(progress: TrainProgress) -> None:
        note = f"epoch {progress.epoch + 1}/{progress.epochs}, loss {progress.loss:.4g}"
        bar.show("training", progress.step, progress.steps, note)
        watch.report(progress)

    return attrs.evolve(watch, report=report)
