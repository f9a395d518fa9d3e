"""Grades the records of a store, through the ports alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any

import attrs

from ..domain.answer import answer_of, reference_answer
from ..domain.grade import CODE, NO_REFERENCE, UNGRADED, Grade, Verdict
from ..domain.problem import Problem
from ..domain.trace import RecordKey
from ..errors import PluginError, UnsupportedError
from ..plugins import GraderAdapter, Registry, given_store
from ..ports.grader import Grader, Submission
from ..ports.maintenance import Report, ToolProgress, ignore
from ..ports.store import KeepsGrades, LatentStore
from ..settings import AdapterSettings
from ..text import count

if TYPE_CHECKING:
    from os import PathLike

CODE_DOMAIN = "code"
DEFAULT_GRADER = "math"
KIND = "grade"
_AT_ONCE = 64
# Of an answer that a store keeps, characters; a text without an end is no answer.
_LONGEST_ANSWER = 1000


@attrs.frozen(kw_only=True)
class GradeSettings:
    """Settings of a grading.

    Attributes:
        grader: the grader, by name, and its own settings.
    """

    grader: AdapterSettings = attrs.field(factory=lambda: AdapterSettings(name=DEFAULT_GRADER))


@attrs.frozen
class Graded:
    """What a grading did.

    Attributes:
        grader, version: who graded.
        graded: records that were graded.
        kept: records whose grades of the same grader and version were kept.
    """

    grader: str
    version: str
    graded: int
    kept: int


def needs_reference(problem: Problem) -> str | None:
    """Why a grader that compares answers cannot grade those to a problem; None if it can."""
    if problem.domain == CODE_DOMAIN:
        return CODE
    if reference_answer(problem.answer) is None:
        return NO_REFERENCE
    return None


def open_grader(
    settings: GradeSettings | str = DEFAULT_GRADER, registry: Registry | None = None
) -> Grader:
    """The grader that settings name, or the one of that name with settings of its own.

    Raises:
        UnknownAdapterError, SettingsError: there is no such grader, or setting of it.
        UsageError: it cannot work here.
    """
    if isinstance(settings, str):
        settings = GradeSettings(grader=AdapterSettings(name=settings))
    adapter = (registry or Registry()).find(GraderAdapter, settings.grader.name)
    return adapter.create(adapter.configure(settings.grader.options, "grader"))


def grade(
    store: LatentStore | str | PathLike[str],
    grader: Grader | str = DEFAULT_GRADER,
    *,
    again: bool = False,
    report: Report = ignore,
    computing: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Graded:
    """Grade the committed records of a store.

    What has a grade of this grader and version is left as it is. Grades are committed as records
    are, so that a grading which is interrupted goes on where it stopped.

    Args:
        store: whose records are graded, and which keeps the grades; open to write, or its location.
        grader: a grader, or the name of one.
        again: grade all of it anew.
        report: called as it goes on.
        computing: entered around the grader's work: whoever turns a signal into an exception does
            it in there, so that it never hits the store while it writes.

    Raises:
        UnsupportedError: the store keeps no grades.
        ArgumentError: it is neither a store nor a location.
    """
    with given_store(store, "write") as records:
        kept = require_grades(records)
        opened = open_grader(grader) if isinstance(grader, str) else grader
        try:
            return _grade(records, kept, opened, again, report, computing)
        finally:
            if isinstance(grader, str):
                opened.close()


def require_grades(store: LatentStore) -> KeepsGrades:
    """The store as one that keeps grades.

    Raises:
        UnsupportedError: it keeps none.
    """
    if not isinstance(store, KeepsGrades):
        raise UnsupportedError(
            f"{store.location}: this kind of store keeps no grades; copy it into one that does "
            "(lmdb), and grade that"
        )
    return store


def _grade(
    store: LatentStore,
    kept: KeepsGrades,
    grader: Grader,
    again: bool,
    report: Report,
    computing: Callable[[], AbstractContextManager[None]],
) -> Graded:
    total, done, graded = len(store), 0, 0
    after: RecordKey | None = None
    # Key by key: an iterator that stays open would keep the store from growing.
    while keys := list(islice(store.keys(after), _AT_ONCE)):
        after = keys[-1]
        report(ToolProgress("grading", done, total))
        wanted = [key for key in keys if again or not _same_grader(kept.grade(key), grader)]
        with computing():
            grades = _graded(store, grader, wanted)
        kept.write_grades(grades)
        done, graded = done + len(keys), graded + len(grades)
    if graded:
        counts = {"records": graded, "kept": done - graded}
        store.add_history(
            {"kind": KIND, "grader": grader.name, "version": grader.version, **counts}
        )
    store.commit()
    report(ToolProgress("grading", done, total))
    return Graded(grader.name, grader.version, graded, done - graded)


def _same_grader(grade: Grade | None, grader: Grader) -> bool:
    return grade is not None and (grade.grader, grade.version) == (grader.name, grader.version)


def _graded(store: LatentStore, grader: Grader, keys: Sequence[RecordKey]) -> list[Grade]:
    verdicts: dict[RecordKey, Verdict] = {}
    submissions: dict[RecordKey, Submission] = {}
    answers: dict[RecordKey, str | None] = {}
    for key in keys:
        trace = store.get(key).trace
        answers[key] = answer_of(trace)
        refused = grader.refuses(trace.problem)
        if refused is not None:
            verdicts[key] = Verdict(UNGRADED, refused)
        else:
            expected = reference_answer(trace.problem.answer)
            submissions[key] = Submission(trace.problem, expected, answers[key], trace.completion)
    found = grader.grade(list(submissions.values()))
    if len(found) != len(submissions):
        raise PluginError(
            f"grader {grader.name!r}: gave {len(found)} verdicts on {len(submissions)} submissions"
        )
    verdicts |= dict(zip(submissions, found, strict=True))
    return [
        Grade(
            key,
            verdicts[key].mark,
            verdicts[key].reason,
            _shortened(answers[key]),
            grader.name,
            grader.version,
        )
        for key in keys
    ]


def _shortened(answer: str | None) -> str | None:
    if answer is None or len(answer) <= _LONGEST_ANSWER:
        return answer
    return answer[: _LONGEST_ANSWER - 1] + "…"


def grade_line(entry: Mapping[str, Any]) -> str:
    """An entry of the run history that a grading left."""
    return f"{count(entry.get('records', 0), 'record')} by {entry.get('grader', '?')}"
