"""Files of a training run's folder: whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from rjepa_core.ports.world_model import UNFINISHED


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
