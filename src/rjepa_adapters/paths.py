"""Directories on disk, for any adapter that writes one."""

from __future__ import annotations

import os
from pathlib import Path

from rjepa_core.errors import UsageError


def refuse_dangling(location: str) -> None:
    """Refuse a symbolic link to what is not there, as an unmounted disk leaves it.

    Raises:
        UsageError: it is one.
    """
    path = Path(location)
    if path.is_symlink() and not path.exists():
        raise UsageError(
            f"{location}: is a symbolic link to {os.readlink(path)}, which is not there; mount or "
            "make that, or remove the link"
        )


def sync_directory(path: Path) -> None:
    """Make a new name in the directory `path` survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
