"""A training run's folder: begun, gone on with, and ended with a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
import yaml

from rjepa_core.config import structure, unstructure
from rjepa_core.domain.floors import too_few_to_train
from rjepa_core.domain.identity import differences
from rjepa_core.domain.problem import Split
from rjepa_core.errors import SettingsError, UsageError
from rjepa_core.ports.world_model import RUN_CONFIG, UNFINISHED, TrainSummary, TrainWatch
from rjepa_core.settings import TrainSettings
from rjepa_core.text import count

from ..reports.evaluated import REPORT
from ..reports.training import html, latent_picture
from . import checkpoint
from .batches import LONG, LengthBatches
from .checkpoint import write_whole
from .dataset import LatentDataset
from .distributed import Processes, joined
from .index import Index, open_index
from .inference import device_of, find_checkpoint
from .network import Network
from .normalise import Standardiser, measured
from .prediction import MOST_STEPS
from .ridge import start_from_ridge
from .run_state import RunState, as_begun, read_state
from .trainer import Trainer
from .validation import sample
from .verifying import (
    Base,
    best_judged,
    prepare,
    right_ones,
    tell_chance,
    tell_labels,
    verifier_facts,
)
from .workers import Loader

_RIDGE_BATCH = 128
# May differ between the parts of a run: they change how it is computed, not what.
_FREE = ("num_workers", "device", "checkpoint_minutes", "keep_last")
# Kept in a run's checkpoints: its order of traces follows from them. Older runs have none.
_LIMITS = {"long": LONG, "most_steps": MOST_STEPS}


def train(run: str, settings: TrainSettings, watch: TrainWatch | None = None) -> TrainSummary:
    """Train a world model into the folder `run`, or go on with it.

    Raises:
        UsageError: anything that the user can mend; nothing was computed yet.
        DiskFullError: a checkpoint did not fit; those before it are whole.
    """
    watch = watch or TrainWatch()
    with joined(settings.training.device) as processes:
        if not processes.first:
            # One of them speaks.
            watch = TrainWatch(resume=watch.resume, stop=watch.stop, reading=watch.reading)
        return _train(run, settings, watch, processes)


def _train(
    run: str, settings: TrainSettings, watch: TrainWatch, processes: Processes
) -> TrainSummary:
    _check_processes(settings, processes)
    place = Path(run)
    settings, found = _begun(place, settings, watch)
    device = device_of(processes.device(settings.training.device))
    watch.say("reading the stores")
    state, ridge = (None if found is None else read_state(found)), {}
    limits = _LIMITS if state is None else state.limits
    base = Base.named(settings.model.world_model, watch.warn) if state is None else None
    known = _known_domains(settings, state, base)
    with watch.reading():
        data, held_out = _indices(settings, known, watch, limits.get("most_steps"))
    if state is not None:
        _check_alike(unstructure(state.settings), settings, place)
        _check_same(data, state, run)
    if base is not None:
        base.check(data)
    training, validation = LatentDataset(data), LatentDataset(held_out)
    watch.say(
        f"{count(len(data), 'trace')} with {count(int(data.steps.sum()), 'step')} to train on, "
        f"{len(held_out):,} with {int(held_out.steps.sum()):,} to validate on"
    )
    too_little = too_few_to_train(_problems(data))
    if too_little is not None and not watch.resume:
        watch.warn(too_little)
    verifier = None if state is None else state.verifier
    if state is None and settings.model.verifies:
        verifier = verifier_facts(settings, data, held_out, base, watch)
    torch.manual_seed(settings.training.seed)
    domains = len(data.domains)
    quantiles: dict[int, list[float]] = {}
    if found is not None and state is not None:
        network = Network.of(settings, found.model, domains, verifier).to(device)
        quantiles = {int(steps): list(values) for steps, values in state.quantiles.items()}
    elif base is not None:
        network = Network.of(settings, base.model, domains, verifier, fresh=True).to(device)
        quantiles = base.quantiles
    else:
        watch.say("reading the statistics of the training part")
        with watch.reading():
            statistics = _statistics(training, settings, watch)
        network = Network(settings, statistics, domains, verifier).to(device)
        if settings.model.starts_from_ridge:
            watch.say("ridge regression for the linear path")
            with watch.reading():
                ridge = _start_from_ridge(network, training, validation, settings, watch)
    if found is None and verifier is not None:
        # The linear path is no candidate for the best epoch: it judges nothing.
        ridge = {}
        with watch.reading():
            quantiles = prepare(network, training, validation, quantiles, device)
    # Only now may the folder hold a run.
    processes.meet()
    known_state = state if base is None else base.state
    compared = _lengths(held_out) if known_state is None else known_state.compared
    facts = {**_facts(data, settings), "limits": limits, "compared": dict(compared)}
    if verifier is not None:
        facts["verifier"] = unstructure(verifier)
    trainer = Trainer(
        place, settings, network, training, validation, facts, watch, processes, quantiles
    )
    if found is not None:
        trainer.restore(found)
        watch.say(f"going on at epoch {trainer.standing.epoch + 1}, step {trainer.standing.step}")
    else:
        trainer.standing.ridge = ridge
        if processes.first:
            _begin(place, settings)
    try:
        summary = trainer.fit()
    finally:
        training.close()
        validation.close()
    summary = attrs.evolve(summary, too_little=too_little)
    if processes.first:
        watch.say(trainer.chosen())
        watch.say("writing the report")
        report = _report(place, settings, trainer, summary, watch)
        return attrs.evolve(summary, report=str(report))
    return summary


def _indices(
    settings: TrainSettings,
    known: Sequence[str] | None,
    watch: TrainWatch,
    most_steps: int | None,
) -> tuple[Index, Index]:
    """The records to train on, and those to validate on."""
    with_domains, labels = settings.model.domains or bool(known), settings.model.verifies
    whole = partial(open_index, settings.data, most_steps=most_steps, with_labels=labels)
    data = whole(Split.TRAIN, with_domains, known)
    held_out = whole(Split.VALIDATION, with_domains, known or data.domains)
    if left_out := data.too_long + held_out.too_long:
        watch.warn(
            f"{left_out:,} traces of more than {most_steps:,} steps are left out: a world model "
            "takes none so long"
        )
    for name, one in (("training", data), ("validation", held_out)) if labels else ():
        tell_labels(name, one, watch)
    return data, held_out


def _known_domains(
    settings: TrainSettings, state: RunState | None, base: Base | None
) -> Sequence[str] | None:
    """Those that the model knows already."""
    if base is not None:
        return base.state.domains if base.settings.model.domains else None
    if state is None:
        return None
    of_base = state.verifier and state.verifier.world_model
    return state.domains if (of_base or settings).model.domains else None


def _check_processes(settings: TrainSettings, processes: Processes) -> None:
    """What looks across the rows of a batch cannot be shared out."""
    if processes.world == 1:
        return
    if settings.model.verifies:
        raise UsageError(
            f"model.objective verifier: works with one process only; there are {processes.world}"
        )
    for key, value in (
        ("training.detection", settings.training.detection),
        ("masker.swap", settings.masker.swap),
    ):
        if value:
            raise UsageError(
                f"{key} {value:g}: works with one process only; there are {processes.world}"
            )


def _start_from_ridge(
    network: Network,
    training: LatentDataset,
    validation: LatentDataset,
    settings: TrainSettings,
    watch: TrainWatch,
) -> dict[str, float]:
    steps = training.index.steps, validation.index.steps
    workers, given = settings.training.num_workers, settings.model.ridge
    right = right_ones(training.index), right_ones(validation.index)
    chosen = right[1][sample(steps[1][right[1]], settings.training.seed)]
    ordered = LengthBatches(steps[0], _RIDGE_BATCH, ordered=True, chosen=right[0])
    looked_at = LengthBatches(steps[1], _RIDGE_BATCH, ordered=True, chosen=chosen)
    with closing(Loader(training, ordered, workers, warn=watch.warn)) as batches:
        sampled = list(Loader(validation, looked_at))
        if given is None:
            return start_from_ridge(network, batches, sampled)
        return start_from_ridge(network, batches, sampled, (given,), (1.0,))


def _begun(
    place: Path, settings: TrainSettings, watch: TrainWatch
) -> tuple[TrainSettings, checkpoint.Checkpoint | None]:
    """The run's settings, and the checkpoint to go on from; None for a new run.

    Raises:
        UsageError: the folder holds another run, or none at all to go on with.
    """
    if place.exists() and not place.is_dir():
        raise UsageError(f"{place}: is not a folder; name another")
    begun = (place / RUN_CONFIG).exists()
    if not watch.resume:
        if begun:
            raise UsageError(
                f"{place}: holds a run already; resume the run, or name another folder"
            )
        if place.exists() and any(one.suffix != UNFINISHED for one in place.iterdir()):
            raise UsageError(f"{place}: is not empty, and no run; name another folder")
        return settings, None
    if not begun:
        raise UsageError(f"{place}: holds no run to resume; begin one there")
    settings = _same_settings(place, settings)
    if not checkpoint.steps(place):
        watch.say("no checkpoint was written yet; beginning anew")
        return settings, None
    return settings, find_checkpoint(place, watch.warn, latest=True)


def _same_settings(place: Path, settings: TrainSettings) -> TrainSettings:
    """Check that a run is gone on with as it was begun; what an older version did not write down
    is as it was then."""
    try:
        kept = yaml.safe_load((place / RUN_CONFIG).read_text(encoding="utf-8"))
        whole = as_begun(kept)
        before = unstructure(structure(TrainSettings, whole))
    except (OSError, ValueError, RecursionError, yaml.YAMLError, SettingsError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{place / RUN_CONFIG}: cannot be read ({reason})") from None
    given = unstructure(settings)
    for section, values in whole.items():
        given[section] |= {k: v for k, v in values.items() if k not in kept[section]}
    settings = structure(TrainSettings, given)
    _check_alike(before, settings, place)
    return settings


def _check_alike(before: Mapping[str, Any], settings: TrainSettings, place: Path) -> None:
    differing = [
        f"{section}.{key} was {before[section][key]!r} and is {value!r}"
        for section, values in unstructure(settings).items()
        for key, value in values.items()
        if before[section][key] != value and not (section == "training" and key in _FREE)
    ]
    if differing:
        raise UsageError(
            f"{place}: the run was begun with other settings: {'; '.join(differing)}. "
            "Resume it with its own, or begin another run"
        )


def _check_same(data: Index, state: RunState, run: str) -> None:
    """The data of the checkpoint must be there: order and statistics follow from it."""
    if differing := differences(data.space, state.space):
        named = "; ".join(f"{key} is {ours} and was {was}" for key, ours, was in differing)
        raise UsageError(f"{run}: was trained on another latent space: {named}")
    if len(data) != state.traces:
        raise UsageError(
            f"{run}: was begun with {count(state.traces, 'trace')} to train on, now there are "
            f"{len(data):,}; begin another run to use them"
        )


def _statistics(data: LatentDataset, settings: TrainSettings, watch: TrainWatch) -> Standardiser:
    workers = settings.training.num_workers
    with closing(Loader(data, measured(data), workers, warn=watch.warn)) as batches:
        found = Standardiser.fit(data, batches)
    if settings.model.standardise:
        return found
    # Centred, and one scale for all dimensions: what a run without standardising is trained on.
    scale = float(found.step_std.mean())
    return attrs.evolve(
        found,
        step_std=found.step_std * 0 + scale,
        prompt_std=found.prompt_std * 0 + float(found.prompt_std.mean()),
    )


def _problems(data: Index) -> int:
    return len(np.unique(data.problem))


def _lengths(held_out: Index) -> dict[str, int]:
    """How many traces have so many steps, of those whose surprise is compared with; 0: all."""
    steps = held_out.steps[right_ones(held_out)]
    lengths, traces = np.unique(steps, return_counts=True)
    counted = {str(one): int(many) for one, many in zip(lengths, traces, strict=True)}
    return {"0": len(steps), **counted}


def _facts(data: Index, settings: TrainSettings) -> dict[str, Any]:
    return {
        "settings": unstructure(settings),
        "space": data.space.to_json(),
        "domains": list(data.domains),
        "traces": len(data),
        "problems": _problems(data),
    }


def _begin(place: Path, settings: TrainSettings) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(unstructure(settings), sort_keys=False, allow_unicode=True)
        write_whole(place / RUN_CONFIG, text)
    except OSError as error:
        raise UsageError(f"{place}: the run cannot be begun there: {error.strerror}") from None


def _report(
    place: Path, settings: TrainSettings, trainer: Trainer, summary: TrainSummary, watch: TrainWatch
) -> Path:
    seen, picture = trainer.last_look, None
    if seen is not None and seen.traces:
        picture = latent_picture(seen.traces, "targets of the validation part")
    reliability = None
    if settings.model.verifies and summary.curve:
        found = best_judged(place, trainer.validation, trainer.device)
        tell_chance(found, watch)
        reliability = found.reliability
    page = html(
        place.name,
        summary.curve,
        settings,
        picture,
        summary.best_epoch,
        trainer.chosen(),
        reliability,
        summary.too_little,
    )
    path, unfinished = place / REPORT, place / f"{REPORT}.part"
    unfinished.write_text(page, encoding="utf-8")
    unfinished.replace(path)
    return path
