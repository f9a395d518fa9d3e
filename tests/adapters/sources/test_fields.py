"""Which field is what, in the usual forms and in the user's own."""

from __future__ import annotations

import pytest

from rjepa_core.domain.problem import derived_id
from rjepa_core.errors import InputError, UsageError

GSM8K = {
    "question": "Eva has 48 apples and eats half. How many remain?",
    "answer": "She eats 48/2 = <<48/2=24>>24.\nSo 48-24 = <<48-24=24>>24 remain.\n#### 24",
}
MATH = {
    "problem": "What is $\\frac{1}{2}+\\frac{1}{4}$?",
    "level": "Level 2",
    "type": "Prealgebra",
    "solution": "First \\boxed{\\frac12} is not it. We get $\\boxed{\\frac{3}{4}}$ in all.",
}
HUMAN_EVAL = {
    "task_id": "HumanEval/0",
    "prompt": "def double(x):\n    '''Twice x.'''\n",
    "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n" * 8,
    "entry_point": "double",
}
ORIGINAL = {
    "problem_id": "p-7",
    "statement": "Two and two?",
    "domain": "arithmetic",
    "subdomain": "sums",
    "cot_id": "c-1",
    "cot": ["Two and two is four.", "So four."],
}


def test_gsm8k(read_rows):
    [row] = read_rows(GSM8K)
    problem = row.problem
    assert problem.statement == GSM8K["question"]
    assert (problem.answer, problem.domain, problem.subdomain) == ("24", "math", None)
    assert problem.id == derived_id("math", GSM8K["question"])
    assert problem.metadata == {}
    assert row.solutions == ()
    assert row.where.endswith("rows.jsonl:1")


def test_math(read_rows):
    [row] = read_rows(MATH)
    assert row.problem.statement == MATH["problem"]
    assert row.problem.answer == "\\frac{3}{4}"
    assert row.problem.subdomain == "Prealgebra"
    assert row.problem.domain == "math"
    assert row.problem.metadata == {"level": "Level 2"}


def test_human_eval(read_rows):
    [row] = read_rows(HUMAN_EVAL)
    assert (row.problem.id, row.problem.domain) == ("HumanEval/0", "code")
    assert row.problem.statement == HUMAN_EVAL["prompt"]
    # The test is long, and a solution is no property of the problem.
    assert row.problem.metadata == {"entry_point": "double"}


def test_the_original_projects_form(read_rows):
    [row] = read_rows(ORIGINAL)
    problem = row.problem
    assert (problem.id, problem.domain, problem.subdomain) == ("p-7", "arithmetic", "sums")
    assert problem.metadata == {}


def test_three_files_bring_three_domains_and_one_flag_overrides(read_rows):
    rows = read_rows(GSM8K, HUMAN_EVAL, ORIGINAL)
    assert [r.problem.domain for r in rows] == ["math", "code", "arithmetic"]
    rows = read_rows(GSM8K, HUMAN_EVAL, ORIGINAL, domain="puzzles")
    assert {r.problem.domain for r in rows} == {"puzzles"}
    assert rows[0].problem.id == derived_id("puzzles", GSM8K["question"])


@pytest.mark.parametrize("name", ["statement", "question", "problem", "prompt", "input"])
@pytest.mark.parametrize("spell", [str, str.upper, str.title])
def test_names_of_the_statement_in_any_case(read_rows, name, spell):
    [row] = read_rows({"other": "x", spell(name): "Why?"})
    assert row.problem.statement == "Why?"


@pytest.mark.parametrize("name", ["problem_id", "id", "uid", "unique_id", "task_id", "Problem ID"])
def test_names_of_the_id(read_rows, name):
    [row] = read_rows({name: " a1 ", "question": "Why?"})
    assert row.problem.id == "a1"


@pytest.mark.parametrize("given", [3, 3.0, "3"])
def test_numbers_become_the_same_id_as_their_text(read_rows, given):
    assert read_rows({"id": given, "question": "Why?"})[0].problem.id == "3"


