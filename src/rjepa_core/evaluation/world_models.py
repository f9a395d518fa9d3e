"""The world models of an evaluation: opened, named, and put together with their other seeds."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from ..domain.identity import LatentSpace, check_space, known_together
from ..errors import UsageError
from ..plugins import Registry, open_world_model
from ..ports.world_model import TargetSpace, WorldModel
from ..text import count
from .methods import BASELINE, RIDGE, WORLD_MODEL, Method
from .results import Seeds
from .settings import EvaluateSettings

# Networks that are baselines of all others, trained with the same loss.
_KINDS = {"linear": "linear map", "perceptron": "perceptron"}
_HORIZONS = (1, 2, 3)


@contextmanager
def opened_world_models(
    asked: EvaluateSettings, registry: Registry
) -> Iterator[dict[str, WorldModel]]:
    """The world models by the names of the tables, those that are no baselines first.

    Raises:
        UsageError: one is named twice, or does not look as far ahead as was asked for.
        IdentityError: they are of several latent spaces.
    """
    places = asked.world_models
    if len(set(places)) < len(places):
        raise UsageError("evaluate.world_models: one is named twice")
    with ExitStack() as stack:
        models = []
        for place in places:
            models.append(open_world_model(place, asked.device, registry))
            stack.callback(models[-1].close)
        space_of(models)
        for place, model in zip(places, models, strict=True):
            if model.info.horizon < max(asked.horizons, default=1):
                raise UsageError(
                    f"evaluate.horizons: {place} predicts no more than "
                    f"{count(model.info.horizon, 'step')} ahead; name fewer, or leave it out"
                )
        named = list(zip(names_of(places, models), models, strict=True))
        yield dict(sorted(named, key=lambda one: is_baseline(one[1])))


def space_of(models: Sequence[WorldModel]) -> LatentSpace:
    """The latent space of all, with what any of them knows of it.

    Raises:
        IdentityError: there are several.
    """
    first, *others = (model.info for model in models)
    space = first.space
    for other in others:
        check_space(other.space, space, other.location, first.location)
        space = known_together(space, other.space)
    return space


def is_baseline(model: WorldModel) -> bool:
    """Whether other world models are compared with it."""
    return model.info.network in _KINDS


def horizons_of(asked: EvaluateSettings, models: Mapping[str, WorldModel]) -> tuple[int, ...]:
    """The numbers of steps ahead: those asked for, or 1 to 3 as far as some model looks."""
    furthest = max(model.info.horizon for model in models.values())
    return asked.horizons or tuple(ahead for ahead in _HORIZONS if ahead <= furthest)


def methods_of(models: Mapping[str, WorldModel], seeds: Sequence[Seeds]) -> list[Method]:
    """World models as methods, in their own units: for surprise."""
    grouped = {name: one for one in seeds for name in one.members}
    trained = [name for name, model in models.items() if is_baseline(model)]
    # Of several seeds of a baseline the best is the one to beat.
    rivals = dict.fromkeys(grouped[name].name if name in grouped else name for name in trained)
    return [
        Method(name, BASELINE, model, (RIDGE,), model)
        if is_baseline(model)
        else Method(name, WORLD_MODEL, model, (RIDGE, *rivals), model)
        for name, model in models.items()
    ]


def seeds_of(models: Mapping[str, WorldModel]) -> list[Seeds]:
    """The world models of one configuration each that there are several of; those with a target
    space of their own cannot stand in one table."""
    groups: list[list[str]] = []
    for name, model in models.items():
        if not model.info.configuration or model.info.target_space is TargetSpace.MODEL:
            continue
        for group in groups:
            if _alike(models[group[0]], model):
                group.append(name)
                break
        else:
            groups.append([name])
    groups = [group for group in groups if len(group) > 1]
    shown = Counter(_common(group) for group in groups)
    found = []
    for group in groups:
        best = is_baseline(models[group[0]])
        what = _common(group) if shown[_common(group)] == 1 else ", ".join(group)
        name = f"{what}, the {'best' if best else 'worst'} of {len(group)} seeds"
        found.append(Seeds(name, tuple(group), best))
    return found


def _alike(one: WorldModel, other: WorldModel) -> bool:
    ours, theirs = one.info, other.info
    return ours.configuration == theirs.configuration and ours.network == theirs.network


def _common(names: Sequence[str]) -> str:
    """What the names begin with."""
    alike = itertools.takewhile(lambda at: len(set(at)) == 1, zip(*names, strict=False))
    return "".join(at[0] for at in alike).rstrip(" -_.")


def names_of(places: Sequence[str], models: Sequence[WorldModel]) -> list[str]:
    """What it is, and, where there are several of it, the name of its folder."""
    kinds = [_KINDS.get(model.info.network, "world model") for model in models]
    folders = [place.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] for place in places]
    several, same = Counter(kinds), Counter(folders)
    return [
        kind if several[kind] == 1 else f"{kind} {folder if same[folder] == 1 else place}"
        for kind, folder, place in zip(kinds, folders, places, strict=True)
    ]


def facts_of(models: Mapping[str, WorldModel]) -> dict[str, Any]:
    """What an evaluation says of them, by name."""
    return {
        name: {
            "location": model.info.location,
            "network": model.info.network,
            "objective": model.info.objective,
            "seed": model.info.seed,
            "target_space": model.info.target_space.value,
            "latent_space": model.info.space.fingerprint,
            "problems": model.info.problems,
            "too_little": model.info.too_little,
        }
        for name, model in models.items()
    }
