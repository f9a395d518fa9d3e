"""Download a world model or a store from the hub, and open it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import attrs

from rjepa_core.errors import ArgumentError, InputError, RJepaError, UsageError
from rjepa_core.plugins import Registry, open_store, open_world_model
from rjepa_core.ports.store import LatentStore
from rjepa_core.ports.world_model import WorldModel

from ..paths import unfinished

PREFIX = "hf:"
Kind = Literal["world_model", "store"]
REPO_TYPES: dict[Kind, str] = {"world_model": "model", "store": "dataset"}
# What is downloaded, and the file without which a repository holds none.
FILES: dict[Kind, list[str]] = {
    "world_model": ["config.yaml", "best.json", "metrics.csv", "report.html", "checkpoints/*"],
    "store": ["data.mdb", "identity.json"],
}
NEEDED: dict[Kind, str] = {"world_model": "best.json", "store": "data.mdb"}
_SAID: dict[Kind, str] = {"world_model": "world model", "store": "store"}
_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
T = TypeVar("T")


class HubError(RJepaError):
    """The hub cannot be reached, or does not do what it was asked to."""


@attrs.frozen
class HubPlace:
    """What `USER/NAME@REVISION` names.

    Attributes:
        repo_id: `USER/NAME`.
        revision: branch, tag or commit; None for the main branch.
    """

    repo_id: str
    revision: str | None = None

    @classmethod
    def of(cls, location: str) -> HubPlace:
        """Return the place of a location, with or without `hf:`.

        Raises:
            InputError: it is not `USER/NAME` or `USER/NAME@REVISION`.
        """
        found = _NAME.fullmatch(location.removeprefix(PREFIX))
        if found is None:
            raise InputError(f"{location}: expected hf:USER/NAME or hf:USER/NAME@REVISION")
        return cls(found["repo"], found["revision"])

    @property
    def location(self) -> str:
        """With `hf:` in front."""
        return f"{PREFIX}{self.repo_id}{f'@{self.revision}' if self.revision else ''}"

    def at(self, revision: str | None) -> HubPlace:
        """Return it at a revision; None for its own."""
        return attrs.evolve(self, revision=revision or self.revision)


@overload
def from_pretrained(
    repo_id: str,
    kind: Literal["world_model"] = ...,
    *,
    revision: str | None = ...,
    device: str = ...,
    token: str | None = ...,
    registry: Registry | None = ...,
) -> WorldModel: ...
@overload
def from_pretrained(
    repo_id: str,
    kind: Literal["store"],
    *,
    revision: str | None = ...,
    device: str = ...,
    token: str | None = ...,
    registry: Registry | None = ...,
) -> LatentStore: ...


def from_pretrained(
    repo_id: str,
    kind: Kind = "world_model",
    *,
    revision: str | None = None,
    device: str = "auto",
    token: str | None = None,
    registry: Registry | None = None,
) -> WorldModel | LatentStore:
    """Download a world model or a store, unless it is here already, and open it.

    Args:
        repo_id: `USER/NAME`, with `hf:` in front or not, with `@REVISION` after it or not.
        kind: `world_model`, or `store` to be read.
        revision: branch, tag or commit.
        device: of a world model: `auto`, `cpu`, `cuda`, ….
        token: of the hub; None takes that of `huggingface_hub`.
        registry: finds the adapters.

    Raises:
        ArgumentError: there is no such kind.
        InputError: there is no such repository, or it holds none.
        HubError: the hub cannot be reached, and nothing is here.
    """
    if kind not in REPO_TYPES:
        raise ArgumentError(f"kind: got {kind!r:.80}, expected {' or '.join(REPO_TYPES)}")
    location = HubPlace.of(repo_id).at(revision).location
    if kind == "store":
        return store_of(location, token, registry)
    return world_model_of(location, device, token, registry)


def store_of(
    location: str, token: str | None = None, registry: Registry | None = None
) -> LatentStore:
    """Open a store of the hub, which says that it is of there, not of the folder it is read from.

    Raises:
        InputError, UsageError, HubError: as `fetch`.
    """
    from ..lmdb_store.store import LmdbStore

    store = open_store(fetch(location, "store", token), "read", registry)
    if isinstance(store, LmdbStore):
        store.call(HubPlace.of(location).location)
    return store


def world_model_of(
    location: str, device: str, token: str | None = None, registry: Registry | None = None
) -> WorldModel:
    """Open a world model of the hub, which says that it is of there.

    Raises:
        InputError, UsageError, HubError: as `fetch`.
    """
    from ..world_model.inference import JepaWorldModel

    world_model = open_world_model(fetch(location, "world_model", token), device, registry)
    if isinstance(world_model, JepaWorldModel):
        place = HubPlace.of(location).location
        world_model.info = attrs.evolve(world_model.info, location=place)
    return world_model


def fetch(location: str, kind: Kind, token: str | None = None) -> Path:
    """Return the folder of a world model or store of the hub, downloaded if it is not here.

    Raises:
        InputError: there is no such repository, or it holds none.
        HubError: the hub cannot be reached, and nothing is here.
    """
    from huggingface_hub import snapshot_download

    place = HubPlace.of(location)
    shown = place.location
    try:
        found = Path(
            asked(
                shown,
                lambda: snapshot_download(
                    place.repo_id,
                    repo_type=REPO_TYPES[kind],
                    revision=place.revision,
                    token=token,
                    allow_patterns=FILES[kind],
                ),
            )
        )
    except InputError:
        _refuse_other(place, kind, token)
        raise
    if not (found / NEEDED[kind]).is_file():
        _refuse_other(place, kind, token)
        raise InputError(
            f"{shown}: this {REPO_TYPES[kind]} repository holds no {_SAID[kind]} of rjepa: it has "
            f"no {NEEDED[kind]}"
        )
    return _as_plain_files(found, kind)


def _refuse_other(place: HubPlace, kind: Kind, token: str | None) -> None:
    """Say of a place that holds the other kind that it does."""
    other: Kind = "world_model" if kind == "store" else "store"
    try:
        is_other = _holds(place, other, token)
    except RJepaError:
        # What is wrong was found before.
        return
    if is_other:
        raise InputError(
            f"{place.location}: is a {_SAID[other]}, not a {_SAID[kind]}; name it where a "
            f'{_SAID[other]} is asked for, as in open_{other}("{place.location}")'
        )


def is_here(place: HubPlace, kind: Kind) -> bool:
    """Return whether one of that kind was downloaded."""
    from huggingface_hub import try_to_load_from_cache

    file, repo_type = NEEDED[kind], REPO_TYPES[kind]
    found = try_to_load_from_cache(
        place.repo_id, file, revision=place.revision, repo_type=repo_type
    )
    return isinstance(found, str)


def _holds(place: HubPlace, kind: Kind, token: str | None = None) -> bool:
    """Return whether there is one of that kind, here or on the hub.

    Raises:
        UsageError: the token is refused.
        HubError: the hub cannot be reached.
    """
    from huggingface_hub import HfApi, errors

    if is_here(place, kind):
        return True
    api, file, repo_type = HfApi(token=token), NEEDED[kind], REPO_TYPES[kind]

    def ask() -> bool:
        try:
            return api.file_exists(
                place.repo_id, file, repo_type=repo_type, revision=place.revision
            )
        except (errors.OfflineModeIsEnabled, errors.HFValidationError, errors.GatedRepoError):
            return False

    return asked(place.location, ask)


def _as_plain_files(snapshot: Path, kind: Kind) -> Path:
    """Return a folder of the same files without links, which a world model refuses to follow."""
    from huggingface_hub import constants

    name = snapshot.parent.parent.name
    target = Path(constants.HF_HOME) / "rjepa" / name / snapshot.name
    if not (target / NEEDED[kind]).is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        with unfinished(str(target), NEEDED[kind]) as folder:
            for file in snapshot.rglob("*"):
                if file.is_file():
                    copy = folder / file.relative_to(snapshot)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    _link(file.resolve(), copy)
    return target


def _link(file: Path, copy: Path) -> None:
    """Give a file another name, or copy it where that cannot be."""
    import shutil

    try:
        os.link(file, copy)
    except OSError:
        shutil.copyfile(file, copy)


def is_store(location: str) -> bool:
    """Return whether a data set of the hub is a store.

    Raises:
        UsageError: the token is refused.
        HubError: the hub cannot be reached, and neither it nor the data set is here.
    """
    try:
        place = HubPlace.of(location)
    except InputError:
        return False
    try:
        return _holds(place, "store")
    except HubError:
        if _is_dataset_here(place):
            return False
        raise


def _is_dataset_here(place: HubPlace) -> bool:
    """Return whether `datasets` can do with what it downloaded earlier."""
    from huggingface_hub import constants

    home = os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME) / "datasets"
    name = place.repo_id.lower().replace("/", "___")
    return (Path(home) / name).is_dir()


def local_run(location: str) -> str:
    """Return the folder of a run: of one on the hub its local copy, of any other its own."""
    return str(fetch(location, "world_model")) if location.startswith(PREFIX) else location


def asked(shown: str, call: Callable[[], T]) -> T:
    """Return what a call of the hub's library returns.

    Raises:
        InputError: there is no such repository, revision or name.
        UsageError: the token is missing or refused.
        HubError: anything else.
    """
    from huggingface_hub import errors

    try:
        return call()
    except errors.LocalEntryNotFoundError as error:
        raise HubError(
            f"{shown}: the Hugging Face Hub cannot be reached, and nothing of it is here: "
            f"{_line(error.__cause__ or error)}"
        ) from None
    except errors.RevisionNotFoundError:
        raise InputError(f"{shown}: there is no such branch, tag or commit") from None
    except errors.RepositoryNotFoundError:
        raise InputError(
            f"{shown}: there is no such repository on the Hugging Face Hub; for a private one log "
            "in with `hf auth login`, or set HF_TOKEN"
        ) from None
    except (errors.HFValidationError, errors.OfflineModeIsEnabled) as error:
        raise InputError(f"{shown}: {_line(error)}") from None
    except errors.HfHubHTTPError as error:
        status: Any = getattr(error.response, "status_code", 0)
        if status in (401, 403):
            raise UsageError(
                f"{shown}: the Hugging Face Hub refuses that; log in with `hf auth login`, or set "
                "HF_TOKEN to a token that may write"
            ) from None
        raise HubError(f"{shown}: the Hugging Face Hub said: {_line(error)}") from None
    # Of the library that `huggingface_hub` asks with: nothing was answered.
    except getattr(errors, "HTTPError", OSError) as error:
        raise HubError(
            f"{shown}: the Hugging Face Hub cannot be reached: {_line(error)}; check the network"
        ) from None
    except OSError as error:
        raise HubError(f"{shown}: {_line(error)}") from None


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
