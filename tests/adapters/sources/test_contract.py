"""The built-in sources keep every promise of a source."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from rjepa_core.plugins.hooks import SourceAdapter
from rjepa_core.plugins.registry import Registry
from rjepa_core.testing.source_suite import SourceContract

ROWS = [
    {"id": "a", "question": "What is 1 plus 1?", "solution": "Step 1: 1 + 1 = 2.", "level": 3},
    {"id": "b", "question": "What is ½ of 8? 🙂", "solution": "Step 1: 4.", "level": 1},
    {"id": "c", "question": "What is 3 times 3?", "solution": "Step 1: 9.", "level": 2},
]


def adapter(name: str) -> SourceAdapter:
    return Registry().find(SourceAdapter, name)


class TestJsonLines(SourceContract):
    adapter = adapter("jsonl")

    def location(self, tmp_path: Path) -> str:
        path = tmp_path / "rows.jsonl.gz"
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in ROWS)
        return str(path)

    def change(self, location: str) -> None:
        path = Path(location)
        packed = path.suffix == ".gz"
        rows = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
        rows = rows.replace(b"3 times", b"4 times")
        path.write_bytes(gzip.compress(rows) if packed else rows)

    def broken(self, tmp_path: Path) -> str:
        path = tmp_path / "torn.jsonl"
        path.write_text(json.dumps(ROWS[0]) + '\n{"question": "cut o')
        return str(path)


class TestJsonLinesWithoutIds(TestJsonLines):
    def location(self, tmp_path: Path) -> str:
        path = tmp_path / "rows.jsonl"
        bare = [{key: value for key, value in row.items() if key != "id"} for row in ROWS]
        path.write_text("".join(json.dumps(row) + "\n" for row in bare))
        return str(path)


class TestCsv(SourceContract):
    adapter = adapter("csv")

    def location(self, tmp_path: Path) -> str:
        path = tmp_path / "rows.csv"
        lines = [",".join(ROWS[0]), *(",".join(map(str, row.values())) for row in ROWS)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(path)

    def change(self, location: str) -> None:
        path = Path(location)
        path.write_bytes(path.read_bytes().replace(b"3 times", b"4 times"))

    def broken(self, tmp_path: Path) -> str:
        path = tmp_path / "torn.csv"
        path.write_text("question,answer\nWhat is 1?,1,2,3\n")
        return str(path)


class TestParquet(SourceContract):
    adapter = adapter("parquet")

    def location(self, tmp_path: Path) -> str:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
        return str(tmp_path / "rows.parquet")

    def change(self, location: str) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(ROWS[::-1]), location)

    def broken(self, tmp_path: Path) -> str:
        pytest.importorskip("pyarrow")
        (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
        return str(tmp_path / "torn.parquet")


class TestSavedDataset(SourceContract):
    adapter = adapter("huggingface")

    def location(self, tmp_path: Path) -> str:
        datasets = pytest.importorskip("datasets")
        if not (tmp_path / "saved").exists():
            datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "saved"))
        return str(tmp_path / "saved")


class TestDemo(SourceContract):
    adapter = adapter("demo")

    def location(self, tmp_path: Path) -> str:
        return "demo"
