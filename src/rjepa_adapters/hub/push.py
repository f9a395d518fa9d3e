"""Upload a world model or a store to the hub, with a card."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rjepa_core.config import path_text
from rjepa_core.domain.identity import LatentSpace
from rjepa_core.errors import InputError, RJepaError, UnsupportedError, UsageError
from rjepa_core.plugins import (
    DEFAULT_STORE,
    Registry,
    is_store,
    locate,
    locate_world_model,
    open_store,
)
from rjepa_core.ports.store import LatentStore
from rjepa_core.ports.world_model import WorldModel
from rjepa_core.stores import merge

from .card import store_card, world_model_card
from .fetch import FILES, PREFIX, REPO_TYPES, HubPlace, Kind, asked, is_here, local_run

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CARD = "README.md"


def push_to_hub(
    what: LatentStore | WorldModel | str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    message: str | None = None,
    registry: Registry | None = None,
) -> str:
    """Upload a world model or a store; the repository is made if it is not there.

    Of a world model the best checkpoint goes along, with its settings and report; of a store its
    records, failures, grades and run history, which holds the names of files and models here.

    Args:
        what: a world model or a store, open, or its location.
        repo_id: `USER/NAME`.
        private: whether the repository is private; None leaves a new one to the account, and one
            that is there as it is.
        token: of the hub; None takes that of `huggingface_hub`.
        message: of the commit.
        registry: finds the adapters.

    Returns:
        The address of the repository.

    Raises:
        InputError: there is neither a run nor a store, or the name is invalid.
        UnsupportedError: the world model is not a run in a folder.
        UsageError: the token is missing or refused, or the repository is there and not as `private`
            says.
        HubError: the hub cannot be reached.
    """
    from huggingface_hub import HfApi

    registry = registry or Registry()
    place = HubPlace.of(repo_id)
    shown = f"{PREFIX}{place.repo_id}"
    with tempfile.TemporaryDirectory(prefix="rjepa-push-") as folder:
        kind = _stage(what, place.repo_id, Path(folder), registry)
        api, repo_type = HfApi(token=token), REPO_TYPES[kind]
        made = asked(
            shown,
            lambda: api.create_repo(
                place.repo_id, repo_type=repo_type, private=private, exist_ok=True
            ),
        )
        if private is not None:
            _check_private(api, shown, place.repo_id, repo_type, private)
        asked(
            shown,
            lambda: api.upload_folder(
                repo_id=place.repo_id,
                folder_path=folder,
                repo_type=repo_type,
                commit_message=message or f"Upload a {kind.replace('_', ' ')} of rjepa",
                # Of an earlier upload, nothing stays that does not belong to this one.
                delete_patterns=FILES[kind],
            ),
        )
    return str(made)


def _check_private(api: HfApi, shown: str, repo_id: str, repo_type: str, private: bool) -> None:
    """Refuse a repository that is not as private as was asked for: one there before stays as it is.

    Raises:
        UsageError: it is the other.
    """
    found = asked(shown, lambda: api.repo_info(repo_id, repo_type=repo_type))
    if bool(found.private) is not private:
        has, wanted = ("private", "public") if found.private else ("public", "private")
        raise UsageError(
            f"{shown}: this repository is {has}, and private={private} was asked for; nothing was "
            f"uploaded: make it {wanted} in its settings on the hub, or name a new one"
        )


def _stage(
    what: LatentStore | WorldModel | str | os.PathLike[str],
    repo_id: str,
    folder: Path,
    registry: Registry,
) -> Kind:
    """Put what is uploaded into a folder, and return its kind."""
    if hasattr(what, "read_latents"):
        _stage_store(cast(LatentStore, what), repo_id, folder, registry)
        return "store"
    location = what.info.location if hasattr(what, "info") else path_text(what, "what")
    if is_store(location, registry):
        with open_store(location, "read", registry) as store:
            _stage_store(store, repo_id, folder, registry)
        return "store"
    _stage_run(location, repo_id, folder, registry)
    return "world_model"


def _stage_store(store: LatentStore, repo_id: str, folder: Path, registry: Registry) -> None:
    if store.identity is None:
        raise InputError(f"{store.location}: holds no records, so that there is nothing to upload")
    built = folder / "store"
    with locate(f"{DEFAULT_STORE}:{built}", registry).maintenance().build(str(built)) as copy:
        merge(copy, [store])
    for name in FILES["store"]:
        shutil.move(built / name, folder / name)
    shutil.rmtree(built)
    (folder / CARD).write_text(store_card(store, repo_id), encoding="utf-8")


def _stage_run(location: str, repo_id: str, folder: Path, registry: Registry) -> None:
    from ..world_model.checkpoint import FOLDER, TRAINING
    from ..world_model.inference import JepaWorldModel, find_checkpoint
    from ..world_model.plugin import claims

    try:
        # A pretrained one is known by its name.
        run = Path(local_run(locate_world_model(location, registry)[1]))
    except InputError:
        if location.startswith(PREFIX):
            raise
        run = Path(location)
    if not claims(str(run)):
        if location.lower().startswith(("http://", "https://")):
            raise UnsupportedError(f"{location}: a service's world model stays there; name its run")
        raise InputError(
            f"{location}: there is neither a store nor the folder of a trained run, nor a "
            "pretrained one of that name"
        )
    best = find_checkpoint(run, warnings.warn).path
    chosen = folder / FOLDER / best.name
    shutil.copytree(best, chosen, ignore=shutil.ignore_patterns(TRAINING))
    for name in ("config.yaml", "best.json", "metrics.csv", "report.html"):
        if (run / name).is_file():
            shutil.copyfile(run / name, folder / name)
    # What is uploaded is what opens.
    with JepaWorldModel(str(folder), "cpu") as world_model:
        model = _model_of(world_model.settings.data.stores, world_model.info.space, registry)
        card = world_model_card(world_model.info, repo_id, model)
    (folder / CARD).write_text(card, encoding="utf-8")


def _model_of(stores: Sequence[str], space: LatentSpace, registry: Registry) -> str:
    """Return the name of the LLM whose latents a run was trained on, if a store of them is here."""
    for location in stores:
        try:
            # Nothing is downloaded for a name.
            if location.startswith(PREFIX) and not is_here(HubPlace.of(location), "store"):
                continue
            with open_store(location, "read", registry) as store:
                identity = store.identity
        except RJepaError:
            continue
        if identity is not None and identity.space.model == space.model:
            return identity.labels.get("model", "")
    return ""
