"""Solutions for `--traces`, in every form that a row can hold them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rjepa_adapters.sources.solutions import drop_notes
from rjepa_core.errors import InputError

Q = {"question": "Why?"}
TRACES = {"traces": ("here",)}


def solutions(read_rows, record, **problems):
    [row] = read_rows({**Q, **record}, **TRACES, **problems)
    return row.solutions


def shapes(found):
    return [s.text if s.text is not None else list(s.steps) for s in found]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"solution": "one\ntwo"}, ["one\ntwo"]),
        ({"answer": "She has 3.\n#### 3"}, ["She has 3.\n#### 3"]),
        ({"answer": "3", "response": "It is three."}, ["It is three."]),
        ({"completion": "  return 2\n"}, ["  return 2\n"]),
        ({"canonical_solution": "    return 2\n"}, ["    return 2\n"]),
        ({"steps": ["one", "two"]}, [["one", "two"]]),
        ({"steps": ["one", " ", "two"]}, [["one", " ", "two"]]),
        ({"steps": ["", " "]}, [""]),
        ({"steps": [{"text": "one"}, {"content": "two"}]}, [["one", "two"]]),
        ({"cot": ["one", "two"]}, [["one", "two"]]),
        ({"cot": "one, then two"}, ["one, then two"]),
        ({"steps": '["one", "two"]'}, [["one", "two"]]),
        ({"steps": "[3] is a list"}, ["[3] is a list"]),
        ({"steps": "[3]"}, ["[3]"]),
        ({"steps": [["one", "two"], ["three"]]}, [["one", "two"], ["three"]]),
        ({"steps": None, "solution": "text"}, ["text"]),
        ({"steps": 4, "solution": "text"}, ["text"]),
        ({"steps": "", "solution": "text"}, ["text"]),
        ({"steps": [], "solution": "text"}, ["text"]),
        ({"solution": "cout << a; cin >> b"}, ["cout << a; cin >> b"]),
        ({"solutions": ["one", "two"]}, ["one", "two"]),
        ({"solutions": '["one", "two"]'}, ["one", "two"]),
        ({"solution": ["one", "two"]}, ["one", "two"]),
        ({"solutions": [["a", "b"], ["c"]]}, [["a", "b"], ["c"]]),
        ({"solutions": [{"text": "one"}, {"steps": ["a", "b"]}]}, ["one", ["a", "b"]]),
        ({"solutions": ["one", None]}, ["one", ""]),
    ],
)
def test_forms(read_rows, record, expected):
    assert shapes(solutions(read_rows, record)) == expected


@pytest.mark.parametrize(
    "record",
    [
        {"solution": ""},
        {"solution": " \n"},
        {"solution": None},
        {"solution": []},
        {"steps": []},
        {"steps": ["", " "]},
        {"answer": ""},
        {"response": "", "answer": "A worked way.\n#### 3"},
        {"solutions": [{"solution": None}]},
        {"solution": "<<1+1=2>>"},
    ],
)
def test_an_empty_solution_stays_a_solution(read_rows, record):
    [found] = solutions(read_rows, record)
    assert found.text is not None
    assert found.text.strip() == ""


def test_an_empty_solution_keeps_its_labels(read_rows):
    [found] = solutions(read_rows, {"steps": ["  "], "model": "m", "correct": False})
    assert found.metadata == {"model": "m", "correct": "false"}


def test_named_fields(read_rows):
    record = {"solution": "no", "way": "yes", "lines": ["a", "b"], "n": "3"}
    assert shapes(solutions(read_rows, record, fields={"solution": "way"})) == ["yes"]
    assert shapes(solutions(read_rows, record, fields={"steps": "lines"})) == [["a", "b"]]
    assert shapes(solutions(read_rows, record, fields={"solution": "lines"})) == ["a", "b"]
    assert shapes(solutions(read_rows, record, fields={"solution": "n"})) == ["3"]


def test_nested_by_model_with_labels(read_rows):
    record = {
        "ground_truth": "Two.\nA: 2",
        "small": {"solution": "1 = <<0+1=1>>1\nA: 1", "is_correct": False},
        "large": {"solution": "2\nA: 2", "is_correct": True},
    }
    small, large = solutions(read_rows, record)
    assert small.text == "1 = 1\nA: 1"
    assert small.metadata == {"model": "small", "correct": "false"}
    assert large.metadata == {"model": "large", "correct": "true"}


def test_labels_of_a_row_and_of_each_solution(read_rows):
    [one] = solutions(read_rows, {"solution": "x y", "is_correct": 1, "model": "m", "cot_id": 7})
    assert one.metadata == {"correct": "true", "model": "m", "cot_id": "7"}
    pair = solutions(read_rows, {"solutions": ["x", "y"], "correct": [True, "0"]})
    assert [s.metadata["correct"] for s in pair] == ["true", "false"]
    with pytest.raises(InputError, match="has 1 label for 2 solutions"):
        solutions(read_rows, {"solutions": ["x", "y"], "correct": [True]})


def test_notes_are_dropped_unless_kept_and_never_in_code(read_rows):
    record = {"steps": ["2*3 = <<2*3=6>>6", "6/2 = <<6/2=3>>3"]}
    assert shapes(solutions(read_rows, record)) == [["2*3 = 6", "6/2 = 3"]]
    assert shapes(solutions(read_rows, record, keep_notes=True)) == [record["steps"]]
    code = {"solution": "return a<<n>>b"}
    assert shapes(solutions(read_rows, code, domain="code")) == ["return a<<n>>b"]


def test_without_traces_solutions_are_not_looked_at(read_rows):
    [row] = read_rows({**Q, "solution": 5, "steps": {"a": 1}})
    assert row.solutions == ()


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {},
            "the row has 'question'; name its field: problems.fields.solution=NAME",
        ),
        ({"answer": "3"}, "no solution for problems.traces; the row has 'question', 'answer'"),
        ({"solution": 5}, "the solution in field 'solution' is a number; it must be a text"),
        ({"solutions": [5]}, "the solution in field 'solutions' is a number"),
        ({"steps": ["a", 3]}, "step 2 in field 'steps' is a number; it must be a text"),
        ({"solutions": [{"score": 1}]}, "an object without a text; it has 'score'"),
        ({"solution": "\ud800"}, "half a character"),
    ],
)
def test_bad_solutions(read_rows, record, message):
    with pytest.raises(InputError, match=rf"rows\.jsonl:1: .*{message}"):
        solutions(read_rows, record)


@given(st.text(st.sampled_from("<>=+12 a\n"), max_size=60))
def test_dropping_notes_twice_is_dropping_them_once(text):
    once = drop_notes(text)
    assert drop_notes(once) == once
    assert "<<1+1=2>>" not in once


@given(
    before=st.text(st.sampled_from("ab <\n"), max_size=10).filter(lambda t: not t.endswith("<")),
    after=st.text(st.sampled_from("ab \n"), max_size=10),
)
def test_nothing_but_the_note_goes(before, after):
    assert drop_notes(f"{before}<<48/2=24>>{after}") == before + after


def test_every_real_solution_is_read(open_source, shared_data):
    path = shared_data / "gsm8k_labelled_solutions_dev.jsonl"
    rows = list(open_source(path, **TRACES).rows())
    found = [s for row in rows for s in row.solutions]
    assert len(rows) == 500
    assert len(found) == 2000
    assert sum(s.metadata["correct"] == "true" for s in found) == 758
    assert {s.metadata["model"].split("_")[0] for s in found} == {"6b", "175b"}
    whole = ["<<" in s.text and ">>" in s.text for s in found]
    # Solutions that broke off inside a note, or before its end.
    assert sum(whole) <= 5
    first = json.loads(path.open(encoding="utf-8").readline())
    assert rows[0].problem.statement == first["question"]


def test_the_answer_of_real_gsm8k_is_its_solution(open_source, shared_data):
    rows = list(open_source(shared_data / "gsm8k_train.jsonl", **TRACES).rows())
    assert len(rows) == 7473
    assert len({row.problem.id for row in rows}) == 7473
    for row in rows:
        [solution] = row.solutions
        assert "<<" not in solution.text
        assert solution.text.endswith(f"#### {row.problem.answer}")
