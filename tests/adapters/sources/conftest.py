from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from rjepa_adapters.sources import plugin
from rjepa_core.plugins.hooks import SourceAdapter
from rjepa_core.ports.source import ProblemSource, SourceRow
from rjepa_core.settings.extraction import ProblemSettings

SHARED_DATA = Path(__file__).parents[4] / "shared" / "data"
Open = Callable[..., ProblemSource]


def adapters() -> dict[str, SourceAdapter]:
    return {adapter.name: adapter for adapter in plugin.rjepa_sources()}


@pytest.fixture
def claimants() -> Callable[[object], list[str]]:
    """Names of the adapters that claim a location."""
    return lambda location: [n for n, a in adapters().items() if a.claims(str(location))]


@pytest.fixture
def open_source() -> Open:
    """A location's source, by whoever claims it."""

    def opened(
        location: object, options: Mapping[str, Any] | None = None, **problems: Any
    ) -> ProblemSource:
        [adapter] = [a for a in adapters().values() if a.claims(str(location))]
        settings = adapter.configure(options or {}, f"problems.{adapter.name}")
        return adapter.create(str(location), ProblemSettings(**problems), settings)

    return opened


@pytest.fixture
def read(open_source: Open) -> Callable[..., list[SourceRow]]:
    """All rows of a location."""
    return lambda *args, **kwargs: list(open_source(*args, **kwargs).rows())


@pytest.fixture
def read_rows(tmp_path: Path, read: Callable[..., list[SourceRow]]) -> Callable[..., Any]:
    """Rows from records, by way of a JSON Lines file."""

    def rows(*records: Mapping[str, Any], **problems: Any) -> list[SourceRow]:
        return read(write_jsonl(tmp_path / "rows.jsonl", records), **problems)

    return rows


@pytest.fixture
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA


def write_jsonl(path: Path, records: Sequence[Mapping[str, Any]]) -> Path:
    text = "".join(json.dumps(record) + "\n" for record in records)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_csv(path: Path, records: Sequence[Mapping[str, Any]], delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, list(records[0]), delimiter=delimiter)
        table.writeheader()
        table.writerows(records)
    return path


def write_parquet(path: Path, records: Sequence[Mapping[str, Any]]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(list(records)), path)
    return path


@pytest.fixture
def writers() -> dict[str, Callable[..., Path]]:
    return {"jsonl": write_jsonl, "csv": write_csv, "parquet": write_parquet}
