"""What a command writes: results on stdout, all else on stderr; the libraries' chatter nowhere."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from rjepa_core.errors import StoreError
from rjepa_core.run_history import OUTPUT

from .streams import LastingStream, lasting
from .words import visible

_QUIET_WARNINGS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning)
_OUR_LOGGERS = ("rjepa_core", "rjepa_adapters", "rjepa")
_KEPT_LINES = 200
# What JSON leaves as it is and a terminal obeys.
_JSON_RAW = re.compile(
    "[\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


class Screen:
    """Entered by a command while it works.

    Inside, what libraries print is swallowed (and shown if something unexpected happens), while
    warnings and the log lines of R-JEPA and its plugins are written as lines of their own.

    Args:
        only_output: what the command writes to stdout is all that it makes. Where stdout takes no
            more, that is an error then; what another command did is told on stderr.
    """

    def __init__(self, only_output: bool = False) -> None:
        self.out, self.err = lasting("stdout"), lasting("stderr")
        self._only_output = only_output
        if only_output:
            # Whoever reads it slowly is to get all of it.
            self.out.patience = None
        self.write_line: Callable[[str], None] = self._print
        self._noise = _Noise(self.err)
        self._handler = _Lines(self)
        self._seen: set[str] = set()

    @property
    def terminal(self) -> bool:
        """Whether someone watches stderr."""
        return self.err.isatty()

    def say(self, text: str) -> None:
        """A line on stderr."""
        self.write_line(visible(text, keep="\n\t"))

    def warn(self, text: str) -> None:
        """A warning on stderr, once."""
        if text not in self._seen:
            self._seen.add(text)
            self.say(f"rjepa-cli: warning: {text}")

    def result(self, text: str) -> bool:
        """The command's result, on stdout; whether someone was told."""
        self.out.line(text)
        if not self.out.lost or self.out.reader_gone or self._only_output:
            return True
        self.out.lost = False
        self.warn(f"stdout takes nothing ({self.out.reason}); what belongs there:")
        self.write_line(text)
        nobody_is_to_see_it = not self.out.given and not self.err.given
        return nobody_is_to_see_it or not self.err.lost

    def json(self, facts: Any) -> bool:
        """The command's result as one JSON object, on stdout; whether someone was told."""
        encoding = self.out.encoding.lower().replace("-", "")
        text = json.dumps(facts, ensure_ascii=encoding != "utf8", indent=2, default=str)
        return self.result(_JSON_RAW.sub(lambda found: f"\\u{ord(found[0]):04x}", text))

    @contextmanager
    def noted(self, add_history: Callable[[Mapping[str, Any]], None]) -> Iterator[None]:
        """Afterwards, have a run history say which streams took no more."""
        try:
            yield
        finally:
            for stream in (self.out, self.err):
                if stream.failure is not None:
                    now = datetime.now(UTC).isoformat(timespec="milliseconds")
                    facts = {"stream": stream.title, "why": stream.reason}
                    # A store that takes no more has an error of its own.
                    with suppress(StoreError):
                        add_history({"kind": OUTPUT, "started": now, **facts})

    def __enter__(self) -> Self:
        self._caught = warnings.catch_warnings()
        self._caught.__enter__()
        warnings.showwarning = self._on_warning
        self._levels = {name: logging.getLogger(name).level for name in _OUR_LOGGERS}
        for name in _OUR_LOGGERS:
            logging.getLogger(name).setLevel(logging.INFO)
        logging.getLogger().addHandler(self._handler)
        sys.stdout = sys.stderr = self._noise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        sys.stdout, sys.stderr = self.out, self.err
        logging.getLogger().removeHandler(self._handler)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        self._caught.__exit__(kind, error, trace)
        if error is not None and self._noise.lines:
            error.add_note("printed meanwhile:\n" + "\n".join(self._noise.lines))

    def _print(self, text: str) -> None:
        self.err.line(text)

    def _on_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: object = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, _QUIET_WARNINGS):
            self.warn(" ".join(str(message).split()))


class _Lines(logging.Handler):
    """Log records as lines: ours from INFO, others' from WARNING."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.INFO)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        ours = record.name.split(".")[0] in _OUR_LOGGERS
        text = " ".join(record.getMessage().split())
        if record.levelno >= logging.WARNING:
            self._screen.warn(text)
        elif ours:
            self._screen.say(text)


class _Noise(io.TextIOBase):
    """Takes what libraries print and keeps the last of it."""

    def __init__(self, stream: LastingStream) -> None:
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._stream = stream
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).replace("\r", "\n").split("\n")
        self.lines.extend(line for line in lines if line.strip())
        return len(text)

    def fileno(self) -> int:
        return self._stream.fileno()
