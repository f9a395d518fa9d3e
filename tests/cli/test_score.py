"""`rjepa-cli score` and `rank`: stores and files in, JSON Lines and a picture out."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_stores import encode_solutions, solution
from services import make_trained, opened, running
from terminal import frames, on_terminal

from rjepa_adapters.world_model.inference import JepaWorldModel
from rjepa_core.domain.trace import RecordKey
from rjepa_core.plugins.locate import open_store, open_world_model
from rjepa_core.ports.world_model import LatentSequence
from rjepa_core.scoring.surprise import score

from .conftest import Invoke, command, only_line


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return make_trained(tmp_path_factory.mktemp("score"))


def rows_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_store_is_scored_record_by_record(invoke: Invoke, trained: tuple[str, str]) -> None:
    store, run = trained
    result = invoke("score", store, "--world-model", run, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    rows = rows_of(result.stdout)
    model = open_world_model(run, "cpu")
    with open_store(store) as opened_store:
        keys = list(opened_store.keys())
        assert [RecordKey(row["problem_id"], row["sample"]) for row in rows] == keys
        for row, wanted in zip(rows, score(opened_store, keys, model), strict=True):
            steps = np.array([step["surprise"] for step in row["steps"]], np.float32)
            np.testing.assert_array_equal(steps, wanted.surprise)
            assert row["worst"] == int(wanted.surprise.argmax())
            assert row["largest"] == pytest.approx(float(wanted.surprise.max()))
            assert row["surprise"] == pytest.approx(float(wanted.surprise.mean()))
            texts = opened_store.get(wanted.key).trace.step_texts
            assert tuple(step["text"] for step in row["steps"]) == texts
    assert f"{len(rows)} solutions scored" in result.stderr


def test_an_empty_step_is_an_error_record_that_names_it(
    invoke: Invoke, trained: tuple[str, str]
) -> None:
    rows = [
        {"id": "a", "question": "Why?", "steps": ["one", "", "two"]},
        {"id": "b", "question": "Why not?", "steps": ["one", "two"]},
    ]
    Path("steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ("--model", "m", "--backend", "seeded", "--device", "cpu")
    result = invoke("score", "steps.jsonl", "--world-model", trained[1], *options)
    assert result.exit_code == 3, result.stderr
    first, second = rows_of(result.stdout)
    assert (first["problem_id"], first["error"]) == ("a", "empty step")
    assert first["detail"].startswith("step 2 of 3 is empty")
    assert len(second["steps"]) == 2


def test_a_surprise_that_is_not_finite_is_an_error_record(
    invoke: Invoke, trained: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, run = trained
    whole = JepaWorldModel._tensors

    def huge(self: JepaWorldModel, sequences: Sequence[LatentSequence]) -> Any:
        given = list(sequences)
        for i, one in enumerate(given):
            if np.array_equal(one.latents, spoiled.latents[0].astype(np.float32)):
                latents = 3e38 * np.sign(one.latents)
                given[i] = LatentSequence(latents.astype(np.float32), one.prompt, one.domain)
        return whole(self, given)

    with open_store(store) as opened_store:
        keys = list(opened_store.keys())
        spoiled = opened_store.get(keys[3])
    monkeypatch.setattr(JepaWorldModel, "_tensors", huge)
    with opened(run) as served, running(served) as address:
        for place in (run, address):
            result = invoke("score", store, "--world-model", place)
            assert result.exit_code == 3, result.stderr
            rows = rows_of(result.stdout)
            assert [RecordKey(row["problem_id"], row["sample"]) for row in rows] == keys
            assert [i for i, row in enumerate(rows) if "error" in row] == [3]
            assert rows[3]["error"] == "not finite"
            assert "too large" in rows[3]["detail"]


@pytest.mark.parametrize("command", ["score", "rank"])
def test_one_solution_of_too_many_steps_spoils_no_other(
    command: str, invoke: Invoke, trained: tuple[str, str]
) -> None:
    short = [{"id": f"p{i}", "question": f"Why {i}?", "steps": ["one", "two"]} for i in range(3)]
    long = {"id": "long", "question": "How long?", "steps": [str(i) for i in range(5000)]}
    rows = [short[0], long, *short[1:]]
    Path("steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ("--model", "m", "--backend", "seeded", "--device", "cpu")
    result = invoke(command, "steps.jsonl", "--world-model", trained[1], *options)
    assert result.exit_code == 3, result.stderr
    found = rows_of(result.stdout)
    assert [row["problem_id"] for row in found] == ["p0", "long", "p1", "p2"]
    whole = json.dumps(found[1])
    assert "5,000 steps, at most 4,096" in whole
    for row in (found[0], *found[2:]):
        assert "error" not in json.dumps(row)


def write_solutions(home: Path) -> str:
    rows = [
        {"id": f"a{i}", "question": f"How many seats, case {i}?", "solutions": made}
        for i, made in enumerate(
            [[solution(2), solution(5)], ["#### 7"], [solution(3), "Bananas.\nThe moon."]]
        )
    ]
    (home / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "texts.jsonl"


TEXTS = ("--model", "m", "--backend", "seeded", "--device", "cpu")


def test_texts_are_scored_as_a_store_of_them_would_be(
    invoke: Invoke, home: Path, trained: tuple[str, str]
) -> None:
    file = write_solutions(home)
    result = invoke("score", file, "--world-model", trained[1], *TEXTS)
    assert result.exit_code == 3
    rows = rows_of(result.stdout)
    names = [(row["problem_id"], row["sample"]) for row in rows]
    assert names == [("a0", 0), ("a0", 1), ("a1", 0), ("a2", 0), ("a2", 1)]
    assert rows[2]["error"] == "answer only"
    assert "4 solutions scored, 1 could not be" in result.stderr
    store = encode_solutions(home / file, home / "stored", logprobs=False)
    stored = invoke("score", store, "--world-model", trained[1], "--device", "cpu")
    for one in rows_of(stored.stdout):
        [same] = [
            r for r in rows if (r["problem_id"], r["sample"]) == (one["problem_id"], one["sample"])
        ]
        np.testing.assert_allclose(
            [step["surprise"] for step in one["steps"]],
            [step["surprise"] for step in same["steps"]],
            rtol=1e-5,
        )


def test_solutions_are_ranked_problem_by_problem(
    invoke: Invoke, home: Path, trained: tuple[str, str]
) -> None:
    file = write_solutions(home)
    scored = rows_of(invoke("score", file, "--world-model", trained[1], *TEXTS).stdout)
    for by, key in (("mean", "surprise"), ("max", "largest")):
        result = invoke("rank", file, "--world-model", trained[1], *TEXTS, "--by", by)
        assert result.exit_code == 3
        rows = {row["problem_id"]: row for row in rows_of(result.stdout)}
        assert list(rows) == ["a0", "a1", "a2"]
        for name in ("a0", "a2"):
            values = {r["sample"]: r[key] for r in scored if r["problem_id"] == name}
            assert rows[name]["order"] == sorted(values, key=values.__getitem__)
            assert [one["sample"] for one in rows[name]["ranked"]] == rows[name]["order"]
        assert rows["a1"]["order"] == []
        assert rows["a1"]["failed"][0]["error"] == "answer only"


def test_a_service_scores_as_the_run_does(invoke: Invoke, trained: tuple[str, str]) -> None:
    store, run = trained
    local = invoke("score", store, "--world-model", run, "--device", "cpu", "--limit", "9")
    with opened(run) as served, running(served) as address:
        remote = invoke("score", store, "--world-model", address, "--limit", "9")
    assert remote.exit_code == 0, remote.stderr
    for one, other in zip(rows_of(local.stdout), rows_of(remote.stdout), strict=True):
        np.testing.assert_allclose(
            [step["surprise"] for step in one["steps"]],
            [step["surprise"] for step in other["steps"]],
            rtol=1e-5,
        )


def test_a_terminal_gets_pictures_and_a_pipe_lines(home: Path, trained: tuple[str, str]) -> None:
    file = write_solutions(home)
    words = command("score", file, "--world-model", trained[1], *TEXTS)
    code, written = on_terminal(words, 70)
    assert code == 3
    lines = frames(written)
    assert max(map(len, lines)) <= 70
    assert sum("█" in line for line in lines) >= 8
    assert sum("largest" in line for line in lines) == 4
    assert any(line.startswith("a1: could not be scored: answer only") for line in lines)
    assert not any(line.startswith("{") for line in lines)
    code, written = on_terminal([*words, "--json"], 70)
    assert code == 3
    assert '"solutions": [' in written
    assert "█" not in written


def test_a_picture_of_the_steps(invoke: Invoke, home: Path, trained: tuple[str, str]) -> None:
    store, run = trained
    words = ("score", store, "--world-model", run, "--device", "cpu", "--plot", "steps.svg")
    result = invoke(*words)
    assert result.exit_code == 0, result.stderr
    rows = rows_of(result.stdout)[:40]
    svg = "{http://www.w3.org/2000/svg}"
    root = ET.parse(home / "steps.svg").getroot()
    cells = [one for one in root.iter(f"{svg}rect") if "l" in one.get("class", "")[:1]]
    assert len(cells) == sum(len(row["steps"]) for row in rows)
    assert sum("worst" in one.get("class", "") for one in cells) == len(rows)
    texts = [one.text or "" for one in root.iter(f"{svg}text")]
    assert sum(text.startswith("▲ ") for text in texts) == len(rows)
    assert "already exists" in only_line(invoke(*words).stderr)


def test_out_takes_the_lines(invoke: Invoke, home: Path, trained: tuple[str, str]) -> None:
    store, run = trained
    words = ("score", store, "--world-model", run, "--device", "cpu", "--out", "s.jsonl")
    result = invoke(*words, "--limit", "3")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert len(rows_of((home / "s.jsonl").read_text())) == 3
    refused = invoke(*words)
    assert refused.exit_code == 2
    assert "is there already" in only_line(refused.stderr)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("STORE",), "score.world_model (--world-model): none is named; name a trained run"),
        (("STORE", "--world-model", "nowhere"), "there is no trained world model"),
        (("nothing.jsonl", "--world-model", "RUN"), "no such file"),
        (("texts.jsonl", "--world-model", "RUN"), "set model.name (--model) to the LLM"),
        (
            ("texts.jsonl", "--world-model", "RUN", "--model", "other", "--backend", "seeded"),
            "another latent space",
        ),
        (("STORE", "--world-model", "RUN", "--context", "future"), "score.context (--context)"),
        (("STORE", "--world-model", "RUN", "--plot", "a.png"), "name it FILE.svg"),
        (("STORE", "--world-model", "RUN", "--out", "no/where"), "No such file or directory"),
        (("STORE", "--world-model", "RUN", "--limit", "0"), "score.limit (--limit)"),
    ],
)
def test_mistakes_are_one_line(
    invoke: Invoke, home: Path, trained: tuple[str, str], words: tuple[str, ...], reason: str
) -> None:
    write_solutions(home)
    places = {"STORE": trained[0], "RUN": trained[1]}
    result = invoke("score", *(places.get(word, word) for word in words))
    assert result.exit_code == 2
    assert reason in only_line(result.stderr)
