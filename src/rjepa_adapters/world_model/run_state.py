"""What a checkpoint says of its run, checked before anything is made of it: it may be anyone's."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

import attrs
import torch
from attrs import validators as v
from torch import Tensor

from rjepa_core.config import structure
from rjepa_core.domain.identity import LatentSpace
from rjepa_core.errors import UsageError
from rjepa_core.settings import TrainSettings

from .checkpoint import MODEL, STATE, Checkpoint, DamagedCheckpointError, Shapes, shapes_of
from .logs import Standing
from .network import STATISTICS, Network, VerifierFacts

_PERCENTILES = 101
_count = v.and_(v.instance_of(int), v.ge(0))


def _check_quantiles(_: object, attribute: object, value: Mapping[str, tuple[float, ...]]) -> None:
    for steps, values in value.items():
        if not (steps.isascii() and steps.isdecimal() and len(steps) < 10):
            raise ValueError(f"quantiles: {steps:.20} is no number of steps")
        if len(values) != _PERCENTILES or not all(map(isfinite, values)):
            raise ValueError(f"quantiles.{steps}: expected {_PERCENTILES} finite numbers")
        if any(a > b for a, b in pairwise(values)):
            raise ValueError(f"quantiles.{steps}: they do not ascend")


@attrs.frozen(kw_only=True)
class RunState:
    """A checkpoint's state, in types.

    Attributes:
        settings: of the run.
        space: latent space of its data.
        domains: that the model knows, in its order.
        traces: that it is trained on.
        standing: where it is.
        quantiles: of validation's surprise, by number of steps as text.
        limits: of the order of its traces, by name; a run of an older version has none.
        verifier: what a verifier's settings leave open; None where it is none.
        problems: how many the model is trained on; an older run does not say.
        compared: traces behind each of `quantiles`, by the same keys; an older run does not say.
    """

    settings: TrainSettings
    space: LatentSpace
    domains: tuple[str, ...]
    traces: int = attrs.field(validator=_count)
    standing: Standing
    quantiles: Mapping[str, tuple[float, ...]] = attrs.field(validator=_check_quantiles)
    limits: Mapping[str, int] = attrs.field(
        factory=dict, validator=v.deep_mapping(v.instance_of(str), _count)
    )
    verifier: VerifierFacts | None = None
    problems: int | None = attrs.field(default=None, validator=v.optional(_count))
    compared: Mapping[str, int] = attrs.field(
        factory=dict, validator=v.deep_mapping(v.matches_re("[0-9]{1,9}"), _count)
    )

    def __attrs_post_init__(self) -> None:
        if (self.verifier is not None) != self.settings.model.verifies:
            raise ValueError("verifier: does not fit the objective")


# What runs of older versions were trained with, whose settings do not say so.
_BEGUN: Mapping[str, Mapping[str, Any]] = {
    "model": {"first_apart": False},
    "training": {"linear_lr": 1.0},
}


def as_begun(settings: Any) -> Any:
    """The settings that a run keeps, with what its version did where it had no setting."""
    if not isinstance(settings, Mapping):
        return settings
    whole = dict(settings)
    for section, values in _BEGUN.items():
        if isinstance(found := whole.get(section), Mapping):
            whole[section] = {**values, **found}
    return whole


def read_state(found: Checkpoint) -> RunState:
    """A checkpoint's state; see `check_fits` for what it raises."""
    return _typed(found.state, found.path)


