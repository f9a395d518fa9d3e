"""Figures of a run, kept as lines of JSON as soon as they are known, so that a second run goes on.

Needs the standard library alone.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FILE = "results.jsonl"
_LINES = 6  # of a traceback
Row = dict[str, Any]


class Figures:
    """The rows of `results.jsonl` in a folder, by part and key.

    A row holds `text`, one line for people, and the values behind it; or `error`.
    """

    def __init__(self, folder: Path, part: str = "run") -> None:
        self.folder, self.part = folder, part
        self._file = folder / FILE
        self._rows: dict[tuple[str, str], Row] = {}
        if self._file.exists():
            for line in self._file.read_text(encoding="utf-8").splitlines():
                # A process that was killed may have left half a line behind.
                if line.endswith("}"):
                    row = json.loads(line)
                    self._rows[row["part"], row["key"]] = row

    def rows(self) -> list[Row]:
        """The latest of each part and key, in the order in which they were first measured."""
        return list(self._rows.values())

    def find(self, key: str, part: str | None = None) -> Row | None:
        """A figure that was measured; None where it was not, or failed."""
        row = self._rows.get((part or self.part, key))
        return None if row is None or "error" in row else row

    def keep(self, key: str, **values: Any) -> Row:
        """Write a row."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        row = {"part": self.part, "key": key, "at": at, **values}
        ends = not self._file.exists() or self._file.read_bytes()[-1:] in (b"\n", b"")
        with self._file.open("a", encoding="utf-8") as file:
            file.write(("" if ends else "\n") + json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._rows[self.part, key] = row
        print(f"{self.part}: {key}: {row.get('error') or row.get('text', '')}", flush=True)
        return row

    def measure(self, key: str, call: Callable[[], Row]) -> Row | None:
        """What `call` returns, unless it is there already. A failure is kept as such, and what is
        to be measured next goes on; the next run tries again."""
        found = self.find(key)
        if found is not None:
            return found
        began = time.monotonic()
        try:
            values = call()
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            self.keep(key, error=last_lines("".join(traceback.format_exception(error))))
            return None
        return self.keep(key, took=round(time.monotonic() - began, 2), **values)


def last_lines(text: str) -> str:
    """The end of a traceback or a log."""
    return "\n".join(text.strip().splitlines()[-_LINES:])
