"""Checkpoints of a training run: safetensors and JSON, whole or absent.

A checkpoint is a folder `checkpoints/step-00000123` with `model.safetensors` (all that scoring
needs), `training.safetensors` (optimiser and generators) and `state.json`, which holds the digests
of both and one of itself. It is written under another name, synced and renamed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import xxhash
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save_file
from torch import Tensor

from rjepa_core.errors import DiskFullError, UsageError
from rjepa_core.training import UNFINISHED

from .files import is_utf8, write_whole
from .files import sync as _sync

VERSION = 2
FOLDER, MODEL, TRAINING, STATE, BEST = (
    "checkpoints",
    "model.safetensors",
    "training.safetensors",
    "state.json",
    "best.json",
)
_PREFIX = "step-"
Tensors = dict[str, Tensor]


class DamagedCheckpointError(UsageError):
    """A checkpoint that is cut short, changed, or of another version; the message says which."""


@attrs.frozen(eq=False)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        path: its folder.
        model: weights and statistics.
        state: JSON values.
    """

    path: Path
    model: Tensors
    state: dict[str, Any]

    def training(self) -> Tensors:
        """Optimiser and generators; read only where training goes on."""
        return _tensors(self.path / TRAINING, self.state["digests"][TRAINING])


def write(run: Path, step: int, model: Tensors, training: Tensors, state: dict[str, Any]) -> Path:
    """Write the checkpoint of a step; one of the same step is replaced.

    Raises:
        DiskFullError: there was no room; what was there before stays.
    """
    place = run / FOLDER / f"{_PREFIX}{step:08d}"
    draft = place.with_name(place.name + UNFINISHED)
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for name, tensors in ((MODEL, model), (TRAINING, training)):
            save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, draft / name)
            _sync(draft / name)
        digests = {name: _digest(draft / name) for name in (MODEL, TRAINING)}
        body = {**state, "version": VERSION, "step": step, "digests": digests}
        (draft / STATE).write_text(_json_text({"digest": _json_digest(body), **body}), "utf-8")
        _sync(draft / STATE)
        _sync(draft)
        if place.exists():
            shutil.rmtree(place)
        draft.rename(place)
        _sync(place.parent)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        else:
            reason = str(error).splitlines()[0]
        raise DiskFullError(
            f"{place}: the checkpoint could not be written: {reason}; free some space and go on "
            "with --resume"
        ) from None
    return place


def read(place: Path) -> Checkpoint:
    """A checkpoint, checked against its digests.

    Raises:
        DamagedCheckpointError: it is not whole.
    """
    try:
        state = json.loads((place / STATE).read_text(encoding="utf-8"))
        digest = state.pop("digest")
    except FileNotFoundError:
        raise DamagedCheckpointError(f"{place}: there is no {STATE} in it") from None
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise DamagedCheckpointError(f"{place / STATE}: cannot be read; it is damaged") from None
    if digest != _json_digest(state):
        raise DamagedCheckpointError(f"{place / STATE}: does not match its digest; it is damaged")
    if state["version"] != VERSION:
        raise DamagedCheckpointError(
            f"{place}: is of format {state['version']}, this version reads {VERSION}"
        )
    return Checkpoint(place, _tensors(place / MODEL, state["digests"][MODEL]), state)


def steps(run: Path) -> list[tuple[int, Path]]:
    """The checkpoints of a run, oldest first; unfinished ones are none."""
    found = []
    for place in (run / FOLDER).glob(f"{_PREFIX}*"):
        number = place.name.removeprefix(_PREFIX)
        if number.isdigit() and place.is_dir():
            found.append((int(number), place))
    return sorted(found)


def best(run: Path) -> Path | None:
    """The checkpoint that the run calls its best; None before the first."""
    try:
        said = json.loads((run / BEST).read_text(encoding="utf-8"))
        return run / FOLDER / str(said["checkpoint"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise DamagedCheckpointError(f"{run / BEST}: cannot be read; it is damaged") from None


def name_best(run: Path, place: Path, facts: Mapping[str, Any]) -> None:
    """Call a checkpoint the best."""
    write_whole(run / BEST, _json_text({"checkpoint": place.name, **facts}))


def tidy(run: Path, keep_last: int) -> None:
    """Remove all but the last few checkpoints and the best one, and what was never finished."""
    kept = {place for _, place in steps(run)[-keep_last:]} | {best(run)}
    for _, place in steps(run):
        if place not in kept:
            shutil.rmtree(place, ignore_errors=True)
    for draft in (run / FOLDER).glob(f"*{UNFINISHED}"):
        shutil.rmtree(draft, ignore_errors=True)


def _tensors(path: Path, digest: str) -> Tensors:
    try:
        if _digest(path) != digest:
            raise DamagedCheckpointError(f"{path}: does not match its digest; it is damaged")
        return dict(load_file(path) if is_utf8(path) else load(path.read_bytes()))
    except FileNotFoundError:
        raise DamagedCheckpointError(f"{path}: is missing") from None
    except (OSError, SafetensorError) as error:
        raise DamagedCheckpointError(f"{path}: cannot be read ({error})") from None


def _digest(path: Path) -> str:
    found = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return str(found.hexdigest())


def _json_digest(body: Mapping[str, Any]) -> str:
    return str(xxhash.xxh3_128_hexdigest(json.dumps(body, sort_keys=True).encode()))


def _json_text(body: Mapping[str, Any]) -> str:
    return json.dumps(body, indent=1) + "\n"
