"""The how-to page on verifiers, from its first command to its last, with a small LLM.

The page names SmolLM2, which takes long and is seldom right. Here the seeded backend reads
solutions that are given, half of them right, as it would those that it had made.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from evaluation_stores import solution
from pages import Command, Page, check_shown, parts, run_command
from services import client, opened, running

PAGE = Page("how-to/verify-reasoning.md")
SMALL = "--set model.width=16 --set model.heads=2 --set model.depth=1 --epochs 1"
INSTEAD = {
    "--problems problems.jsonl --samples 8 --model smollm2": (
        "--traces problems.jsonl --model m --backend seeded"
    ),
    "--problems new.jsonl --samples 8 --model smollm2": (
        "--traces new.jsonl --model m --backend seeded"
    ),
    "--model smollm2 --split": "--problems 8 --model m --backend seeded --split",
    "--problems 100": "--problems 4",
    "damage runs/samples --model smollm2": (
        "damage runs/samples --problems 8 --model m --backend seeded"
    ),
    "--objective verifier": f"--objective verifier {SMALL}",
}


def write_problems(name: str, count: int, first: int = 0) -> None:
    """Problems, and what an LLM would make of them: a right solution and a wrong one each."""
    rows = []
    for i in range(first, first + count):
        right, wrong = solution(i + 2), solution(i + 2, slips=1)
        rows.append(
            {
                "id": f"seats-{i}",
                "question": f"How many seats are in two rows of {i + 2}?",
                "answer": str(i + 2),
                "solutions": [right, wrong],
            }
        )
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(command: Command) -> str:
    theirs = next((one for one in INSTEAD if one in command.line), "")
    return run_command(command, {theirs: INSTEAD[theirs]} if theirs else {})


def rows_of(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


def test_the_page_from_problems_to_the_best_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_problems("problems.jsonl", 60)
    write_problems("new.jsonl", 4, first=1000)
    text = PAGE.text
    assert all("answer" in json.loads(row) for row in PAGE.take("json"))
    commands = [part for part in parts(PAGE) if isinstance(part, Command)]
    *told, serve, ask = commands
    assert len(told) == 9
    for command in told:
        check_shown(command, run(command))

    assert len(rows_of("scores.jsonl")) == 120
    assert {"right", "wrong_step", "answer"} <= set(rows_of("scores.jsonl")[0])
    assert all("wrong" in step for step in rows_of("scores.jsonl")[0]["steps"])
    assert Path("steps.svg").exists()
    for row in rows_of("best.jsonl"):
        assert row["by"] == "right"
    voted = rows_of("voted.jsonl")
    assert len(voted) == 4
    for row in voted:
        assert row["answer"] == row["votes"][0]["answer"]
        assert set(re.findall(r"^\| `(\w+)`", text, re.M)) <= set(row)

    [code] = PAGE.take("python")
    printed = StringIO()
    monkeypatch.setattr(sys, "stdout", printed)
    exec(code, {})
    assert [line.split()[:2] for line in printed.getvalue().splitlines()] == [
        [row["problem_id"], row["answer"]] for row in voted
    ]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)

    # What is served is opened as the command does it; the request is the page's own.
    names = dict(zip(*[iter(shlex.split(serve.line)[2:])] * 2, strict=True))
    assert names == {
        "--world-model": "runs/verifier", "--model": "smollm2", "--store": "runs/new",
    }  # fmt: skip
    words = shlex.split(ask.line)
    assert words[2] == "localhost:8100/rank"
    with (
        opened("runs/verifier", "runs/new", model="m") as served,
        running(served) as address,
        client(address) as caller,
    ):
        answer = caller.post("/rank", json=json.loads(words[-1]))
        assert answer.status_code == 200, answer.text
        facts = answer.json()
    assert [vote["answer"] for vote in facts["votes"]] in (["10", "7"], ["7", "10"])
    PAGE.finish()
