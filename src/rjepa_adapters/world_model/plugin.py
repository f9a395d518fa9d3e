"""Descriptor of the JEPA; torch is imported once it is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rjepa_core.errors import UnsupportedError
from rjepa_core.plugins import WorldModelAdapter, hookimpl
from rjepa_core.ports.world_model import TrainSummary, TrainWatch, WorldModel
from rjepa_core.settings import TrainSettings

# A path that begins so is meant as no folder here.
_ELSEWHERE = ("hf:", "http:", "https:")


def _open(location: str, device: str) -> WorldModel:
    import warnings

    from .inference import JepaWorldModel

    return JepaWorldModel(location, device, lambda line: warnings.warn(line, stacklevel=2))


def claims(location: str) -> bool:
    """Return whether a folder is that of a run."""
    place = Path(location)
    return (place / "config.yaml").is_file() or (place / "checkpoints").is_dir()


def _train(run: str, settings: TrainSettings, watch: TrainWatch) -> TrainSummary:
    if run.lower().startswith(_ELSEWHERE):
        raise UnsupportedError(
            f"{run}: a run is trained in a folder here; name one, and upload that to the Hugging "
            "Face Hub with rjepa_adapters.hub.push_to_hub"
        )
    from .run import train

    return train(run, settings, watch)


@hookimpl
def rjepa_world_models() -> Iterable[WorldModelAdapter]:
    return [
        WorldModelAdapter(
            name="jepa",
            summary="predicts masked steps from the visible ones; trained here, kept in a folder",
            open=_open,
            claims=claims,
            train=_train,
        )
    ]
