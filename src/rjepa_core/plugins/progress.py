"""`progress=True`: find what shows progress, and close it in the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..ports.progress import ProgressBar
from .hooks import ProgressAdapter
from .registry import Registry

DEFAULT_PROGRESS = "tqdm"


class _Nothing:
    """Shows nothing."""

    def show(self, phase: str, done: int, total: int, note: str = "") -> None:
        pass

    def close(self) -> None:
        pass


@contextmanager
def progress_bar(wanted: bool | str, registry: Registry) -> Iterator[ProgressBar]:
    """Enter a bar: the default one, that of the adapter which is named, or one that shows nothing.

    Raises:
        UnknownAdapterError: no adapter has that name.
        UsageError: it cannot work, for want of a library, say.
    """
    if not wanted:
        yield _Nothing()
        return
    name = DEFAULT_PROGRESS if wanted is True else wanted
    bar = registry.find(ProgressAdapter, name).create()
    try:
        yield bar
    finally:
        bar.close()
