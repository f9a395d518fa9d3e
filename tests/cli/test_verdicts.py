"""`score`, `rank` and `show` of a verifier: verdicts beside the surprise."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from evaluation_stores import (
    encode_solutions,
    entries,
    make_run,
    make_store,
    solution,
    statement,
)
from services import make_verifier, opened, running

import rjepa_core.plugins.registry
from rjepa_core.plugins.locate import open_store, open_world_model
from rjepa_core.scoring.surprise import score

from .conftest import Invoke, only_line

TEXTS = ("--model", "m", "--backend", "seeded", "--device", "cpu")


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A store of two solutions of each problem, the second with a wrong step, and a verifier."""
    return make_verifier(tmp_path_factory.mktemp("verdicts"))


def rows_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_step_has_its_verdict_beside_its_surprise(
    invoke: Invoke, home: Path, verified: tuple[str, str]
) -> None:
    store, run = verified
    words = ("score", store, "--world-model", run, "--device", "cpu", "--plot", "steps.svg")
    result = invoke(*words)
    assert result.exit_code == 0, result.stderr
    rows = rows_of(result.stdout)
    with open_store(store) as opened_store:
        keys = list(opened_store.keys())
        found = list(score(opened_store, keys, open_world_model(run, "cpu")))
    for row, wanted in zip(rows, found, strict=True):
        assert wanted.verdict is not None
        assert row["right"] == pytest.approx(wanted.verdict.right)
        assert [step["wrong"] for step in row["steps"]] == pytest.approx(
            wanted.verdict.wrong.tolist()
        )
        assert len(row["steps"]) == len(wanted.surprise)
        assert row["surprise"] == pytest.approx(float(wanted.surprise.mean()))
    named = [row["wrong_step"] for row in rows if row["sample"] == 1]
    assert sum(name is not None for name in named) > 0.9 * len(named)
    assert rows[0]["answer"]
    root = ET.parse(home / "steps.svg").getroot()
    texts = [one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}text")]
    marked = sum(row["wrong_step"] is not None for row in rows[:40])
    assert sum(text.startswith("✗ ") for text in texts) == marked
    assert sum(text.startswith("answer right: ") for text in texts) == 40


