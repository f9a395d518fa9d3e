"""Problems that are conversations: the user's last message is posed, and nothing else is lost."""

from __future__ import annotations

import json
import warnings

import pytest

from rjepa_core.errors import InputError

ASKED = {"role": "user", "content": "What is 2+2?"}
REPLY = {"role": "assistant", "content": "It is 4.\n#### 4"}
SYSTEM = {"role": "system", "content": "You are a tutor."}


@pytest.fixture(autouse=True)
def _no_warning_but_those_expected():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": [ASKED]},
        {"messages": [ASKED]},
        {"messages": [ASKED, REPLY]},
        {"prompt": [ASKED], "messages": [ASKED, REPLY]},
        {"prompt": "What is 2+2?", "messages": [ASKED, REPLY]},
        {
            "conversations": [
                {"from": "human", "value": "What is 2+2?"},
                {"from": "gpt", "value": "4"},
            ]
        },
        {"conversation": [{"role": "User", "content": "What is 2+2?"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is 2+2?"}]}]},
        {"messages": {"role": ["user", "assistant"], "content": ["What is 2+2?", "4"]}},
        {"messages": json.dumps([ASKED, REPLY])},
    ],
)
def test_the_users_message_is_the_statement(read_rows, record):
    [row] = read_rows(record)
    assert row.problem.statement == "What is 2+2?"
    assert row.solutions == ()


def test_the_reply_is_a_solution_and_holds_the_answer(read_rows):
    [row] = read_rows({"messages": [ASKED, REPLY]}, traces=("here",))
    assert [one.text for one in row.solutions] == [REPLY["content"]]
    assert row.problem.answer == "4"
    [row] = read_rows({"messages": [ASKED, REPLY], "solution": "Four."}, traces=("here",))
    assert [one.text for one in row.solutions] == ["Four."]


def test_sets_with_verified_answers(read_rows):
    [row] = read_rows(
        {
            "data_source": "math",
            "prompt": [ASKED],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": "4"},
            "extra_info": {"index": 0},
        }
    )
    assert (row.problem.statement, row.problem.answer) == ("What is 2+2?", "4")


def test_a_system_message_is_told_once(read_rows):
    with pytest.warns(UserWarning, match="system") as told:
        read_rows({"messages": [SYSTEM, ASKED, REPLY]}, {"messages": [SYSTEM, ASKED]})
    [warning] = told
    message = str(warning.message)
    assert "rows.jsonl:1: the system's message in 'messages' (You are a tutor.)" in message
    assert "prompt.system" in message
    assert "statement=messages.system+messages.user" in message


def test_a_system_message_is_joined_where_the_user_says_so(read_rows):
    record = {"messages": [SYSTEM, ASKED, REPLY]}
    named = {"statement": "messages.system+messages.user"}
    [row] = read_rows(record, fields=named, traces=("here",))
    assert row.problem.statement == "You are a tutor.\n\nWhat is 2+2?"
    assert [one.text for one in row.solutions] == [REPLY["content"]]


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([ASKED, REPLY, ASKED], "has 2 other messages before the user's last"),
        ([REPLY, ASKED], "has 1 other message before the user's last"),
        ([ASKED, REPLY, ASKED, REPLY], "has 2 other messages"),
        ([SYSTEM], "has no message of the user's"),
        ([ASKED, {"role": "tool", "content": "4"}], "has a message of role 'tool'"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "holds 'image_url' beside text"),
        ([{"role": "user", "content": 3}], "holds 'int' beside text"),
    ],
)
def test_a_conversation_that_is_no_problem_is_refused(read_rows, messages, says):
    with pytest.raises(InputError, match=rf"rows\.jsonl:1: the conversation .*'messages' {says}"):
        read_rows({"messages": messages})


def test_an_empty_message_is_no_statement(read_rows):
    with pytest.raises(InputError, match="'messages' is empty"):
        read_rows({"messages": [{"role": "user", "content": " "}]})


def test_a_list_of_something_else_is_no_conversation(read_rows):
    with pytest.raises(InputError, match="the statement in field 'prompt' is a list"):
        read_rows({"prompt": ["What is 2+2?"]})


def test_a_csv_cell_holds_a_conversation_as_json(read, tmp_path, writers):
    path = writers["csv"](tmp_path / "f.csv", [{"messages": json.dumps([ASKED, REPLY])}])
    assert read(path)[0].problem.statement == "What is 2+2?"
