"""Multiple choice: the choices are posed, and the answer names one of them."""

from __future__ import annotations

import warnings

import pytest

from rjepa_core.errors import InputError

Q = {"question": "Which?"}
ABC = "\n\nA. red\nB. green\nC. blue"
COLOURS = ["red", "green", "blue"]


@pytest.fixture(autouse=True)
def _no_warning_but_those_expected():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize(
    ("record", "answer"),
    [
        ({"choices": COLOURS, "answer": 1}, "B"),
        ({"choices": COLOURS, "answer": 1.0}, "B"),
        ({"choices": COLOURS, "answer": "1"}, "B"),
        ({"choices": COLOURS, "answer": "B"}, "B"),
        ({"choices": COLOURS, "answer": "(b)"}, "B"),
        ({"choices": COLOURS, "answer": "green"}, "B"),
        ({"choices": COLOURS, "answer": "B. green"}, "B"),
        ({"choices": COLOURS, "answer": "It is not red.\n#### B"}, "B"),
        ({"choices": COLOURS, "answer": ["A", "C"]}, "A, C"),
        ({"choices": COLOURS, "answer": [2]}, "C"),
        ({"choices": COLOURS, "answer": -1}, None),
        ({"choices": COLOURS, "answerKey": ""}, None),
        ({"choices": COLOURS, "answer": "another colour"}, "another colour"),
        ({"choices": {"text": COLOURS, "label": ["A", "B", "C"]}, "answerKey": "C"}, "C"),
        ({"choices": {"text": COLOURS, "label": ["1", "2", "3"]}, "answerKey": "3"}, "C"),
        (
            {
                "choices": [
                    {"label": "A", "text": "red"},
                    {"label": "B", "text": "green"},
                    {"label": "C", "text": "blue"},
                ],
                "answerKey": "A",
            },
            "A",
        ),
        (
            {
                "options": {"A": "red", "B": "green", "C": "blue"},
                "answer": "green",
                "answer_idx": "B",
            },
            "B",
        ),
        ({"options": ["A)red", "B)green", "C)blue"], "rationale": "So.", "correct": "C"}, "C"),
        ({"options": "a ) red , b ) green , c ) blue", "correct": "a"}, "A"),
        ({"options": '["red", "green", "blue"]', "answer": "2"}, "C"),
        ({"opa": "red", "opb": "green", "opc": "blue", "cop": 2}, "C"),
        ({"option1": "red", "option2": "green", "option3": "blue", "answer": "3"}, "C"),
        ({"choice_a": "red", "choice_b": "green", "choice_c": "blue", "label": 0}, "A"),
        ({"A": "red", "B": "green", "C": "blue", "Answer": "C"}, "C"),
    ],
)
def test_forms(read_rows, record, answer):
    [row] = read_rows({**Q, **record})
    assert row.problem.statement == "Which?" + ABC
    assert row.problem.answer == answer


def test_numbers_are_texts_before_they_are_places(read_rows):
    numbers = {**Q, "choices": ["1", "2", "3", "0"]}
    assert read_rows({**numbers, "answer": "2"})[0].problem.answer == "B"
    assert read_rows({**numbers, "answer": 2})[0].problem.answer == "C"


@pytest.mark.parametrize(
    "statement",
    [
        "Which?\n(A) red\n(B) green\n(C) blue",
        "Which? a) red b) green c) blue",
        "Which?" + ABC,
    ],
)
def test_choices_that_stand_in_the_statement_are_not_posed_twice(read_rows, statement):
    [row] = read_rows({"prompt": statement, "choices": COLOURS, "answer": 2})
    assert row.problem.statement == statement
    assert row.problem.answer == "C"


def test_digits_in_a_statement_are_no_choices(read_rows):
    [row] = read_rows({"question": "What is 0 + 1 of 2 and 3?", "choices": ["0", "1", "2", "3"]})
    assert row.problem.statement.endswith("\n\nA. 0\nB. 1\nC. 2\nD. 3")


def test_a_passage_stands_before_and_the_choices_behind(read_rows):
    record = {"article": "Last week I talked with them.", **Q, "options": COLOURS, "answer": "A"}
    [row] = read_rows(record)
    assert row.problem.statement == "Last week I talked with them.\n\nWhich?" + ABC


def test_choices_that_the_user_leaves_out_are_told(read_rows):
    record = {"question": "Which?", "choices": COLOURS, "answer": 1}
    with pytest.warns(UserWarning, match="'choices' is in no prompt.*statement=question.choices"):
        [row] = read_rows(record, fields={"statement": "question"})
    assert (row.problem.statement, row.problem.answer) == ("Which?", "green")


@pytest.mark.parametrize(
    ("record", "named"),
    [
        ({"stem": "Which?", "choices": COLOURS, "answer": 1}, "stem+choices"),
        (
            {
                "stem": "Which?",
                "option1": "red",
                "option2": "green",
                "option3": "blue",
                "answer": "2",
            },
            "stem+choices",
        ),
        ({"stem": "Which?", "options": COLOURS, "answer": "B"}, "stem+options"),
    ],
)
def test_choices_are_joined_by_name(read_rows, record, named):
    [row] = read_rows(record, fields={"statement": named})
    assert (row.problem.statement, row.problem.answer) == ("Which?" + ABC, "B")


@pytest.mark.parametrize(
    ("answer", "says"),
    [(3, "3 is none of 3 choices, counted from 0"), ("F", "'F' is none of 3 choices")],
)
def test_an_answer_that_is_no_choice(read_rows, answer, says):
    with pytest.raises(InputError, match=rf"rows\.jsonl:1: the answer in field 'answer': {says}"):
        read_rows({**Q, "choices": COLOURS, "answer": answer})


@pytest.mark.parametrize(
    "record",
    [
        {"options": {"difficulty": 3, "seed": 4}},
        {"choices": ["one alone"]},
        {"choices": [{"message": {"content": "x"}}, {"message": {"content": "y"}}]},
        {"choices": None},
        {"a": "x", "b": "y", "answer": "7"},
        {"option": "x"},
    ],
)
def test_what_are_no_choices(read_rows, record):
    [row] = read_rows({**Q, **record})
    assert row.problem.statement == "Which?"


def test_the_letter_of_the_right_choice_is_no_label_of_a_solution(read_rows):
    record = {**Q, "options": COLOURS, "solution": "It is blue.", "correct": "C"}
    [row] = read_rows(record, traces=("here",))
    assert row.problem.answer == "C"
    assert row.solutions[0].metadata == {}
