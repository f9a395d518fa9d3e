"""Problems given in Python: what they become, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rjepa_core as rj
from rjepa_core.domain.problem import derived_id
from rjepa_core.errors import ArgumentError, SettingsError

ROW = {"id": "pears", "question": "How many pears?", "answer": "2 + 3 = <<2+3=5>>5\n#### 5"}


def run(store: Path, given: Any, **more: Any) -> rj.Summary:
    sections = {"backend": "seeded", "scheduler": "fixed", **more}
    settings = rj.ExtractionSettings(model="m", store=store, **sections)
    return rj.run_extraction(settings, problems=given)


def test_dicts_problems_and_statements(tmp_path: Path) -> None:
    own = rj.Problem("apples", "How many apples?", "code")
    rows = [ROW, own, "What is 2 + 3?", {"problem": "Why?", "id": 7, "level": 3, "domain": None}]
    assert run(tmp_path / "s", rows).store.records == 4
    with rj.open_store(tmp_path / "s") as store:
        pears = store["pears"].trace.problem
        assert (pears.statement, pears.answer, pears.domain) == ("How many pears?", "5", "math")
        assert store["apples"].trace.problem == own
        assert derived_id("math", "What is 2 + 3?") in store
        assert store["7"].trace.problem.metadata["level"] == "3"
        [asked] = [entry for entry in store.history() if entry["kind"] == "extract"]
        assert asked["problems"]["sources"] == ["python"]


def test_the_same_call_resumes(tmp_path: Path) -> None:
    run(tmp_path / "s", [ROW])
    again = run(tmp_path / "s", [ROW, "Why?"], run={"resume": True}, problems={"domain": "math"})
    assert (again.before.stored, again.progress.records) == (1, 1)


@pytest.mark.parametrize(
    ("problems", "message"),
    [
        ([], "problems: got none"),
        (ROW, "problems: got dict, expected a list"),
        ("How?", "problems: got str, expected a list"),
        ([ROW, 3], r"problems\[1\]: got int"),
        ([{"text": "Why?"}], r"problems\[0\]: has no statement; it has text"),
        ([{"question": "Why?", "choices": ["a"]}], r"problems\[0\].choices: got list"),
        ([{"question": ["Why?"]}], r"problems\[0\].question: got list"),
    ],
)
def test_what_is_no_problem_is_refused(tmp_path: Path, problems: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        run(tmp_path / "s", problems)
    assert not (tmp_path / "s").exists()


def test_one_or_the_other(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"the settings name others \(demo\)"):
        run(tmp_path / "s", [ROW], problems="demo")


@pytest.mark.parametrize(
    "problems", [[ROW], ROW, [rj.Problem.make("Why?")], rj.Problem.make("Why?"), {"sources": ROW}]
)
def test_settings_that_are_given_problems_say_where_they_go(problems: Any) -> None:
    with pytest.raises(SettingsError, match=r"run_extraction\(settings, problems=") as raised:
        rj.ExtractionSettings(model="m", store="s", problems=problems)
    assert "\n" not in str(raised.value)
