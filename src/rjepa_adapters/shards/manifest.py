"""The manifest `identity.json` of exported shards: their identity, history and files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import xxhash

from rjepa_core.domain.identity import Identity
from rjepa_core.errors import IdentityError, InputError, UsageError
from rjepa_core.ports.store import LatentStore
from rjepa_core.settings import STORE_DTYPES

FORMAT = "rjepa-shards"
VERSION = 1
MANIFEST = "identity.json"
FAILURES = "failures.jsonl"
GRADES = "grades.jsonl"
_CHUNK = 2**20


@attrs.frozen
class Manifest:
    """The content of `identity.json`.

    Attributes:
        identity: latent space and generation.
        history: the run history.
        counts: how many `records`, `failures`, `grades` and `shards` were exported; empty in older
            exports.
        files: names of the other files, with the xxh3-128 digest of each; empty in older exports.
    """

    identity: Identity
    history: Sequence[Mapping[str, Any]]
    counts: Mapping[str, int]
    files: Mapping[str, str]


def write_manifest(
    folder: Path,
    identity: Identity,
    history: Sequence[Mapping[str, Any]],
    counts: Mapping[str, int],
    files: Sequence[str],
) -> None:
    """Write the manifest, with a digest of each file."""
    fields = {
        "format": FORMAT,
        "version": VERSION,
        "identity": identity.to_json(),
        "counts": dict(counts),
        "files": {name: _digest(folder / name) for name in files},
        "history": list(history),
    }
    (folder / MANIFEST).write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest in a folder; None if there is none.

    Raises:
        InputError: it cannot be read, or is incomplete.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if not isinstance(fields, dict) or {"format", "version"} - {*fields}:
        raise InputError(f"{path}: cannot be read (no format and version in it)")
    known, version = fields["format"], fields["version"]
    if known != FORMAT or not isinstance(version, int) or version > VERSION:
        raise InputError(f"{path}: format {known!r} version {version}; update rjepa")
    for key, kind in (("identity", dict), ("history", list), ("counts", dict), ("files", dict)):
        if key in ("identity", "history") and key not in fields:
            raise InputError(f"{path}: {key!r} is missing; export the store again")
        if not isinstance(fields.get(key, kind()), kind):
            raise InputError(f"{path}: {key!r} is no {kind.__name__}; export the store again")
    return Manifest(
        _identity(fields["identity"], path),
        fields["history"],
        fields.get("counts", {}),
        fields.get("files", {}),
    )


def check_files(folder: Path, manifest: Manifest) -> None:
    """Compare the names of the files in a folder with those that were exported.

    Raises:
        InputError: a file is missing, or is not part of the export.
    """
    if not manifest.files:
        shards = len(list(folder.glob("*.safetensors")))
        _compare(folder, "shards", shards, manifest.counts)
        return
    for name in manifest.files:
        if not (folder / name).is_file():
            raise InputError(
                f"{folder / name}: is missing, and {MANIFEST} says that it was exported; bring all "
                "of the export here"
            )
    for path in sorted(folder.glob("*.safetensors")):
        if path.name not in manifest.files:
            raise InputError(
                f"{path}: is not part of the export that {MANIFEST} describes; remove it"
            )


def check_bytes(path: Path, manifest: Manifest | None) -> None:
    """Compare a file's bytes with those that were exported.

    Raises:
        InputError: they differ.
    """
    known = manifest.files.get(path.name) if manifest is not None else None
    if known is not None and _digest(path) != known:
        raise InputError(
            f"{path}: its bytes are not those that were exported; copy it here again (if you "
            f"changed it on purpose, take `files` out of {MANIFEST})"
        )


def check_counts(
    folder: Path, manifest: Manifest | None, records: int, failures: int, grades: int
) -> None:
    """Compare what was read with what was exported.

    Raises:
        InputError: a count differs.
    """
    if manifest is not None:
        _compare(folder, "records", records, manifest.counts)
        _compare(folder, "failures", failures, manifest.counts)
        _compare(folder, "grades", grades, manifest.counts)


def _compare(folder: Path, what: str, found: int, counts: Mapping[str, int]) -> None:
    wanted = counts.get(what, found)
    if found != wanted:
        raise InputError(
            f"{folder}: {found} {what} are there, and {MANIFEST} says that {wanted} were exported; "
            "bring all of the export here"
        )


def _identity(fields: Any, path: Path) -> Identity:
    try:
        identity = Identity.from_json(fields)
        space = identity.space
        if space.store_dtype not in STORE_DTYPES:
            raise ValueError(f"store_dtype {space.store_dtype!r}")
        for number in (*space.layers, space.hidden_size):
            if not isinstance(number, int):
                raise ValueError(f"{number!r} is no whole number")
    except IdentityError as error:
        raise InputError(f"{path}: {error}") from error
    except KeyError as error:
        raise InputError(f"{path}: its identity lacks {error}; export the store again") from error
    except (ValueError, TypeError, AttributeError) as error:
        reason = str(error).replace("__init__() ", "")
        raise InputError(
            f"{path}: its identity cannot be read ({reason}); export the store again"
        ) from error
    return identity


def _digest(path: Path) -> str:
    state = xxhash.xxh3_128()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                state.update(chunk)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return state.hexdigest()


def check_exportable(store: LatentStore, per_shard: int) -> Identity:
    """Check that a store can be exported, and return its identity.

    Raises:
        UsageError: it was never written to, or `per_shard` is below 1.
    """
    if per_shard < 1:
        raise UsageError(f"per_shard: {per_shard} records per shard; at least 1")
    if store.identity is None:
        raise UsageError(f"{store.location}: it was never written to; there is nothing to export")
    return store.identity


@attrs.frozen
class CopyReport:
    """The result of an export or import.

    Attributes:
        records, failures, grades: how many.
        files: names of the files read or written, in order.
        bytes: size of what was written.
    """

    records: int
    failures: int
    files: tuple[str, ...]
    bytes: int
    grades: int = 0
