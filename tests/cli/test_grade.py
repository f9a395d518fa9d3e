"""`rjepa-cli grade`, and where else grades are shown."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from rjepa_core import open_store

from .conftest import command, only_line
from .store_helpers import facts

Invoke = Callable[..., Result]
HANGS = "9^{9^{9^{9}}}"
ROWS = [
    {
        "id": "a",
        "question": "9 + 9?",
        "answer": "18",
        "solutions": ["Step 1: so.\nAnswer: 18", "Step 1: so.\n#### 18", "Step 1: hm.\nAnswer: 2"],
    },
    {"id": "b", "question": "None?", "solutions": ["Step 1: so.\nAnswer: 1"]},
    {"id": "c", "question": "f?", "domain": "code", "answer": "f", "solutions": ["Step 1: so."]},
]


@pytest.fixture
def given(home: Path, extract: Invoke) -> str:
    (home / "given.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert extract(problems=("--traces", "given.jsonl")).exit_code == 0
    return "s"


def test_grade(given: str, invoke: Invoke) -> None:
    result = invoke("grade", given)
    assert result.exit_code == 0, result.stderr
    assert "graded: 5 records of s by math" in result.stdout
    assert "grades      2 right, 1 wrong (by math 1, math-verify" in result.stdout
    assert "ungraded    2: 1 code is not run, 1 no expected answer" in result.stdout
    assert "pass@2      100.0 %" in result.stdout
    found = facts(invoke("grade", given, "--json"))
    assert (found["graded"], found["kept"], found["right"]) == (0, 5, 2)
    assert found["accuracy"]["value"] == pytest.approx(2 / 3, abs=1e-6)
    assert facts(invoke("grade", given, "--json", "--again"))["graded"] == 5


def test_it_is_shown(given: str, invoke: Invoke) -> None:
    assert "grades" not in invoke("show", given).stdout
    assert "grades" not in facts(invoke("show", given, "--json"))
    invoke("grade", given, "--grader", "exact")
    assert "grades      2 right, 1 wrong (by exact 1)" in invoke("show", given).stdout
    assert facts(invoke("show", given, "--json"))["grades"]["right"] == 2
    assert "grade    wrong: '2', by exact" in invoke("show", given, "a#2").stdout
    assert facts(invoke("show", given, "a#2", "--json"))["grade"]["mark"] == "wrong"
    assert "grade       5 records by exact" in invoke("show", given, "--history").stdout


def test_another_grader_grades_again(given: str, invoke: Invoke) -> None:
    invoke("grade", given, "--grader", "exact")
    assert facts(invoke("grade", given, "--json"))["graded"] == 5


def test_exports_and_merges_take_it_along(given: str, invoke: Invoke) -> None:
    invoke("grade", given, "--grader", "exact")
    assert invoke("store", "export", given, "out").exit_code == 0
    assert invoke("store", "import", "out", "back").exit_code == 0
    merged = invoke("store", "merge", "all", given)
    assert "5 grades added" in merged.stdout
    for place in ("back", "all"):
        with open_store(place) as store:
            assert len(list(store.grades())) == 5  # type: ignore[attr-defined]


def test_mistakes_are_one_line(given: str, invoke: Invoke) -> None:
    for arguments, message in (
        (["nowhere"], "nowhere: no such directory"),
        ([given, "--grader", "maths"], "unknown grader 'maths'; did you mean 'math'?"),
        ([given, "--set", "grader.seconds=0"], "grader.seconds"),
        ([given, "--set", "grader.second=1"], "did you mean grader.seconds?"),
        (["memory:none"], "memory"),
    ):
        result = invoke("grade", *arguments)
        assert result.exit_code in (1, 2), arguments
        assert message in only_line(result.stderr)


def test_an_extraction_grades_at_its_end(home: Path, extract: Invoke) -> None:
    (home / "given.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    traces = ("--traces", "given.jsonl")
    result = extract("--grade", problems=traces)
    assert result.exit_code == 0, result.stderr
    assert "grades      2 right, 1 wrong (by math 1" in result.stdout
    found = facts(extract("--grade", "exact", "--resume", "--json", problems=traces))
    assert (found["records"], found["grades"]["graders"]) == (0, {"exact 1": 5})
    assert "grades" not in facts(extract("--resume", "--json", problems=traces))


def test_an_unknown_grader_is_refused_before_the_run(extract: Invoke) -> None:
    result = extract("--grade", "maths")
    assert result.exit_code == 2
    assert "unknown grader 'maths'" in only_line(result.stderr)
    assert not Path("s").exists()


def test_a_signal_does_not_wait_for_the_batch(home: Path, extract: Invoke) -> None:
    rows = [
        {"id": f"q{i}", "question": f"{i}?", "answer": "18", "solution": f"So.\n\\boxed{{{HANGS}}}"}
        for i in range(40)
    ]
    (home / "given.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert extract(problems=("--traces", "given.jsonl")).exit_code == 0
    with subprocess.Popen(
        command("grade", "s", "--set", "grader.seconds=60"), stderr=subprocess.PIPE, text=True
    ) as process:
        time.sleep(4)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        _, said = process.communicate(timeout=30)
        assert time.monotonic() - began < 10
    assert process.returncode == 130, said
    assert "interrupted; what was graded is kept" in only_line_of(said)
    with open_store("s", "write") as store:
        assert list(store.grades()) == []  # type: ignore[attr-defined]


def only_line_of(text: str) -> str:
    return text.strip().splitlines()[-1]
