"""What a forked child has inherited of LMDB and must neither use nor end.

Ending a transaction of the parent's in the child would end it for the parent, whose slot in the
table of readers both see. So such objects are kept alive, unused, until the child is gone.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_kept: list[object] = []
_patching = threading.Lock()

inherited: set[Path] = set()
"""Stores that the parent had open, with a transaction in them, when it forked."""


def keep(thing: object) -> None:
    """Never let it be destroyed."""
    _kept.append(thing)


@contextmanager
def beside_inherited(path: Path) -> Iterator[None]:
    """Let LMDB open files again which were inherited open.

    py-lmdb remembers over the fork which files are open, and offers no way to make it forget.
    """
    if path not in inherited:
        yield
        return
    try:
        guard: Any = importlib.import_module("lmdb._envid")
    except ImportError:
        yield
        return
    with _patching:
        kept = guard.env_keys
        guard.env_keys = lambda *_: ()
        try:
            yield
        finally:
            guard.env_keys = kept
