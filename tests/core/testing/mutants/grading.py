"""Graders, and stores of grades, that break one promise each; `test_mutants.py` runs this file."""

from __future__ import annotations

import itertools
import time

import attrs

from rjepa_core.domain.grade import NO_ANSWER, RIGHT, UNGRADED, WRONG, Verdict
from rjepa_core.plugins.hooks import GraderAdapter, NoSettings, StoreAdapter
from rjepa_core.testing.grader_suite import GraderContract
from rjepa_core.testing.memory_store import MemorySettings, MemoryStore, exists
from rjepa_core.testing.store_suite import GradesContract


class Equal:
    """Right is what is expected, word for word."""

    name, version = "mutant", "1"

    def __init__(self, settings):
        pass

    def refuses(self, problem):
        return None if problem.answer else "no answer is known"

    def grade(self, submissions):
        return [self.verdict(one) for one in submissions]

    def verdict(self, one):
        if one.answer is None:
            return Verdict(WRONG, NO_ANSWER)
        return Verdict(RIGHT if one.answer == one.expected else WRONG)

    def close(self):
        pass


class Suite(GraderContract):
    made: type = Equal
    seconds = 0.2

    def __init_subclass__(cls):
        cls.adapter = GraderAdapter(name="mutant", settings=NoSettings, create=cls.made)


class TestGraderSound(Suite):
    """No mutant: the suite must pass."""


class TestGraderWithoutVersion(Suite):
    class made(Equal):
        version = ""


class TestGraderOfAnotherName(Suite):
    class made(Equal):
        name = "other"


class TestGraderWithAVersionOfItsOwn(Suite):
    class made(Equal):
        numbers = itertools.count()

        def __init__(self, settings):
            self.version = str(next(self.numbers))


class TestGraderRefusesAll(Suite):
    class made(Equal):
        def refuses(self, problem):
            return "no"


class TestGraderLosesOne(Suite):
    class made(Equal):
        def grade(self, submissions):
            return super().grade(submissions)[:2]


class TestGraderLikesAll(Suite):
    class made(Equal):
        def verdict(self, one):
            return Verdict(RIGHT)


class TestGraderGivesMarks(Suite):
    class made(Equal):
        def grade(self, submissions):
            return [one.mark for one in super().grade(submissions)]


class TestGraderLeavesNoAnswerUngraded(Suite):
    class made(Equal):
        def verdict(self, one):
            return Verdict(UNGRADED, NO_ANSWER) if one.answer is None else super().verdict(one)


class TestGraderInReverse(Suite):
    class made(Equal):
        def grade(self, submissions):
            return super().grade(submissions)[::-1]


class TestGraderRemembers(Suite):
    class made(Equal):
        def grade(self, submissions):
            found = super().grade(submissions)
            return [Verdict(UNGRADED, "late") if i > 3 else one for i, one in enumerate(found)]


class TestGraderHangs(Suite):
    class made(Equal):
        def verdict(self, one):
            if one.answer and "**" in one.answer:
                time.sleep(0.3)
            return super().verdict(one)


class TestGraderRaisesWhatItMeets(Suite):
    class made(Equal):
        def verdict(self, one):
            (one.answer or "").encode()
            return super().verdict(one)


class TestGraderClosesOnce(Suite):
    class made(Equal):
        open = True

        def close(self):
            assert self.open, "closed already"
            self.open = False


class Grades(GradesContract):
    made: type = MemoryStore

    def __init_subclass__(cls):
        cls.adapter = StoreAdapter(
            name="mutant", settings=MemorySettings, create=cls.made, exists=exists
        )

    def where(self, tmp_path, name):
        return f"{tmp_path.name}-{name}"


class TestGradesSound(Grades):
    """No mutant: the suite must pass."""


class TestStoreKeepsNoGrades(Grades):
    class made(MemoryStore):
        write_grades = None


class TestStoreShowsGradesTooEarly(Grades):
    class made(MemoryStore):
        def grades(self):
            return iter({**self._state.grades, **self._grades}.values())


class TestStoreForgetsTheReason(Grades):
    class made(MemoryStore):
        def write_grades(self, grades):
            super().write_grades(grades)
            self._grades = {k: attrs.evolve(g, reason="") for k, g in self._grades.items()}


class TestStoreKeepsTheFirstGrade(Grades):
    class made(MemoryStore):
        def write_grades(self, grades):
            super().write_grades([g for g in grades if g is None or self.grade(g.key) is None])


class TestStoreKeepsGradesOfReplacedRecords(Grades):
    class made(MemoryStore):
        def commit(self):
            before = dict(self._state.grades)
            super().commit()
            self._change(grades={**before, **self._state.grades})


class TestStoreTakesGradesWithoutRecords(Grades):
    class made(MemoryStore):
        def write_grades(self, grades):
            self._writable()
            self._grades.update({grade.key: grade for grade in grades if grade is not None})


class TestStoreLosesGradesOfFailures(Grades):
    class made(MemoryStore):
        def write(self, records, failures=()):
            super().write(records, failures)
            for failure in failures:
                grades = {k: g for k, g in self._state.grades.items() if k != failure.key}
                self._grades.pop(failure.key, None)
                self._change(grades=grades)
