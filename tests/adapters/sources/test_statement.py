"""A problem is posed whole: what belongs together is joined, what is left out is told."""

from __future__ import annotations

import json
import warnings

import pytest

from rjepa_core.domain.problem import derived_id
from rjepa_core.errors import InputError

SVAMP = {
    "ID": "chal-1",
    "Body": "Each pack of dvds costs 76 dollars.",
    "Question": "How much do you have to pay to buy each pack?",
    "Equation": "( 76.0 - 25.0 )",
    "Answer": 51.0,
    "Type": "Subtraction",
}
MBPP = {
    "task_id": 601,
    "text": "Write a function to find the longest chain.",
    "code": "def f(x):\n    return x",
    "test_list": ["assert f(1) == 1", "assert f(2) == 2"],
    "test_setup_code": "",
    "challenge_test_list": [],
}


@pytest.fixture(autouse=True)
def _no_warning_but_those_expected():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize(
    ("record", "statement"),
    [
        (
            SVAMP,
            "Each pack of dvds costs 76 dollars.\n\nHow much do you have to pay to buy each pack?",
        ),
        (
            {"body": "Two apples.", "question": "How many?", "formula": "2=2"},
            "Two apples.\n\nHow many?",
        ),
        (
            {"question": "Who scored?", "passage": "The Raiders stayed home."},
            "The Raiders stayed home.\n\nWho scored?",
        ),
        (
            {"context": "A school has a statue.", "title": "UND", "question": "Of whom?"},
            "A school has a statue.\n\nOf whom?",
        ),
        (
            {"context": ["One fact here.", "Another fact."], "question": "Why?"},
            "One fact here.\nAnother fact.\n\nWhy?",
        ),
        ({"premise": "It rained all day.", "question": "effect"}, "It rained all day.\n\neffect"),
        ({"instruction": "Give three tips.", "input": "", "output": "Eat."}, "Give three tips."),
        ({"instruction": "Give three tips.", "input": None}, "Give three tips."),
        (
            {"instruction": "Translate.", "input": "Good day", "output": "Bonjour"},
            "Translate.\n\nGood day",
        ),
        ({"instruction": "", "input": "Good day"}, "Good day"),
        (
            {"instruction": "When?", "context": "It began in the year 2000.", "response": "2000"},
            "When?\n\nIt began in the year 2000.",
        ),
        (
            MBPP,
            "Write a function to find the longest chain.\n\n"
            "Your code should pass these tests:\nassert f(1) == 1\nassert f(2) == 2",
        ),
    ],
)
def test_what_belongs_together_is_joined(read_rows, record, statement):
    [row] = read_rows(record)
    assert row.problem.statement == statement
    assert all(name not in row.problem.metadata for name in ("Body", "passage", "input"))


@pytest.mark.parametrize(
    "record",
    [
        {"question": "  Why?\n", "context": "algebra", "source": "a book of seven words or more"},
        {
            "question": "As told: A school has a statue. Of whom?",
            "context": "A school has a statue.",
        },
        {"problem": "Why?", "passage": ""},
        {"problem": "Why?", "solution": "Since it is so, and then it is not."},
        {
            "question": "Why?",
            "final_answer": "0",
            "topic": "Mathematics -> Precalculus -> Sums -> a -> b",
            "r1_solution_1": "Okay, so I have this long solution here",
        },
        {"question": "What is a+b for a=3, b=4?", "a": "3", "b": "4", "answer": "7"},
        {
            "problem": "Why?",
            "level": "Level 1",
            "type": "Algebra",
            "link": "https://a.b/" + "c" * 200,
        },
        {
            "prompt": "def f():\n",
            "test": "def check(f):\n    assert f() is None and f() is None",
            "entry_point": "f",
            "canonical_solution": "    pass",
        },
    ],
)
def test_what_was_whole_stays_as_it_is(read_rows, record):
    statement = next(record[k] for k in ("question", "problem", "prompt") if k in record)
    [row] = read_rows(record)
    assert row.problem.statement == statement
    assert row.problem.id == derived_id(row.problem.domain, statement)


def test_answers_and_domains_of_known_sets(read_rows):
    svamp, mbpp = read_rows(SVAMP, MBPP)
    assert (svamp.problem.id, svamp.problem.answer) == ("chal-1", "51")
    assert (mbpp.problem.id, mbpp.problem.domain) == ("601", "code")
    [row] = read_rows(MBPP, traces=("here",))
    assert [one.text for one in row.solutions] == [MBPP["code"]]
    [row] = read_rows({"instruction": "Do.", "output": "Done."}, traces=("here",))
    assert [one.text for one in row.solutions] == ["Done."]


