"""Decide which source reads a location: by its extension, else by the first bytes of a file.

At most one source claims a location, so the order in which adapters are asked does not matter.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from rjepa_core.errors import RJepaError

from .files import DAMAGED, bare_name, unpacked

HUB_PREFIX = "hf:"
_KINDS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_DATASET_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PEEK = 1 << 16


def is_jsonl(location: str) -> bool:
    return _kind(location) == "jsonl"


def is_csv(location: str) -> bool:
    return _kind(location) == "csv"


def is_parquet(location: str) -> bool:
    return _kind(location) == "parquet"


def is_dataset(location: str) -> bool:
    """Return whether it is a dataset: by prefix, on disk, or by a name that no file can have."""
    if location.startswith(HUB_PREFIX) or is_saved_dataset(location):
        return True
    path = Path(location)
    # `data/gsm8k` beside a folder `data` is a mistyped path, not a reason to ask the network.
    return (
        _DATASET_NAME.fullmatch(location) is not None
        and _kind(location) is None
        and not path.parent.exists()
    )


def is_saved_dataset(location: str) -> bool:
    """Return whether it is a folder that `save_to_disk` of `datasets` made."""
    folder = Path(os.path.expanduser(location))
    return (folder / "dataset_dict.json").is_file() or (
        (folder / "dataset_info.json").is_file() and (folder / "state.json").is_file()
    )


def _kind(location: str) -> str | None:
    if location.startswith(HUB_PREFIX) or is_saved_dataset(location):
        return None
    kind = _KINDS.get(os.path.splitext(bare_name(location))[1])
    if kind is not None:
        return kind
    try:
        head = _head(Path(os.path.expanduser(location)))
    except RJepaError:
        # The source's error says that this packing is not supported, or which package it needs.
        return "jsonl" if bare_name(location) != location.lower() else None
    if head.startswith(b"PAR1"):
        return "parquet"
    return "jsonl" if head.removeprefix(_BYTE_ORDER_MARK).lstrip().startswith(b"{") else None


def _head(path: Path) -> bytes:
    """Return the first bytes of a regular file, unpacked; empty if there is no such file."""
    if not path.is_file():
        return b""
    try:
        with unpacked(path) as stream:
            return stream.read(_PEEK)
    except (OSError, *DAMAGED):
        return b""
