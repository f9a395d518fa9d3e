"""Grades in exports: beside the shards, in a dataset's columns, and back."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from rjepa_adapters.shards import export_dataset, export_shards, import_shards
from rjepa_core.domain.grade import UNGRADED, WRONG
from rjepa_core.errors import InputError
from rjepa_core.testing.memory_store import MemoryStore
from rjepa_core.testing.samples import sample_grade, sample_identity, sample_record

IDENTITY = sample_identity()


@pytest.fixture
def graded() -> MemoryStore:
    store = MemoryStore()
    store.begin(IDENTITY)
    store.write([sample_record(IDENTITY, f"p-{i}") for i in range(4)])
    store.write_grades(
        [
            sample_grade("p-0"),
            attrs.evolve(sample_grade("p-1", mark=WRONG), answer=None, reason=""),
            attrs.evolve(sample_grade("p-2", mark=UNGRADED), answer="\ud800\n"),
        ]
    )
    store.commit()
    return store


def test_there_and_back(graded: MemoryStore, tmp_path: Path) -> None:
    report = export_shards(graded, str(tmp_path / "out"))
    assert report.grades == 3
    assert json.loads((tmp_path / "out" / "identity.json").read_text())["counts"]["grades"] == 3
    again = MemoryStore()
    assert import_shards(str(tmp_path / "out"), again).grades == 3
    assert list(again.grades()) == list(graded.grades())


def test_without_grades_there_is_no_file(tmp_path: Path) -> None:
    store = MemoryStore()
    store.begin(IDENTITY)
    store.write([sample_record(IDENTITY)])
    store.commit()
    assert export_shards(store, str(tmp_path / "out")).grades == 0
    assert not (tmp_path / "out" / "grades.jsonl").exists()
    assert import_shards(str(tmp_path / "out"), MemoryStore()).grades == 0


def test_a_bad_line_is_named(graded: MemoryStore, tmp_path: Path) -> None:
    export_shards(graded, str(tmp_path / "out"))
    file, manifest = tmp_path / "out" / "grades.jsonl", tmp_path / "out" / "identity.json"
    fields = json.loads(manifest.read_text())
    del fields["files"], fields["counts"]
    manifest.write_text(json.dumps(fields))
    lines = file.read_text().splitlines()
    for bad in ("{", "{}", lines[1].replace('"wrong"', '"good"'), lines[1].replace("p-1", "no")):
        file.write_text("\n".join([lines[0], bad]) + "\n")
        with pytest.raises(InputError, match=r"grades\.jsonl:2: no grade"):
            import_shards(str(tmp_path / "out"), MemoryStore())


def test_a_changed_file_is_refused(graded: MemoryStore, tmp_path: Path) -> None:
    export_shards(graded, str(tmp_path / "out"))
    file = tmp_path / "out" / "grades.jsonl"
    file.write_text(file.read_text().replace('"wrong"', '"right"'))
    with pytest.raises(InputError, match=r"grades\.jsonl: its bytes are not"):
        import_shards(str(tmp_path / "out"), MemoryStore())


def test_columns_of_a_dataset(graded: MemoryStore, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    export_dataset(graded, str(tmp_path / "out"))
    loaded = datasets.load_from_disk(str(tmp_path / "out"))
    assert loaded["grade"] == ["right", "wrong", "ungraded", None]
    assert loaded["graded_answer"][:2] == ["42", None]
    assert loaded["grader"][0] == "sample 1"