@pytest.mark.parametrize(
    ("record", "field", "how"),
    [
        (
            {"question": "Why?", "scenario": "Ann walks to school on every day."},
            "scenario",
            "statement=scenario+question",
        ),
        ({"question": "Why?", "notes_1": "x" * 120}, "notes_1", "statement=notes_1+question"),
        (
            {"question": "Why?", "facts": ["one two three", "four five six"]},
            "facts",
            "statement=facts+question",
        ),
        (
            {"problem": "Why?", "context": "A school has a statue."},
            "context",
            "statement=context+problem",
        ),
        (
            {"question": "Why?", "instruction": "Answer in one word."},
            "instruction",
            "statement=instruction+question",
        ),
        (
            {"question": "Why?", "context": {"title": ["A"], "sentences": [["Long."]]}},
            "context",
            "write it into",
        ),
        (
            {"question": "Why?", "system_prompt": "You are an assistant that helps people."},
            "system_prompt",
            "statement=system_prompt+question",
        ),
    ],
)
def test_a_text_in_no_prompt_is_told_once(read_rows, record, field, how):
    with pytest.warns(UserWarning, match="is in no prompt") as told:
        read_rows(record, record)
    [warning] = told
    assert f"rows.jsonl:1: the field {field!r} is in no prompt" in str(warning.message)
    assert how in str(warning.message)


def test_a_source_tells_it_once_however_often_it_is_read(open_source, tmp_path):
    path = tmp_path / "f.jsonl"
    row = {"question": "Why?", "scenario": "Ann walks to school on every day."}
    path.write_text(json.dumps(row) + "\n")
    source = open_source(path)
    with pytest.warns(UserWarning, match="scenario"):
        list(source.rows())
    list(source.rows())


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"statement": "Body+Question"}, (SVAMP["Body"] + "\n\n" + SVAMP["Question"], "chal-1")),
        (
            {"statement": " Question + Body + Type "},
            (SVAMP["Question"] + "\n\n" + SVAMP["Body"] + "\n\nSubtraction", "chal-1"),
        ),
        ({"id": "Type+ID"}, (SVAMP["Body"] + "\n\n" + SVAMP["Question"], "Subtraction-chal-1")),
    ],
)
def test_fields_are_joined_by_name(read_rows, fields, found):
    [row] = read_rows(SVAMP, fields=fields)
    assert (row.problem.statement, row.problem.id) == found


def test_other_fields_are_joined_too(read_rows):
    record = {
        "question": "Why?",
        "number": 5,
        "unit": "apples",
        "area": "sums",
        "thinking": "It is so.",
        "text": "Thus 5.",
        "first": ["a", "b"],
        "last": "c",
    }
    fields = {
        "answer": "number+unit",
        "subdomain": "area+unit",
        "solution": "thinking+text",
        "domain": "area",
    }
    [row] = read_rows(record, fields=fields, traces=("here",))
    assert (row.problem.answer, row.problem.subdomain) == ("5 apples", "sums-apples")
    assert row.solutions[0].text == "It is so.\n\nThus 5."
    [row] = read_rows(record, fields={"steps": "first+last"}, traces=("here",))
    assert row.solutions[0].steps == ("a", "b", "c")


def test_a_field_whose_name_has_a_plus(read_rows):
    [row] = read_rows({"a+b": "What is it?", "a": "no"}, fields={"statement": "a+b"})
    assert row.problem.statement == "What is it?"


def test_fields_within_fields(read_rows):
    record = {
        "prompt": "Why?",
        "reward_model": {"style": "rule", "ground_truth": "7"},
        "extra_info": {"index": 3, "split": "test"},
    }
    [row] = read_rows(record)
    assert row.problem.answer == "7"
    [row] = read_rows(record, fields={"id": "extra_info.split+extra_info.index"})
    assert row.problem.id == "test-3"
    [row] = read_rows(record, fields={"answer": "reward_model.style"})
    assert row.problem.answer == "rule"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"statement": "Bdy+Question"}, "no field 'Bdy' .*; did you mean 'Body'"),
        ({"statement": "Body.text"}, "no field 'Body.text'"),
        ({"statement": "Body+"}, "no field ''"),
        ({"statement": "Body+extra"}, "'extra' is an object; it must be a text"),
    ],
)
def test_a_part_that_cannot_be_joined(read_rows, fields, says):
    with pytest.raises(InputError, match=rf"rows\.jsonl:1: .*{says}"):
        read_rows({**SVAMP, "extra": {"a": 1}}, fields=fields)


def test_a_csv_of_parts(read, tmp_path, writers):
    path = writers["csv"](tmp_path / "f.csv", [SVAMP])
    [row] = read(path)
    assert row.problem.statement == SVAMP["Body"] + "\n\n" + SVAMP["Question"]
    [row] = read(path, fields={"statement": "Question+Body"})
    assert row.problem.statement == SVAMP["Question"] + "\n\n" + SVAMP["Body"]
