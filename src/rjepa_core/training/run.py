"""Train a world model with an adapter."""

from __future__ import annotations

from ..errors import UnsupportedError
from ..plugins import Registry, WorldModelAdapter
from ..ports.world_model import TrainSummary, TrainWatch
from ..settings import TrainSettings

DEFAULT_TRAINER = "jepa"


def train_world_model(
    run: str,
    settings: TrainSettings,
    watch: TrainWatch | None = None,
    registry: Registry | None = None,
    trainer: str = DEFAULT_TRAINER,
) -> TrainSummary:
    """Train a world model into the folder `run`; `open_world_model` opens it.

    Args:
        run: folder, new unless `watch.resume`.
        settings: of the run.
        watch: how the caller follows it.
        registry: finds the adapter.
        trainer: its name.

    Raises:
        UsageError: anything that the user can fix before anything is computed.
        DiskFullError: a checkpoint did not fit; earlier ones are intact.
    """
    adapter = (registry or Registry()).find(WorldModelAdapter, trainer)
    if adapter.train is None:
        raise UnsupportedError(f"world model {adapter.name!r} cannot be trained")
    return adapter.train(run, settings, watch or TrainWatch())
