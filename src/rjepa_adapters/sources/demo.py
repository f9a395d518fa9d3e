"""The demo source: problems written for this project and shipped with it."""

from __future__ import annotations

import json
from importlib import resources

import attrs

from rjepa_core.settings import ProblemSettings

from .reader import RowReader
from .rows import Records, RecordSource


def source(problems: ProblemSettings) -> RecordSource:
    """Return the demo's source; it ignores `problems.fields`, since its fields are known."""
    return RecordSource("demo", _records, RowReader.of(attrs.evolve(problems, fields={})))


def _records() -> Records:
    text = resources.files(__package__).joinpath("demo.jsonl").read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        yield f"demo:{number}", json.loads(line)
