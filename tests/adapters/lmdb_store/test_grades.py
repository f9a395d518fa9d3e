"""Grades in an LMDB store: earlier versions beside them, damage, and what repair saves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rjepa_adapters.lmdb_store import environment as environments
from rjepa_adapters.lmdb_store.directory import DATA
from rjepa_adapters.lmdb_store.environment import Environment
from rjepa_adapters.lmdb_store.maintenance import compact
from rjepa_adapters.lmdb_store.recovery.repair import repair, verify
from rjepa_adapters.lmdb_store.settings import LmdbSettings
from rjepa_adapters.lmdb_store.store import LmdbStore
from rjepa_core.domain.trace import RecordKey
from rjepa_core.errors import DamagedRecordError
from rjepa_core.testing.samples import sample_grade, sample_identity, sample_record

IDENTITY = sample_identity(1, 64)
FIXTURES = Path(__file__).parents[2] / "fixtures" / "written_by_0_1"
NUMBER = 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with a grade for each record."""
    place = tmp_path / "a"
    with LmdbStore(place, "write") as store:
        store.begin(IDENTITY)
        store.write([sample_record(IDENTITY, f"p-{i}") for i in range(NUMBER)])
        store.commit()
        store.write_grades([sample_grade(f"p-{i}") for i in range(NUMBER)])
    return place


def graded(path: Path) -> set[str]:
    with LmdbStore(path) as store:
        return {grade.key.problem_id for grade in store.grades()}


def flip(path: Path, content: bytes) -> None:
    """Change the first of the bytes wherever they stand in the data file."""
    data = (path / DATA).read_bytes()
    assert content in data
    (path / DATA).write_bytes(data.replace(content, bytes([content[0] ^ 4]) + content[1:]))


def test_a_store_of_an_earlier_version_is_graded(tmp_path: Path) -> None:
    place = tmp_path / "seeded"
    shutil.copytree(FIXTURES / "seeded", place)
    with LmdbStore(place, "write") as store:
        assert list(store.grades()) == []
        [first, *_] = store.keys()
        store.write_grades([sample_grade(first.problem_id, first.sample)])
    with LmdbStore(place) as store:
        assert store.grade(first) is not None
    assert verify(str(place)).sound


def test_the_table_is_made_when_it_is_needed(tmp_path: Path) -> None:
    with LmdbStore(tmp_path / "a", "write") as store:
        store.begin(IDENTITY)
        store.write([sample_record(IDENTITY)])
        store.commit()
        store.write_grades([])
        store.commit()
        assert store._environment.later_table("grades") is None
        store.write_grades([sample_grade()])
        store.commit()
        assert store._environment.later_table("grades") is not None


def test_a_version_without_grades_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads and writes the store, knows nothing of grades, and leaves none that is false."""
    with monkeypatch.context() as earlier:
        earlier.setattr(environments, "LATER_TABLES", ())
        earlier.setattr(Environment, "look_for", lambda self, name: None)
        with LmdbStore(path, "write") as store:
            assert len(list(store.keys())) == NUMBER
            store.delete([RecordKey("p-1")])
            store.write([sample_record(IDENTITY, "p-0", seed=1)])
            store.write([sample_record(IDENTITY, "p-1", seed=1)])
    assert graded(path) == {f"p-{i}" for i in range(2, NUMBER)}
    with LmdbStore(path, "write") as store:
        assert store.grade(RecordKey("p-0")) is None
        store.write_grades([sample_grade("p-0", version="2")])
    assert graded(path) == {"p-0", *(f"p-{i}" for i in range(2, NUMBER))}
    assert verify(str(path)).sound
    LmdbStore(path).close()


def test_the_map_grows_under_grades(tmp_path: Path) -> None:
    with LmdbStore(tmp_path / "a", "write", LmdbSettings(map_bytes=2**20)) as store:
        store.begin(IDENTITY)
        for i in range(1200):
            store.write([sample_record(IDENTITY, f"p-{i}")])
        store.commit()
        store.write_grades([sample_grade(f"p-{i}") for i in range(1200)])
        store.commit()
        assert sum(1 for _ in store.grades()) == 1200


def test_a_damaged_grade_is_never_returned(path: Path) -> None:
    flip(path, b'"mark":"right","number":7')
    with LmdbStore(path) as store, pytest.raises(DamagedRecordError, match="grade of p-7 is dam"):
        store.grade(RecordKey("p-7"))
    with LmdbStore(path) as store:
        assert store.grade(RecordKey("p-8")) == sample_grade("p-8")
        assert len(list(store.keys())) == NUMBER
    report = verify(str(path))
    assert [(d.kind, d.name) for d in report.damages] == [("grade", "p-7")]


def test_repair_saves_the_other_grades(path: Path, tmp_path: Path) -> None:
    flip(path, b'"mark":"right","number":7')
    report = repair(str(path), str(tmp_path / "b"))
    assert (report.records, report.missing) == (NUMBER, 0)
    assert [(d.kind, d.name) for d in report.lost] == [("grade", "p-7")]
    assert graded(tmp_path / "b") == {f"p-{i}" for i in range(NUMBER) if i != 7}
    assert verify(str(tmp_path / "b")).sound


def test_a_lost_grade_shows_in_the_tally(path: Path) -> None:
    flip(path, b'"grades":20')
    assert [(d.kind, d.name) for d in verify(str(path)).damages] == [("grade", "tally")]


def test_repair_finds_grades_on_bare_pages(path: Path, tmp_path: Path) -> None:
    """Without its meta pages no table is read, but all pages are searched."""
    data = bytearray((path / DATA).read_bytes())
    for page in range(2):
        data[4096 * page + 16 : 4096 * page + 48] = bytes(32)
    (path / DATA).write_bytes(data)
    report = repair(str(path), str(tmp_path / "b"))
    assert report.damages
    assert graded(tmp_path / "b") == {f"p-{i}" for i in range(NUMBER)}
    assert verify(str(tmp_path / "b")).sound


def test_compact_keeps_them(path: Path) -> None:
    with LmdbStore(path, "write") as store:
        store.delete([RecordKey("p-3")])
    compact(str(path))
    assert graded(path) == {f"p-{i}" for i in range(NUMBER) if i != 3}
    assert verify(str(path)).sound
