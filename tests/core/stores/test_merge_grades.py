"""Grades in merges: they come with their records."""

from __future__ import annotations

from rjepa_core.domain.grade import WRONG
from rjepa_core.domain.trace import RecordKey
from rjepa_core.stores import merge
from rjepa_core.testing.memory_store import MemoryStore
from rjepa_core.testing.samples import sample_grade, sample_identity, sample_record

IDENTITY = sample_identity()


class NoGrades(MemoryStore):
    """A store that keeps none, as a third party's may."""

    write_grades = None  # type: ignore[assignment]
    grade = None  # type: ignore[assignment]
    grades = None  # type: ignore[assignment]


def store(*names: str, seed: int = 0, kind: type[MemoryStore] = MemoryStore) -> MemoryStore:
    made = kind()
    made.begin(IDENTITY)
    made.write([sample_record(IDENTITY, name, seed=seed) for name in names])
    made.commit()
    return made


def test_a_record_comes_with_its_grade() -> None:
    target, source = store("a"), store("a", "b", "c")
    source.write_grades([sample_grade("a"), sample_grade("b")])
    source.commit()
    report = merge(target, [source])
    assert (report.added, report.equal, report.grades, report.grades_left) == (2, 1, 2, 0)
    assert {grade.key.problem_id for grade in target.grades()} == {"a", "b"}


def test_of_equal_records_the_targets_grade_is_kept() -> None:
    target, source = store("a"), store("a")
    target.write_grades([sample_grade("a", mark=WRONG)])
    source.write_grades([sample_grade("a")])
    source.commit()
    assert merge(target, [source]).grades == 0
    assert list(target.grades()) == [sample_grade("a", mark=WRONG)]


def test_the_winner_brings_its_grade() -> None:
    for winner, version in (("source", "2"), ("target", "1")):
        target, source = store("a"), store("a", seed=1)
        target.write_grades([sample_grade("a")])
        target.commit()
        source.write_grades([sample_grade("a", version="2")])
        source.commit()
        merge(target, [source], winner)  # type: ignore[arg-type]
        assert [grade.version for grade in target.grades()] == [version]
    target, source = store("a"), store("a", seed=1)
    target.write_grades([sample_grade("a")])
    merge(target, [source], "source")
    assert target.grade(RecordKey("a")) is None


def test_what_a_target_cannot_keep_is_counted() -> None:
    target, source = store("a", kind=NoGrades), store("b")
    source.write_grades([sample_grade("b")])
    source.commit()
    report = merge(target, [source])
    assert (report.grades, report.grades_left) == (0, 1)
    other = store("c")
    assert merge(other, [target]).grades == 0
