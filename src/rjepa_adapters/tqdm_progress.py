"""`progress=True` as a bar of tqdm: a widget in a notebook that has them, else a line of text."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from rjepa_core.errors import UsageError
from rjepa_core.plugins import ProgressAdapter, hookimpl
from rjepa_core.ports.progress import ProgressBar

from .optional import pip


class TqdmBar(ProgressBar):
    """Fills `rjepa_core.ports.progress.ProgressBar`: one bar, whose label is the phase."""

    def __init__(self) -> None:
        try:
            with warnings.catch_warnings():
                # Where there are no widgets, a line of text will do.
                warnings.simplefilter("ignore")
                from tqdm.auto import tqdm
        except ImportError:
            raise UsageError(
                f"progress: needs tqdm, which is not installed; {pip()} install tqdm"
            ) from None
        self._tqdm: Any = tqdm
        self._bar: Any = None
        self._phase = ""

    def show(self, phase: str, done: int, total: int, note: str = "") -> None:
        if self._bar is None:
            self._bar = self._tqdm(desc=phase, total=total or None)
        elif phase != self._phase:
            # One bar for all: an evaluation has dozens of phases.
            self._bar.refresh()
            self._bar.set_postfix_str("", refresh=False)
            self._bar.set_description_str(phase, refresh=False)
            self._bar.total = total or None
            self._bar.reset(total or None)
        self._phase = phase
        if total and total != self._bar.total:
            self._bar.total = total
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


@hookimpl
def rjepa_progress_bars() -> Iterable[ProgressAdapter]:
    return [
        ProgressAdapter(
            name="tqdm",
            summary="a line of text, or a widget in a notebook that has them",
            create=_create,
        )
    ]


def _create() -> ProgressBar:
    return TqdmBar()