def check_fits(state: Mapping[str, Any], shapes: Shapes, place: Path) -> None:
    """Check a checkpoint's state, and its model file's tensors against those that the settings ask
    for, before any is made.

    Raises:
        DamagedCheckpointError: a value is missing, of another type or out of range; a tensor is
            missing, too many, or of another type or shape.
    """
    typed = _typed(state, place)
    where, model, width = place / MODEL, typed.settings.model, typed.space.hidden_size
    if shapes.get("statistics.step_mean") != ("F32", (width,)):
        raise DamagedCheckpointError(f"{where}: has no statistics of {width} dimensions")
    # Each block has tensors of its own: a deeper model is not built to be compared.
    depths = [model.depth, model.predictor_depth]
    if typed.verifier is not None and (other := typed.verifier.world_model) is not None:
        depths += [other.model.depth, other.model.predictor_depth]
    if max(depths) > len(shapes):
        raise DamagedCheckpointError(f"{where}: holds a smaller model than its settings name")
    try:
        with torch.device("meta"):
            made = Network.plain(typed.settings, width, len(typed.domains), typed.verifier)
        expected = shapes_of(made.tensors())
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise DamagedCheckpointError(f"{where}: no such model can be: {_line(error)}") from None
    for name in sorted({*expected, *shapes}):
        if name not in shapes:
            raise DamagedCheckpointError(f"{where}: {name} is missing")
        if name not in expected:
            raise DamagedCheckpointError(f"{where}: {name!r:.100} is no tensor of the model")
        # Weights may be kept in half the space; statistics differ by more than float16 holds.
        half = ("F16", expected[name][1])
        if shapes[name] == half and expected[name][0] == "F32" and not name.startswith(STATISTICS):
            continue
        if shapes[name] != expected[name]:
            raise DamagedCheckpointError(
                f"{where}: {name} is {_of(shapes[name])}, where its settings ask for "
                f"{_of(expected[name])}"
            )


def check_values(found: Checkpoint) -> None:
    """Refuse a model that can only make nonsense.

    Raises:
        DamagedCheckpointError: a value is not finite, or a spread not positive.
    """
    where = found.path / MODEL
    for name, values in found.model.items():
        if not torch.isfinite(values).all():
            raise DamagedCheckpointError(f"{where}: {name} has a value that is not finite")
        if name.endswith("_std") and not (values > 0).all():
            raise DamagedCheckpointError(f"{where}: {name} has a spread that is not above 0")


def _typed(state: Mapping[str, Any], place: Path) -> RunState:
    kept = {field.name: field for field in attrs.fields(RunState)}
    try:
        for name, field in kept.items():
            if name not in state and field.default is attrs.NOTHING:
                raise ValueError(f"{name} is missing")
        told = {name: state[name] for name in kept if name in state}
        told["settings"] = as_begun(told["settings"])
        if isinstance(told.get("verifier"), Mapping):
            other = as_begun(told["verifier"].get("world_model"))
            told["verifier"] = {**told["verifier"], "world_model": other}
        found = structure(RunState, told)
        # Texts such as `none` stand for themselves here.
        return attrs.evolve(found, space=LatentSpace.from_json(state["space"]))
    except (UsageError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise DamagedCheckpointError(f"{place / STATE}: {_line(error)}") from None


def _of(shape: tuple[str, tuple[int, ...]]) -> str:
    return f"{shape[0]} {list(shape[1])}"


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]


_OWN, _TORCH, _CUDA = "generator", "torch", "cuda"


@attrs.frozen
class RandomStates:
    """The generators of a run.

    Attributes:
        generator: of masks and projections.
        device: that the model is on; torch's own generator of the CPU counts, too.
    """

    generator: torch.Generator
    device: torch.device

    def tensors(self) -> dict[str, Tensor]:
        """Where each of them is, uint8."""
        found = {_OWN: self.generator.get_state(), _TORCH: torch.get_rng_state()}
        if self.device.type == "cuda":
            found[_CUDA] = torch.cuda.get_rng_state(self.device)
        return found

    def check(self, shapes: Shapes) -> Shapes:
        """Those of a file's tensors that are theirs.

        Raises:
            ValueError: one is missing, or of another shape; a run of another device lacks its own.
        """
        expected = shapes_of(self.tensors())
        for name, shape in expected.items():
            if shapes.get(name, shape if name == _CUDA else None) != shape:
                raise ValueError(f"{name} is missing, or no state of a generator")
        return {name: shapes[name] for name in (_OWN, _TORCH, _CUDA) if name in shapes}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go back there.

        Raises:
            RuntimeError: it is no state of theirs.
        """
        self.generator.set_state(tensors[_OWN])
        torch.set_rng_state(tensors[_TORCH])
        if self.device.type == "cuda" and _CUDA in tensors:
            torch.cuda.set_rng_state(tensors[_CUDA], self.device)
