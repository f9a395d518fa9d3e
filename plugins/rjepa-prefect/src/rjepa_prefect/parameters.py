"""Turn a flow's parameters, plain JSON values, into the settings of the use cases."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import validators as v

from rjepa_core import ExtractionSettings, Registry, TrainSettings
from rjepa_core.config import structure, unstructure
from rjepa_core.errors import SettingsError, UsageError
from rjepa_core.evaluation import EvaluateRunSettings
from rjepa_core.extraction import resolve_extraction
from rjepa_core.plugins import WorldModelAdapter, locate, locate_world_model, split_location
from rjepa_core.training import DEFAULT_TRAINER

Values = dict[str, Any]


@attrs.frozen(kw_only=True)
class RetrySettings:
    """Retries after temporary failures, such as a lost device or a full disk.

    Attributes:
        retries: further tries of each task.
        retry_delay_seconds: delay before each of them.
    """

    retries: int = attrs.field(default=2, validator=[v.instance_of(int), v.ge(0)])
    retry_delay_seconds: float = attrs.field(default=60.0, validator=v.ge(0.0))

    @classmethod
    def of(cls, retries: int, retry_delay_seconds: float) -> RetrySettings:
        """Return checked settings.

        Raises:
            SettingsError: a parameter is invalid; the message names it.
        """
        return structure(cls, {"retries": retries, "retry_delay_seconds": retry_delay_seconds})


def extraction_of(
    values: Mapping[str, Any], registry: Registry, resume: bool = False
) -> ExtractionSettings:
    """Return an extraction's settings, checked together with those of the adapters.

    Args:
        values: sections and keys.
        registry: finds the adapters.
        resume: sets `run.resume` if true.

    Raises:
        UsageError: a value is invalid; the message names its key.
    """
    settings, _ = resolve_extraction(values, registry)
    if resume:
        settings = attrs.evolve(settings, run=attrs.evolve(settings.run, resume=True))
    _check_lasting("store.path", split_location(settings.store.path, settings.store.name)[1])
    return settings


def training_of(values: Mapping[str, Any], out: str, store: str | None = None) -> TrainSettings:
    """Return a training run's settings.

    Args:
        values: sections and keys.
        out: the run's folder.
        store: to train on if `data.stores` is empty.

    Raises:
        UsageError: a value is invalid; the message names its key.
    """
    settings = structure(TrainSettings, values)
    if store is not None and not settings.data.stores:
        settings = attrs.evolve(settings, data=attrs.evolve(settings.data, stores=(store,)))
    if not settings.data.stores:
        raise UsageError("data.stores: no latents to train on; name a store")
    if not out:
        raise SettingsError("out: must not be empty; name a folder for the run")
    _check_lasting("out", out)
    return settings


def evaluation_of(
    values: Mapping[str, Any], extraction: ExtractionSettings | None = None, out: str = ""
) -> EvaluateRunSettings:
    """Return an evaluation's settings.

    Args:
        values: sections and keys.
        extraction, out: the extraction, and the run trained on it; they are the defaults of world
            models, stores and LLM.

    Raises:
        UsageError: a value is invalid; the message names its key.
    """
    settings = structure(EvaluateRunSettings, values)
    if extraction is None:
        return settings
    asked = settings.evaluate
    asked = attrs.evolve(
        asked,
        world_models=asked.world_models or (out,),
        stores=asked.stores or (extraction.store.path,),
    )
    if settings.model is None:
        settings = attrs.evolve(settings, model=extraction.model, backend=extraction.backend)
    return attrs.evolve(settings, evaluate=asked)


def check_places(
    store: str,
    training: TrainSettings,
    out: str,
    evaluation: EvaluateRunSettings | None,
    resume: bool,
    registry: Registry,
) -> None:
    """Check that what later parts read exists or is made earlier, and that their outputs are new.

    Args:
        store: the extraction's.
        training, out: the training run and its folder.
        evaluation: the evaluation, if any.
        resume: whether the run may exist already.
        registry: finds the adapters.

    Raises:
        UsageError: a check failed; the message names the path.
    """
    if Path(out).exists() and not Path(out).is_dir():
        raise UsageError(f"out: {out} is a file; name a folder for the run")
    if not resume and registry.find(WorldModelAdapter, DEFAULT_TRAINER).claims(out):
        raise UsageError(f"out: {out} holds a run already; resume it, or name another folder")
    asked = None if evaluation is None else evaluation.evaluate
    for place in [*training.data.stores, *(asked.stores if asked else ())]:
        if _resolve(place) != _resolve(store):
            locate(place, registry).require()
    for place in asked.world_models if asked else ():
        if Path(place).resolve() != Path(out).resolve():
            locate_world_model(place, registry)


def _resolve(store: str) -> tuple[str, Path]:
    name, place = split_location(store)
    return name, Path(place).resolve()


def plain(settings: Any) -> Values:
    """Return settings as JSON values, as a task's page shows them."""
    return unstructure(settings)


def _check_lasting(key: str, place: str) -> None:
    """Refuse a relative path in the temporary folder that a worker deletes after the run."""
    here = Path.cwd()
    temporary = here.parent == Path(tempfile.gettempdir()).resolve() and here.name.endswith(
        "prefect"
    )
    if temporary and not Path(place).is_absolute():
        raise UsageError(
            f"{key}: {place} would lie in {here}, which the worker deletes after the run; give a "
            "path from the root, or set the deployment's job variable working_dir"
        )
