"""The output of a command: results on stdout, messages on stderr, safe for a terminal."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO, cast

from rjepa_core.errors import StoreError
from rjepa_core.extraction.history import OUTPUT
from rjepa_core.text import count as count
from rjepa_core.text import duration as duration
from rjepa_core.text import number as number
from rjepa_core.text import rate as rate
from rjepa_core.text import shell_word as shell_word
from rjepa_core.text import size as size
from rjepa_core.text import visible as visible
from rjepa_core.text import visible_json as visible_json

from .streams import YELLOW, LastingStream, can_move_cursor, lasting
from .wording import wording

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

_LONGEST_NAME, _TAIL = 80, 16


def short_name(name: object) -> str:
    """Return a name for a listing: escaped, and shortened in the middle if it is long."""
    text = visible(str(name), keep="")
    if len(text) <= _LONGEST_NAME:
        return text
    return f"{text[: _LONGEST_NAME - _TAIL - 1]}…{text[-_TAIL:]}"


_QUIET_WARNINGS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning)
_OUR_LOGGERS = ("rjepa_core", "rjepa_adapters", "rjepa")
_KEPT_LINES = 200


class Screen:
    """A context in which a command works and prints.

    Inside, what libraries print is suppressed (and shown after an unexpected error), while warnings
    and the log messages of R-JEPA and its plugins are written on lines of their own.

    Args:
        only_output: the command's only result is what it writes to stdout, so that it is an error
            if stdout fails. For other commands the result is then written to stderr.
    """

    def __init__(self, only_output: bool = False) -> None:
        self.out, self.err = lasting("stdout"), lasting("stderr")
        self._only_output = only_output
        if only_output:
            # A slow reader must get all of it.
            self.out.patience = None
        self.write_line: Callable[[str], None] = self._print
        self._captured = _Capture(self.err)
        self._handler = _LogHandler(self)
        self._seen: set[str] = set()
        self._spinner: Progress | None = None
        self._busy_with = ""
        # Warnings may come from other threads, which have no click context.
        self._wording = wording()

    @property
    def terminal(self) -> bool:
        """Whether stderr is a terminal."""
        return self.err.isatty()

    @property
    def animated(self) -> bool:
        """Whether stderr is a terminal on which a line can be drawn anew."""
        return self.terminal and can_move_cursor()

    @property
    def width(self) -> int | None:
        """Columns of the terminal that stdout is; None if it is not a terminal."""
        return self.out.columns()

    def console(self) -> Console:
        """Return what draws on stderr."""
        from rich.console import Console

        return Console(file=cast("TextIO", self.err), width=self.err.columns())

    def busy(self, text: str) -> None:
        """Say what is being done; until the next line a terminal shows that it goes on."""
        metered = self.write_line != self._print
        if metered or not self.animated:
            self.say(f"{text} …")
            return
        self.settle()
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        console = self.console()
        cut = Column(no_wrap=True, overflow="ellipsis")
        self._spinner = Progress(
            SpinnerColumn("dots" if console.encoding.startswith("utf") else "line"),
            TextColumn("{task.description} …", markup=False, table_column=cut),
            TimeElapsedColumn(),
            console=console,
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
        )
        self._spinner.add_task(visible(text, keep=""), total=None)
        self._busy_with = text
        self._spinner.start()

    def settle(self) -> None:
        """End what `busy` shows; its text stays as a line."""
        spinner, self._spinner = self._spinner, None
        if spinner is not None:
            spinner.stop()
            self._print(visible(f"{self._busy_with} …"))

    def say(self, text: str) -> None:
        """Write a line to stderr."""
        self.settle()
        self.write_line(visible(text))

    def warn(self, text: str) -> None:
        """Write a warning to stderr, once."""
        if text not in self._seen:
            self._seen.add(text)
            self.settle()
            head = self.err.styled("warning:", YELLOW)
            self.write_line(f"rjepa-cli: {head} {visible(self._wording(text))}")

    def result(self, *lines: str) -> bool:
        """Write the command's result to stdout, line by line; return whether it was delivered."""
        return self._deliver("\n".join(map(visible, lines)))

    def _deliver(self, text: str) -> bool:
        self.settle()
        self.out.line(text)
        if not self.out.lost or self.out.reader_gone or self._only_output:
            return True
        self.out.lost = False
        self.warn(f"stdout takes nothing ({self.out.reason}); what belongs there:")
        self.write_line(text)
        no_output_wanted = not self.out.given and not self.err.given
        return no_output_wanted or not self.err.lost

    def json(self, facts: Any) -> bool:
        """Write the result to stdout as one JSON object; return whether it was delivered."""
        encoding = self.out.encoding.lower().replace("-", "")
        text = json.dumps(facts, ensure_ascii=encoding != "utf8", indent=2, default=str)
        return self._deliver(visible_json(text))

    @contextmanager
    def noted(self, add_history: Callable[[Mapping[str, Any]], None]) -> Iterator[None]:
        """Record in a run history which streams failed while the block ran."""
        try:
            yield
        finally:
            for stream in (self.out, self.err):
                if stream.failure is not None:
                    now = datetime.now(UTC).isoformat(timespec="milliseconds")
                    facts = {"stream": stream.title, "why": stream.reason}
                    # A store that cannot be written raises its own error.
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
        sys.stdout = sys.stderr = self._captured
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.settle()
        sys.stdout, sys.stderr = self.out, self.err
        logging.getLogger().removeHandler(self._handler)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        self._caught.__exit__(kind, error, trace)
        if error is not None and self._captured.lines:
            error.add_note("printed meanwhile:\n" + "\n".join(self._captured.lines))

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


class _LogHandler(logging.Handler):
    """Shows log records as lines: ours from INFO, others from WARNING."""

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


class _Capture(io.TextIOBase):
    """Captures what libraries print and keeps the last lines."""

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
