"""A copy of the identity in a file of its own, for people and for repair.

The identity inside the store is what counts; without it no record could be told apart from another
latent space's, so a single damaged page must not be able to take it away.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from rjepa_core.domain.identity import Identity

from .checksums import checksum
from .place import SIDECAR, sync_directory


def write_sidecar(path: Path, identity: Identity) -> None:
    """Write the copy for the store in the directory `path`, whole or not at all."""
    content = identity.to_json()
    fields = {"identity": content, "checksum": _sum(content)}
    new = path / (SIDECAR + ".new")
    with open(new, "w", encoding="utf-8") as file:
        file.write(json.dumps(fields, indent=2, sort_keys=True) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path / SIDECAR)
    sync_directory(path)


def read_sidecar(path: Path) -> Identity | None:
    """The copy, or None where it is missing or damaged."""
    try:
        fields = json.loads((path / SIDECAR).read_text(encoding="utf-8"))
        if fields["checksum"] != _sum(fields["identity"]):
            return None
        return Identity.from_json(fields["identity"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sum(content: object) -> str:
    return checksum(json.dumps(content, sort_keys=True).encode()).hex()
