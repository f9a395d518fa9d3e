"""Relay what transformers logs while a model is loaded to our own log."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator

log = logging.getLogger(__name__)

# Transformers' own table of missing tensors: `weights` refuses such a model in one line.
_REPORT = "LOAD REPORT"
_NOT_CONVERTED = re.compile(r"^(\S+)\s*\| CONVERSION", re.M)


@contextlib.contextmanager
def relay_messages() -> Iterator[None]:
    """Hide transformers' progress bars and relay its warnings, each once."""
    from transformers.utils import logging as theirs

    library = logging.getLogger("transformers")
    handlers, level, propagate = library.handlers[:], library.level, library.propagate
    bars = theirs.is_progress_bar_enabled()
    library.handlers, library.propagate = [_Relay()], False
    library.setLevel(logging.WARNING)
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        library.handlers, library.propagate = handlers, propagate
        library.setLevel(level)
        if bars:
            theirs.enable_progress_bar()


@contextlib.contextmanager
def collect_unconverted() -> Iterator[list[str]]:
    """Collect the names of tensors that transformers fails to convert: its error omits them."""
    names: list[str] = []
    reader = logging.Handler(logging.WARNING)
    reader.emit = lambda record: names.extend(  # type: ignore[method-assign]
        _NOT_CONVERTED.findall(record.getMessage())
    )
    library = logging.getLogger("transformers")
    library.addHandler(reader)
    try:
        yield names
    finally:
        library.removeHandler(reader)


class _Relay(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        if _REPORT not in text and text not in self._said:
            self._said.add(text)
            log.log(record.levelno, "transformers: %s", text)
