"""Checkpoints of a training run: safetensors and JSON, whole or absent.

A checkpoint is a folder `checkpoints/step-00000123` with `model.safetensors` (all that scoring
needs), `training.safetensors` (optimiser and generators) and `state.json`, which holds the digests
of both and one of itself. It is written under another name, synced and renamed.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, load_file, save_file
from torch import Tensor

from rjepa_core.errors import DiskFullError, UsageError
from rjepa_core.ports.world_model import UNFINISHED

VERSION = 2
FOLDER, MODEL, TRAINING, STATE, BEST = (
    "checkpoints",
    "model.safetensors",
    "training.safetensors",
    "state.json",
    "best.json",
)
_PREFIX = "step-"
_NAME = re.compile(_PREFIX + r"([0-9]{8,15})")
# A state grows by a row an epoch and by a list a length of validation's traces.
_JSON_BYTES = 32 * 2**20
_KINDS = {torch.float32: "F32", torch.int64: "I64", torch.uint8: "U8"}
Tensors = dict[str, Tensor]
# Type and shape of each tensor.
Shapes = dict[str, tuple[str, tuple[int, ...]]]
Vet = Callable[[dict[str, Any], Shapes, Path], None]


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

    def training(self, vet: Callable[[Shapes], None] = lambda shapes: None) -> Tensors:
        """Optimiser and generators; read only where training goes on, after `vet` saw the file's
        header.

        Raises:
            DamagedCheckpointError: as `read`.
        """
        run, file = self.path.parent.parent, self.path / TRAINING
        return _tensors(run, file, str(self.state["digests"][TRAINING]), vet)


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
            sync(draft / name)
        digests = {name: _digest(draft / name) for name in (MODEL, TRAINING)}
        body = {**state, "version": VERSION, "step": step, "digests": digests}
        (draft / STATE).write_text(_json_text({"digest": _json_digest(body), **body}), "utf-8")
        sync(draft / STATE)
        sync(draft)
        _replace(place, draft)
        sync(place.parent)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(draft, ignore_errors=True)
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        else:
            reason = str(error).splitlines()[0]
        full = getattr(error, "errno", errno.ENOSPC) in (errno.ENOSPC, errno.EDQUOT)
        advice = "free some space and resume the run" if full else "mend that and resume the run"
        raise DiskFullError(
            f"{place}: the checkpoint could not be written: {reason}; {advice}"
        ) from None
    return place


def _replace(place: Path, draft: Path) -> None:
    """Rename `draft` to `place`; a checkpoint that is there stays until that has succeeded."""
    if not place.exists():
        draft.rename(place)
        return
    old = place.with_name(f"{place.name}.replaced{UNFINISHED}")
    shutil.rmtree(old, ignore_errors=True)
    place.rename(old)
    try:
        draft.rename(place)
    except OSError:
        old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def read(place: Path, vet: Vet = lambda state, shapes, place: None) -> Checkpoint:
    """A checkpoint, checked against its digests.

    Args:
        place: its folder, in a run's.
        vet: is shown state, model file and folder before the tensors are read, and may raise.

    Raises:
        DamagedCheckpointError: it is not whole, or is not in the run's folder.
    """
    run = place.parent.parent
    state = _json(run, place / STATE)
    try:
        digest = state.pop("digest")
        version, digests = state["version"], state["digests"]
        named = {name: str(digests[name]) for name in (MODEL, TRAINING)}
    except (KeyError, TypeError):
        raise DamagedCheckpointError(f"{place / STATE}: cannot be read; it is damaged") from None
    if digest != _json_digest(state):
        raise DamagedCheckpointError(f"{place / STATE}: does not match its digest; it is damaged")
    if version != VERSION:
        raise DamagedCheckpointError(
            f"{place}: is of format {version!r:.20}, this version reads {VERSION}"
        )
    kept = _tensors(run, place / MODEL, named[MODEL], lambda shapes: vet(state, shapes, place))
    model = {k: v.float() if v.dtype == torch.float16 else v for k, v in kept.items()}
    return Checkpoint(place, model, state)


def steps(run: Path) -> list[tuple[int, Path]]:
    """The checkpoints of a run, oldest first; unfinished ones are none."""
    found = []
    for place in (run / FOLDER).glob(f"{_PREFIX}*"):
        name = _NAME.fullmatch(place.name)
        if name is not None and place.is_dir():
            found.append((int(name[1]), place))
    return sorted(found)


def best(run: Path) -> Path | None:
    """The checkpoint that the run calls its best; None before the first.

    Raises:
        DamagedCheckpointError: it does not name one.
    """
    if not os.path.lexists(run / BEST):
        return None
    name = _json(run, run / BEST).get("checkpoint")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DamagedCheckpointError(f"{run / BEST}: names no checkpoint; it is damaged")
    return run / FOLDER / name


def shapes_of(tensors: Mapping[str, Tensor]) -> Shapes:
    """Types and shapes, as a file's header has them."""
    return {name: (_KINDS[one.dtype], tuple(one.shape)) for name, one in tensors.items()}


