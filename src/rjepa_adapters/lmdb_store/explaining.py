"""LMDB's errors and the system's, as the project's own, which say what to do."""

from __future__ import annotations

import errno
import resource
import shutil
from pathlib import Path

import lmdb

from rjepa_core.errors import DiskFullError, StoreError

from .place import DATA

_NEARLY_FULL = 64 * 2**20
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def explain(path: Path, error: Exception) -> StoreError:
    """The error to raise for one that LMDB or the system raised about the store at `path`."""
    code = getattr(error, "code", None) or getattr(error, "errno", None)
    short_write = code == errno.EIO and _no_room(path)
    if code in _FULL or short_write or isinstance(error, lmdb.DiskError):
        what = "a write was cut short" if short_write else error
        return DiskFullError(
            f"{path}: no room is left to write the store ({what}); what was committed is "
            "safe: free some space and resume"
        )
    if isinstance(error, (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError)):
        return StoreError(
            f"{path}: the store's pages are damaged ({error}); run `rjepa-cli store repair`"
        )
    if isinstance(error, lmdb.VersionMismatchError):
        return StoreError(f"{path}: made by another version of LMDB ({error})")
    return StoreError(f"{path}: LMDB cannot go on ({error}); open the store again")


def _no_room(path: Path) -> bool:
    """Whether a write that was cut short, which LMDB calls an I/O error, met a full disk."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    size = (path / DATA).stat().st_size
    limited = limit != resource.RLIM_INFINITY and size + _NEARLY_FULL > limit
    return limited or shutil.disk_usage(path).free < _NEARLY_FULL