@pytest.mark.parametrize("given", [None, "", "  ", float("nan")])
def test_an_empty_id_is_none(read_rows, given):
    [row] = read_rows({"id": given, "question": "Why?"})
    assert row.problem.id == derived_id("math", "Why?")


def test_the_id_can_be_left_out(read_rows):
    [row] = read_rows({"id": 1, "question": "Why?"}, fields={"id": ""})
    assert row.problem.id == derived_id("math", "Why?")


def test_a_solutions_id_is_not_its_problems(read_rows):
    [row] = read_rows({"cot_id": "c1", "question": "Why?"})
    assert row.problem.id == derived_id("math", "Why?")


@pytest.mark.parametrize(
    ("record", "answer"),
    [
        ({"answer": "42"}, "42"),
        ({"answer": 42}, "42"),
        (
            {"answer": "def f(x): return x if x > 0 else - x"},
            "def f(x): return x if x > 0 else - x",
        ),
        ({"answer": 0.5}, "0.5"),
        ({"answer": ["a", "b"]}, '["a", "b"]'),
        ({"answer": "Four.\nA: 4"}, "4"),
        ({"answer": "Four.\n**Answer:** 4"}, "4"),
        ({"answer": "Four.\n#### 1,000\n"}, "1,000"),
        ({"answer": "One line,\nanother, and no mark"}, None),
        ({"answer": "", "solution": "so \\boxed{7}"}, "7"),
        ({"answer": "8", "solution": "so \\boxed{7}"}, "8"),
        ({"solution": "so \\boxed{7}", "is_correct": False}, None),
        ({"response": "so \\boxed{7}"}, None),
        ({"ground_truth": "It is 5.\nA: 5"}, "5"),
        ({"solution": "an open \\boxed{7"}, None),
        ({"solution": "plain \\boxed 7 so"}, "7"),
        ({"solution": "sets \\boxed{\\{1,2\\}}"}, "\\{1,2\\}"),
    ],
)
def test_reference_answers(read_rows, record, answer):
    assert read_rows({"question": "Why?", **record})[0].problem.answer == answer


def test_other_short_values_are_kept_as_text(read_rows):
    [row] = read_rows(
        {
            "question": "Why?",
            "year": 2024,
            "hard": True,
            "note": "n",
            "long": "x" * 500,
            "deep": {"a": 1},
            "gap": None,
        }
    )
    assert row.problem.metadata == {"year": "2024", "hard": "true", "note": "n"}


def test_the_users_names_go_before_the_usual_ones(read_rows):
    record = {"question": "no", "body": "yes", "id": "no", "nr": 5, "topic": "t", "gold": "g w"}
    names = {"statement": "body", "id": "nr", "subdomain": "topic", "answer": "gold"}
    problem = read_rows(record, fields=names)[0].problem
    assert problem.statement == "yes"
    assert (problem.id, problem.subdomain, problem.answer) == ("5", "t", "g w")


def test_a_name_on_the_left_must_be_ours(open_source, tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_text('{"question": "Why?"}\n')
    with pytest.raises(UsageError, match=r"'statment'.*did you mean 'statement'.*known: statement"):
        open_source(path, fields={"statment": "question"})
    with pytest.raises(UsageError, match="needs its statement"):
        open_source(path, fields={"statement": ""})


def test_a_named_field_must_be_there(read_rows):
    with pytest.raises(InputError) as caught:
        read_rows({"question": "a"}, {"text": "b"}, fields={"statement": "question"})
    message = str(caught.value)
    assert "rows.jsonl:2: no field 'question' (problems.fields.statement=question)" in message
    assert "'text'" in message


@pytest.mark.parametrize(
    ("record", "hint"),
    [
        ({"qestion": "short", "note": "a much longer text than it"}, "statement=qestion"),
        ({"id": "a", "text": "a longer text", "year": 3}, "statement=text"),
        ({"id": "only-an-id-here"}, "statement=NAME"),
    ],
)
def test_the_likeliest_statement_is_suggested(read_rows, record, hint):
    with pytest.raises(InputError, match=hint) as caught:
        read_rows(record)
    assert all(repr(name) in str(caught.value) for name in record)