def test_the_probably_right_are_ranked_first(invoke: Invoke, verified: tuple[str, str]) -> None:
    store, run = verified
    result = invoke("rank", store, "--world-model", run, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    rows = rows_of(result.stdout)
    assert len(rows) == 60
    for row in rows:
        assert row["by"] == "right"
        rights = [one["right"] for one in row["ranked"]]
        assert rights == sorted(rights, reverse=True)
        assert all(one["score"] == one["right"] for one in row["ranked"])
        assert all(len(one["wrong"]) > one["worst"] for one in row["ranked"])
    assert sum(row["order"] == [0, 1] for row in rows) > 54
    voted = rows_of(
        invoke("rank", store, "--world-model", run, "--device", "cpu", "--by", "vote").stdout
    )
    for row, plain in zip(voted, rows, strict=True):
        # The two say different things, so that each has the vote of its own solution.
        assert row["order"] == plain["order"]
        assert row["answer"] == row["votes"][0]["answer"] == row["ranked"][0]["answer"]
        assert [vote["samples"] for vote in row["votes"]] == [[i] for i in row["order"]]
    mean = rows_of(
        invoke("rank", store, "--world-model", run, "--device", "cpu", "--by", "mean").stdout
    )
    assert [one["surprise"] for one in mean[0]["ranked"]] == sorted(
        one["surprise"] for one in mean[0]["ranked"]
    )


def test_texts_get_the_log_probabilities_that_are_needed(
    invoke: Invoke, home: Path, verified: tuple[str, str]
) -> None:
    given = [solution(5), solution(6).replace("#### 6", "#### 5.0"), solution(4)]
    row = {"id": "a", "question": statement(3), "solutions": given}
    (home / "texts.jsonl").write_text(json.dumps(row) + "\n")
    result = invoke("rank", "texts.jsonl", "--world-model", verified[1], *TEXTS, "--by", "vote")
    assert result.exit_code == 0, result.stderr
    [row] = rows_of(result.stdout)
    votes = {vote["answer"]: vote for vote in row["votes"]}
    assert votes["5"]["samples"] == [0, 1]
    rights = {one["sample"]: one["right"] for one in row["ranked"]}
    assert votes["5"]["weight"] == pytest.approx(rights[0] + rights[1])
    # As a store of the same texts.
    stored = encode_solutions(home / "texts.jsonl", home / "stored")
    again = invoke("rank", stored, "--world-model", verified[1], "--device", "cpu")
    assert {one["sample"]: one["right"] for one in rows_of(again.stdout)[0]["ranked"]} == (
        pytest.approx(rights, rel=1e-4)
    )


def test_a_service_ranks_as_the_run_does(invoke: Invoke, verified: tuple[str, str]) -> None:
    store, run = verified
    local = invoke("rank", store, "--world-model", run, "--device", "cpu", "--limit", "8")
    with opened(run) as served, running(served) as address:
        remote = invoke("rank", store, "--world-model", address, "--limit", "8")
    assert remote.exit_code == 0, remote.stderr
    for one, other in zip(rows_of(local.stdout), rows_of(remote.stdout), strict=True):
        assert (one["by"], one["order"]) == (other["by"], other["order"])
        for a, b in zip(one["ranked"], other["ranked"], strict=True):
            assert a["wrong"] == pytest.approx(b["wrong"], rel=1e-4)


def test_a_record_is_shown_with_its_wrong_step(invoke: Invoke, verified: tuple[str, str]) -> None:
    store, run = verified
    result = invoke("show", store, "q3#1", "--world-model", run)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert sum(" surprise " in line for line in lines) == 3
    wrong = [line for line in lines if line.startswith("     wrong ")]
    assert len(wrong) == 3
    assert [line.endswith("<- probably wrong") for line in wrong] == [False, False, True]
    assert any(
        line.startswith("right ") and "the probability that the answer is right" in line
        for line in lines
    )
    facts = json.loads(invoke("show", store, "q3#1", "--world-model", run, "--json").stdout)
    assert facts["wrong_step"] == 2
    assert facts["steps"][2]["wrong"] > 0.5 > facts["steps"][0]["wrong"]
    assert facts["right"] < 0.5
    sound = invoke("show", store, "q3", "--world-model", run).stdout
    assert "<- probably wrong" not in sound


@pytest.mark.parametrize("command", ["score", "rank"])
def test_a_store_without_log_probabilities_is_one_line(
    command: str, invoke: Invoke, home: Path, verified: tuple[str, str]
) -> None:
    bare = make_store(home, "bare", count=3, logprobs=False)
    result = invoke(command, bare, "--world-model", verified[1], "--device", "cpu")
    assert result.exit_code == 2
    line = only_line(result.stderr)
    assert "bare: its records have no log-probabilities, and " in line
    assert "encode them with encoding.logprobs, or train" in line
    shown = invoke("show", bare, "q1", "--world-model", verified[1])
    assert shown.exit_code == 2
    assert "have no log-probabilities" in only_line(shown.stderr)


@pytest.mark.parametrize("by", ["right", "vote"])
def test_without_a_verifier_there_is_nothing_to_rank_by(
    by: str, invoke: Invoke, home: Path, ridge: tuple[str, str]
) -> None:
    store, run = ridge
    result = invoke("rank", store, "--world-model", run, "--by", by)
    assert result.exit_code == 2
    assert f"score.by (--by): {by} needs a verifier" in only_line(result.stderr)


@pytest.fixture
def ridge(home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A third party's world model that has no `verify`, and its store."""
    monkeypatch.setattr(rjepa_core.plugins.registry, "groups", lambda: ["rjepa"])
    monkeypatch.setattr(rjepa_core.plugins.registry, "entry_points", lambda group: entries())
    store = make_store(home, "plain", count=12)
    return store, make_run(store, home / "ridge")


def test_an_old_world_model_goes_on_as_before(invoke: Invoke, ridge: tuple[str, str]) -> None:
    store, run = ridge
    scored = invoke("score", store, "--world-model", run)
    assert scored.exit_code == 0, scored.stderr
    assert "right" not in rows_of(scored.stdout)[0]
    ranked = rows_of(invoke("rank", store, "--world-model", run).stdout)
    assert ranked[0]["by"] == "mean"
    shown = invoke("show", store, "q1", "--world-model", run)
    assert shown.exit_code == 0, shown.stderr
    assert "wrong " not in shown.stdout
    assert "surprise " in shown.stdout
    with opened(run) as served, running(served) as address:
        remote = invoke("rank", store, "--world-model", address)
    assert remote.exit_code == 0, remote.stderr
    assert rows_of(remote.stdout)[0]["by"] == "mean"
