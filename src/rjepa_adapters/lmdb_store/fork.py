"""LMDB objects that a forked child has inherited and must neither use nor end.

Ending a transaction of the parent in the child would end it for the parent too, because both see
the same slot in the table of readers. So they are kept alive, unused, until the child ends.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_kept: list[object] = []
_patch_lock = threading.Lock()

inherited_stores: set[Path] = set()
"""Stores that the parent had open, with a transaction in them, when it forked."""


def keep_alive(thing: object) -> None:
    """Keep an object alive until the process ends."""
    _kept.append(thing)


@contextmanager
def allow_reopening(path: Path) -> Iterator[None]:
    """Let LMDB reopen a store that was open when the process was forked.

    py-lmdb remembers across the fork which files are open, and has no way to make it forget.
    """
    if path not in inherited_stores:
        yield
        return
    try:
        guard: Any = importlib.import_module("lmdb._envid")
    except ImportError:
        yield
        return
    with _patch_lock:
        original = guard.env_keys
        guard.env_keys = lambda *_: ()
        try:
            yield
        finally:
            guard.env_keys = original
