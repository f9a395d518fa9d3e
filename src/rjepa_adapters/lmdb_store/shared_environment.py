"""One LMDB environment per process and store, shared by all handles, reopened after a fork.

LMDB forbids opening the same files twice in a process and using an environment across a fork.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from .environment import Environment

_open: dict[Path, Environment] = {}
_guard = threading.RLock()


def acquire(path: Path, map_bytes: int, sync: str | None = None) -> Environment:
    """Return the environment of the store at `path`, opened if this process has not done so yet.

    Args:
        sync: what the writer's commits wait for; None for a reader.
    """
    path = path.resolve()
    with _guard:
        environment = _open.get(path)
        if environment is not None and not environment.is_current():
            # The directory was deleted and made again; old handles keep what they had open.
            del _open[path]
            environment = None
        if environment is None:
            environment = _open[path] = Environment(path, map_bytes, sync or "full")
            environment.when_idle = _close_unused
        elif sync is not None:
            environment.use_sync(sync)
        environment.users += 1
        return environment


def release(environment: Environment) -> None:
    """Release an environment; the last release closes it."""
    with _guard:
        environment.users -= 1
        _close_unused(environment)


def _close_unused(environment: Environment) -> None:
    """Close an environment that no handle uses any more, once the last snapshot has ended."""
    with _guard:
        if environment.users or not environment.idle:
            return
        if _open.get(environment.path) is environment:
            del _open[environment.path]
        environment.close()


def _before_fork() -> None:
    """Hold off a fork until no commit is running: its transaction could never end in the child."""
    _guard.acquire()
    for environment in _open.values():
        environment.writing.acquire()


def _after_fork_in_parent() -> None:
    for environment in _open.values():
        environment.writing.release()
    _guard.release()


def _after_fork_in_child() -> None:
    global _guard
    _guard = threading.RLock()
    for environment in _open.values():
        environment.disown()
    _open.clear()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