def name_best(run: Path, place: Path, facts: Mapping[str, Any]) -> None:
    """Call a checkpoint the best."""
    write_whole(run / BEST, _json_text({"checkpoint": place.name, **facts}))


def tidy(run: Path, keep_last: int) -> None:
    """Remove all but the last few checkpoints and the best one, and what was never finished."""
    try:
        kept = {place for _, place in steps(run)[-keep_last:]} | {best(run)}
    except DamagedCheckpointError:
        # Whichever is the best, it is there still.
        return
    for _, place in steps(run):
        if place not in kept:
            shutil.rmtree(place, ignore_errors=True)
    for draft in (run / FOLDER).glob(f"*{UNFINISHED}"):
        shutil.rmtree(draft, ignore_errors=True)


def _tensors(run: Path, path: Path, digest: str, vet: Callable[[Shapes], None]) -> Tensors:
    _check_place(run, path)
    try:
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  no mapping
            vet({name: (one.get_dtype(), tuple(one.get_shape())) for name, one in slices.items()})
        if _digest(path) != digest:
            raise DamagedCheckpointError(f"{path}: does not match its digest; it is damaged")
        return dict(load_file(path) if is_utf8(path) else load(path.read_bytes()))
    except (OSError, SafetensorError) as error:
        raise DamagedCheckpointError(f"{path}: cannot be read ({error}); it is damaged") from None


def _json(run: Path, path: Path) -> dict[str, Any]:
    """An object from a file of a sane size, without a key that stands in it twice."""
    _check_place(run, path)
    try:
        if path.stat().st_size > _JSON_BYTES:
            raise DamagedCheckpointError(
                f"{path}: {path.stat().st_size:,} bytes, at most {_JSON_BYTES:,} are read"
            )
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except (OSError, ValueError, RecursionError):
        raise DamagedCheckpointError(f"{path}: cannot be read; it is damaged") from None
    if not isinstance(found, dict):
        raise DamagedCheckpointError(f"{path}: holds no object; it is damaged")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _check_place(run: Path, path: Path) -> None:
    """What is read is a file of the run itself: a link may lead anywhere."""
    if not os.path.lexists(path):
        raise DamagedCheckpointError(f"{path}: is missing")
    real = path.resolve()
    if not real.is_relative_to(run.resolve()):
        raise DamagedCheckpointError(f"{path}: leads out of the run, to {real}")
    if not real.is_file():
        raise DamagedCheckpointError(f"{path}: is no file")


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


def write_whole(path: Path, text: str) -> None:
    """Write a file, which gets its name when it is whole and on the disk."""
    draft = path.with_name(path.name + UNFINISHED)
    try:
        draft.write_text(text, encoding="utf-8")
        sync(draft)
        draft.rename(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    sync(path.parent)


def is_utf8(path: Path) -> bool:
    """Whether the bytes of a path are UTF-8, without which some libraries open nothing."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, survive a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
