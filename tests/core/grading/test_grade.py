"""Grading a store through the ports alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

import rjepa_core
from rjepa_core.domain.grade import CODE, NO_ANSWER, NO_REFERENCE, RIGHT, UNGRADED, WRONG, Verdict
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.problem import Problem
from rjepa_core.domain.trace import RecordKey
from rjepa_core.errors import (
    ArgumentError,
    PluginError,
    StoreNotFoundError,
    UnknownAdapterError,
    UnsupportedError,
)
from rjepa_core.grading import grade, needs_reference, open_grader, summarise
from rjepa_core.plugins import open_store
from rjepa_core.ports.grader import Submission
from rjepa_core.ports.maintenance import ToolProgress
from rjepa_core.testing.memory_store import MemoryStore
from rjepa_core.testing.samples import sample_identity, sample_record

IDENTITY = sample_identity()


class Equal:
    """A grader that compares texts and remembers what it was given."""

    name = "equal"

    def __init__(self, version: str = "1") -> None:
        self.version = version
        self.seen: list[Submission] = []

    def refuses(self, problem: Problem) -> str | None:
        return needs_reference(problem)

    def grade(self, submissions: Sequence[Submission]) -> list[Verdict]:
        self.seen += submissions
        return [
            Verdict(WRONG, NO_ANSWER)
            if one.answer is None
            else Verdict(RIGHT if one.answer == one.expected else WRONG)
            for one in submissions
        ]

    def close(self) -> None:
        pass


def record(
    name: str, completion: str, answer: str | None = "18", domain: str = "math", sample: int = 0
) -> LatentRecord:
    made = sample_record(IDENTITY, name, sample)
    problem = attrs.evolve(made.trace.problem, answer=answer, domain=domain)
    trace = attrs.evolve(
        made.trace, problem=problem, completion=completion, answer=None, finish_reason="stop"
    )
    return attrs.evolve(made, trace=trace)


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    made.begin(IDENTITY)
    made.write(
        [
            record("a", "So.\nAnswer: 18"),
            record("b", "So.\nAnswer: 2", answer="#### 35"),
            record("c", "So it goes."),
            record("d", "Answer: 18", answer=None),
            record("e", "def f(): pass", domain="code"),
            record("f", "The answer is " + "9" * 5000 + "."),
        ]
    )
    made.commit()
    return made


def test_each_record_is_graded(store: MemoryStore) -> None:
    grader, seen = Equal(), list[ToolProgress]()
    done = grade(store, grader, report=seen.append)
    assert (done.grader, done.graded, done.kept) == ("equal", 6, 0)
    found = {g.key.problem_id: (g.mark, g.reason, g.answer) for g in store.grades()}
    assert found.pop("f")[2] == "9" * 999 + "…"
    assert found == {
        "a": (RIGHT, "", "18"),
        "b": (WRONG, "", "2"),
        "c": (WRONG, NO_ANSWER, None),
        "d": (UNGRADED, NO_REFERENCE, "18"),
        "e": (UNGRADED, CODE, None),
    }
    assert [one.problem.id for one in grader.seen] == ["a", "b", "c", "f"]
    assert grader.seen[1].expected == "35"
    assert (seen[-1].done, seen[-1].total) == (6, 6)
    assert store.history()[-1]["records"] == 6


def test_grading_again_does_what_is_missing(store: MemoryStore) -> None:
    grade(store, Equal())
    store.write([record("g", "Answer: 18"), record("a", "Answer: 17")])
    store.commit()
    grader = Equal()
    done = grade(store, grader)
    assert (done.graded, done.kept) == (2, 5)
    assert {one.problem.id for one in grader.seen} == {"a", "g"}
    history = store.history()
    assert grade(store, Equal()).graded == 0
    assert store.history() == history


def test_another_version_grades_again(store: MemoryStore) -> None:
    grade(store, Equal())
    assert grade(store, Equal("2")).graded == 6
    assert {g.version for g in store.grades()} == {"2"}
    assert grade(store, Equal("2"), again=True).graded == 6


def test_an_interruption_keeps_what_is_graded() -> None:
    store = MemoryStore()
    store.begin(IDENTITY)
    store.write([record(f"p-{i}", "Answer: 18") for i in range(200)])
    store.commit()

    def strike(progress: ToolProgress) -> None:
        if progress.done >= 128:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grade(store, Equal(), report=strike)
    store.commit()
    assert len(list(store.grades())) == 128
    assert grade(store, Equal()).graded == 72


def test_by_name(store: MemoryStore) -> None:
    assert rjepa_core.grade(store, "exact").grader == "exact"
    summary = rjepa_core.summarise(store)
    assert summary is not None
    assert (summary.right, summary.wrong) == (1, 3)
    with pytest.raises(UnknownAdapterError, match="unknown grader 'exakt'; did you mean 'exact'"):
        open_grader("exakt")


def test_a_store_that_keeps_none_is_refused() -> None:
    class NoGrades(MemoryStore):
        write_grades = None  # type: ignore[assignment]

    with pytest.raises(UnsupportedError, match="keeps no grades"):
        grade(NoGrades(), Equal())


def test_a_grader_that_loses_one_is_named(store: MemoryStore) -> None:
    class Loses(Equal):
        def grade(self, submissions: Sequence[Submission]) -> list[Verdict]:
            return super().grade(submissions)[1:]

    with pytest.raises(PluginError, match="gave 3 verdicts on 4 submissions"):
        grade(store, Loses())
    assert store.grade(RecordKey("a")) is None


def test_a_store_by_its_location(tmp_path: Path) -> None:
    identity = sample_identity()
    with open_store(tmp_path / "s", "write") as store:
        store.begin(identity)
        store.write([sample_record(identity)])
    assert grade(tmp_path / "s", "exact").graded == 1
    found = summarise(str(tmp_path / "s"))
    assert found is not None
    assert found.graders


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    for use in (grade, summarise):
        with pytest.raises(ArgumentError, match="store: got 3, expected what open_store"):
            use(3)  # type: ignore[operator]
        with pytest.raises(StoreNotFoundError):
            use(tmp_path / "none")  # type: ignore[operator]
    assert not (tmp_path / "none").exists()
