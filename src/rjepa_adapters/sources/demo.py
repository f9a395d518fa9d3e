"""The demo: problems written for this project, shipped with it."""

from __future__ import annotations

import json
from importlib import resources

import attrs

from rjepa_core.settings import ProblemSettings

from .reader import RowReader
from .rows import Records, RecordSource


def source(problems: ProblemSettings) -> RecordSource:
    """Return the demo's problems, whose field names are known: `problems.fields` is for other sources."""
    return RecordSource("demo", _records, RowReader.of(attrs.evolve(problems, fields={})))


def _records() -> Records:
    text = resources.files(__package__).joinpath("demo.jsonl").read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        yield f"demo:{number}", json.loads(line)
