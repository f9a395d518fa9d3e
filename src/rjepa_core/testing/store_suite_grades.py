"""What a store promises that keeps grades, as tests that its own tests inherit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from ..domain.grade import UNGRADED, WRONG
from ..domain.identity import Identity
from ..domain.trace import RecordKey
from ..errors import ArgumentError, StoreClosedError, StoreError
from ..ports.store import KeepsGrades, LatentStore
from .promises import raises
from .samples import Open, StoreCase, sample_failure, sample_grade, sample_record


class GradesContract(StoreCase):
    """Promises of the port `KeepsGrades`."""

    def keeping(self, store: LatentStore) -> Any:
        """The store, known to keep grades."""
        assert isinstance(store, KeepsGrades), "a store that keeps grades is a KeepsGrades"
        return store

    def test_a_new_store_has_none(self, store: LatentStore, identity: Identity) -> None:
        kept = self.keeping(store)
        assert list(kept.grades()) == [], "a new store has no grades"
        assert kept.grade(RecordKey("p-0")) is None, "grade() of an unknown key is None"
        store.write([sample_record(identity)])
        store.commit()
        assert kept.grade(RecordKey("p-0")) is None, "a record begins without a grade"

    def test_a_grade_is_kept_as_it_was(
        self, store: LatentStore, open_store: Open, identity: Identity
    ) -> None:
        kept = self.keeping(store)
        long_id, odd = "x" * 600, "\ud800 \0 #1"
        store.write([sample_record(identity, name) for name in ("p-0", long_id, odd)])
        grades = [
            sample_grade(),
            attrs.evolve(sample_grade(long_id, mark=WRONG), reason="", answer=None),
            attrs.evolve(sample_grade(odd, mark=UNGRADED), answer="\ud800\n\\frac{1}{2}"),
        ]
        kept.write_grades(grades)
        for grade in grades:
            assert kept.grade(grade.key) == grade, "grade() knows the uncommitted"
        assert list(kept.grades()) == [], "grades() gives the committed alone"
        store.close()
        again = self.keeping(open_store("read"))
        for grade in grades:
            assert again.grade(grade.key) == grade, "a grade is kept as it was written"
        found = {grade.key: grade for grade in again.grades()}
        assert found == {grade.key: grade for grade in grades}, "grades() gives each grade once"

    def test_a_reader_that_was_open_before_sees_them(
        self, store: LatentStore, open_store: Open, identity: Identity
    ) -> None:
        store.write([sample_record(identity)])
        store.commit()
        reader = self.keeping(open_store("read"))
        assert list(reader.grades()) == [], "a store without grades has none"
        self.keeping(store).write_grades([sample_grade()])
        assert reader.grade(RecordKey("p-0")) is None, "others do not see what is uncommitted"
        store.commit()
        assert reader.grade(RecordKey("p-0")) == sample_grade(), "a commit shows to other handles"
        assert list(reader.grades()) == [sample_grade()], "a commit shows to other handles"

    def test_a_later_grade_takes_the_place(self, store: LatentStore, identity: Identity) -> None:
        kept = self.keeping(store)
        store.write([sample_record(identity)])
        for commit in (True, False):
            kept.write_grades([sample_grade(mark=WRONG)])
            if commit:
                store.commit()
        later = sample_grade(version="2")
        kept.write_grades([later])
        store.commit()
        assert list(kept.grades()) == [later], "a later grade takes an earlier one's place"

    def test_a_grade_goes_with_its_record(self, store: LatentStore, identity: Identity) -> None:
        kept = self.keeping(store)
        for name in ("a", "b", "c", "d"):
            store.write([sample_record(identity, name)])
            kept.write_grades([sample_grade(name)])
        store.commit()
        store.write([sample_record(identity, "a", seed=1)])
        assert kept.grade(RecordKey("a")) is None, "a record that is written again has no grade"
        store.commit()
        assert kept.grade(RecordKey("a")) is None, "a record that is written again has no grade"
        store.delete([RecordKey("b")])
        assert kept.grade(RecordKey("b")) is None, "a deleted record has no grade"
        kept.write_grades([sample_grade("c", version="2")])
        store.write([sample_record(identity, "c", seed=1)])
        store.commit()
        assert [grade.key.problem_id for grade in kept.grades()] == ["d"], (
            "grades() gives those of the records as they are"
        )
        store.write([sample_record(identity, "b")])
        store.commit()
        assert kept.grade(RecordKey("b")) is None, "what is written anew begins without a grade"

    def test_a_failure_leaves_grades_alone(self, store: LatentStore, identity: Identity) -> None:
        kept = self.keeping(store)
        store.write([sample_record(identity)])
        kept.write_grades([sample_grade()])
        store.write([], [sample_failure("p-0"), sample_failure("f")])
        store.commit()
        assert list(kept.grades()) == [sample_grade()], "a failure takes no record's grade"

    def test_a_grade_needs_a_record(self, store: LatentStore, identity: Identity) -> None:
        kept = self.keeping(store)
        store.write([sample_record(identity)], [sample_failure("f")])
        for name in ("nobody", "f"):
            with raises(ArgumentError, "a grade needs a record", match=name):
                kept.write_grades([sample_grade(), sample_grade(name)])
        assert kept.grade(RecordKey("p-0")) is None, "all grades of a call are taken or none"
        bad: Any = "good"
        for no_grade in (None, "right", attrs.evolve(sample_grade(), mark=bad)):
            with raises(ArgumentError, "what is no grade is refused"):
                kept.write_grades([no_grade])
        store.commit()
        assert list(kept.grades()) == [], "what is refused is not kept"

    def test_readers_write_none(
        self, store: LatentStore, open_store: Open, identity: Identity
    ) -> None:
        store.write([sample_record(identity)])
        store.close()
        with raises(StoreError, "a handle that reads does not write", match="read"):
            self.keeping(open_store("read")).write_grades([sample_grade()])

    def test_a_closed_store_says_so(self, store: LatentStore) -> None:
        kept = self.keeping(store)
        store.close()
        uses: list[Callable[[], object]] = [
            lambda: kept.write_grades([sample_grade()]),
            lambda: kept.grade(RecordKey("p-0")),
            lambda: kept.grades(),
        ]
        for use in uses:
            with raises(StoreClosedError, "a closed store says so", match="this handle is closed"):
                use()
