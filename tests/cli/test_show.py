"""`rjepa-cli show`."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from latent_stores import make_store

from rjepa_core import RecordKey, open_store
from rjepa_core.errors import UsageError
from rjepa_core.ports.store import LatentStore

from .conftest import command, in_own_process

Invoke = Callable[..., Result]


@pytest.fixture
def store(extract: Invoke) -> str:
    """Ten problems, two samples each, two layers, log-probabilities."""
    result = extract("--samples", "2", "--layer", "1", "--layer", "-1", "--logprobs")
    assert result.exit_code == 0, result.stderr
    return "s"


def test_overview(store: str, invoke: Invoke) -> None:
    shown = invoke("show", store)
    assert shown.exit_code == 0
    facts = json.loads(invoke("show", store, "--json").stdout)
    assert (facts["problems"], facts["records"], facts["failures"]) == (10, 20, 0)
    assert facts["domains"] == {"math": 10}
    assert facts["identity"]["space"]["layers"] == [1, 4]
    assert facts["identity"]["logprobs"] is True
    assert facts["history"][0]["records"] == 20
    assert facts["bytes"] > 0
    for text in ("10 (math 10)", "20, ", "layers 1, 4", "seed 0", "temperature 0.7"):
        assert text in shown.stdout
    assert len(json.loads(invoke("show", store, "--json", "--limit", "12").stdout)["first"]) == 12


def test_steps_of_thinking(home: Path, extract: Invoke, invoke: Invoke) -> None:
    text = "<think>\nHm.\n\nYes.\n</think>\nStep 1: one\nStep 2: two\nAnswer: 3"
    (home / "given.jsonl").write_text(json.dumps({"id": "t", "question": "?", "solution": text}))
    assert extract(problems=("--traces", "given.jsonl")).exit_code == 0
    facts = json.loads(invoke("show", "s", "t", "--json").stdout)
    assert [step["thinking"] for step in facts["steps"]] == [True, True, False, False]
    shown = invoke("show", "s", "t").stdout
    assert "  2. thinking, tokens 13:" in shown
    assert "  3. tokens" in shown
    assert "steps       auto-2\n" in invoke("show", "s").stdout


def test_stop_texts_are_told(extract: Invoke, invoke: Invoke) -> None:
    assert extract("--stop", "\nStep 3", "--stop", "Answer").exit_code == 0
    shown = invoke("show", "s").stdout
    assert "stop '\\nStep 3', stop 'Answer'" in shown


def test_a_record(store: str, invoke: Invoke) -> None:
    opened = open_store(store)
    record = opened.get(RecordKey("p3", 1))
    opened.close()
    facts = json.loads(invoke("show", store, "p3#1", "--json").stdout)
    assert facts["prompt"] == record.trace.prompt_text
    assert [step["text"] for step in facts["steps"]] == list(record.trace.step_texts)
    assert facts["other_samples"] == ["p3"]
    norms = np.linalg.norm(record.latents.astype(np.float32), axis=-1)
    assert record.logprobs is not None
    for j, step in enumerate(facts["steps"]):
        assert step["norms"]["1"] == pytest.approx(norms[0, j], rel=1e-3)
        assert step["norms"]["4"] == pytest.approx(norms[1, j], rel=1e-3)
        assert step["logprob"] == pytest.approx(record.logprobs[j], rel=1e-3)
        assert step["span"] == [record.trace.spans[j].start, record.trace.spans[j].stop]
    shown = invoke("show", store, "p3#1").stdout
    assert record.trace.step_texts[0].strip() in shown
    assert f"answer   {record.trace.answer}" in shown
    assert "finish stop" in shown
    assert "also     p3" in shown


def test_an_id_with_a_hash_sign_of_its_own(home: Path, extract: Invoke, invoke: Invoke) -> None:
    (home / "hash.jsonl").write_text('{"id": "set#7", "question": "What is 2 plus 2?"}\n')
    assert extract(problems=("--problems", "hash.jsonl")).exit_code == 0
    assert invoke("show", "s", "set#7").exit_code == 0


def test_near_ids_are_suggested(store: str, invoke: Invoke) -> None:
    answer = invoke("show", store, "p33").stderr
    assert "did you mean" in answer
    assert "p3" in answer


def test_failures(home: Path, extract: Invoke, invoke: Invoke) -> None:
    rows = [{"id": f"f{i}", "question": f"{i}?", "solution": "#### 7"} for i in range(4)]
    rows.append({"id": "ok", "question": "and?", "solution": "Step 1: seven."})
    (home / "given.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert extract(problems=("--traces", "given.jsonl")).exit_code == 3
    facts = json.loads(invoke("show", "s", "--failures", "--limit", "3", "--json").stdout)
    assert facts["reasons"] == {"answer only": 4}
    assert len(facts["failures"]) == 3
    one = invoke("show", "s", "f2")
    assert one.exit_code == 0
    assert one.stdout.startswith("f2 failed: answer only: ")
    assert "no failures" not in invoke("show", "s", "--failures").stdout


def test_a_big_store_is_not_read_record_by_record(
    store: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rjepa_cli.commands import show

    monkeypatch.setattr(show, "_COUNT_DOMAINS_UP_TO", 5)
    shown = invoke("show", store).stdout
    assert "10 (math 10 asked for)" in shown


def test_a_store_without_a_model_yet(home: Path, invoke: Invoke) -> None:
    open_store("s", "write").close()
    shown = invoke("show", "s")
    assert shown.exit_code == 0
    assert "no run has opened it with a model" in shown.stdout


def test_output_into_a_pipe_that_closes(store: str, home: Path) -> None:
    import subprocess

    from .conftest import command

    reader = subprocess.Popen(
        command("show", store, "p1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert reader.stdout is not None
    assert reader.stderr is not None
    reader.stdout.close()
    assert "Traceback" not in reader.stderr.read()
    reader.wait(timeout=30)


def test_control_characters_and_long_ids(home: Path, extract: Invoke, invoke: Invoke) -> None:
    evil, long = "a\x1b[31m\u202eb\x9b", "x" * 300 + "end"
    rows = [
        {"id": evil, "question": "Red \x1b[31m?\nAnd \u202eback?"},
        {"id": long, "question": "Long?"},
    ]
    (home / "evil.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert extract(problems=("--problems", "evil.jsonl")).exit_code == 0
    for result in (invoke("show", "s"), invoke("show", "s", evil), invoke("show", "s", "--json")):
        assert result.exit_code == 0
        assert not set("\x1b\u202e\x9b") & set(result.stdout)
    listed = invoke("show", "s").stdout
    assert "a\\x1b[31m\\u202eb\\x9b: " in listed
    assert "x" * 100 not in listed
    assert "xend: " in listed
    lines = invoke("show", "s", evil).stdout.splitlines()
    assert any(line.endswith("Red \\x1b[31m?") for line in lines)
    assert any(line.endswith(" And \\u202eback?") for line in lines)
    first = json.loads(invoke("show", "s", "--json").stdout)["first"]
    assert {one["id"] for one in first} == {evil, long}


def test_a_stdout_that_is_not_utf_8(
    home: Path, extract: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "greek.jsonl").write_text('{"id": "\u03b1", "question": "\u03b2?"}\n', "utf-8")
    assert extract(problems=("--problems", "greek.jsonl")).exit_code == 0
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    shown = in_own_process("show", "s")
    assert shown.returncode == 0, shown.stderr
    assert "\\u03b1: " in shown.stdout
    assert json.loads(in_own_process("show", "s", "--json").stdout)["first"][0]["id"] == "\u03b1"


def test_version_and_module(home: Path) -> None:
    from rjepa_core import __version__

    assert in_own_process("--version").stdout == f"rjepa-cli {__version__}\n"


def test_history_tells_runs_with_rows_and_changes(extract: Invoke, invoke: Invoke) -> None:
    """The seeded backend stands still a while, so that there are points; a trial is a change."""
    slow = ("--set", "backend.delay=0.3", "--batch-size", "2", "--max-batch-size", "4")
    slow = (*slow, "--samples", "6")
    assert extract(*slow, "--max-hours", "0.0006").exit_code == 4
    assert extract(*slow, "--resume").exit_code == 0
    told = json.loads(invoke("show", "s", "--history", "--json").stdout)
    first, second = told["runs"]
    assert first["run"]["ending"] == "stopped"
    assert first["started"] < second["started"]
    assert second["points"]
    assert all(point["rows"] >= 1 for point in second["points"])
    reasons = {change["reason"] for run in told["runs"] for change in run["changes"]}
    assert "trial" in reasons
    shown = invoke("show", "s", "--history").stdout
    assert "scheduler adaptive" in shown
    assert " s a record\n" in shown
    assert "rows over" in shown
    assert "token/s over" in shown
    assert " rows, trial: " in shown
    less = invoke("show", "s", "--history", "--limit", "0").stdout
    assert "more; see --limit" in less
    assert " rows, trial: " not in less
    # The overview keeps a line a run, its JSON the runs alone.
    assert invoke("show", "s").stdout.count("run  ") == 2
    overview = json.loads(invoke("show", "s", "--json").stdout)
    assert [one["kind"] for one in overview["history"]] == ["extract", "extract"]


def test_a_run_killed_at_once_tells_what_it_was_asked_for(home: Path, extract: Invoke) -> None:
    words = ("--backend", "seeded", "--model", "m", "--problems", "demo", "--store", "k")
    process = subprocess.Popen(
        command("extract", *words, "--set", "backend.delay=0.2", "--checkpoint-every", "1"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    store: LatentStore | None = None
    began = time.monotonic()
    while store is None or not store.stats().records:
        assert process.poll() is None
        assert time.monotonic() - began < 60
        time.sleep(0.05)
        with suppress(UsageError):
            store = open_store("k")
    process.kill()
    process.wait()
    with store.snapshot() as snapshot:
        stored = str(next(iter(snapshot.keys())))
    store.close()
    shown = in_own_process("show", "k", "--history").stdout
    assert "no end, killed or still running; no more is known" in shown
    assert "m, scheduler adaptive, demo" in shown
    removed = in_own_process("store", "rm", "k", stored, "--yes")
    # The program is named as it was called.
    again = r"compute again: .*rjepa.cli extract --model m --store k --problems demo"
    assert re.search(again, removed.stdout)


def test_a_run_without_an_end_is_told_as_one(extract: Invoke, invoke: Invoke) -> None:
    extract()
    with open_store("s", "write") as store:
        store.add_history(
            {
                "kind": "schedule",
                "run": "2026-01-01T00:00:00.000+00:00",
                "until": 90.0,
                "points": [[30.0, 16, 900.0, None, None], [90.0, 8, 300.0, 5, 10]],
                "changes": [
                    {
                        "at": 61.0,
                        "rows_before": 16,
                        "rows_after": 8,
                        "reason": "slower",
                        "detail": "16 rows 1 token/s",
                    }
                ],
            }
        )
    shown = invoke("show", "s", "--history").stdout
    assert "2026-01-01T00:00:00+00:00: no end, killed or still running; 90 s are known" in shown
    assert "00:01:01  16 -> 8 rows, slower: 16 rows 1 token/s" in shown
    assert "no end" in invoke("show", "s").stdout


def test_the_surprise_of_each_step(home: Path, invoke: Invoke) -> None:
    """A real run, however short; the bars are as long as the numbers."""
    store = make_store(home / "t", [2 + i % 3 for i in range(300)])
    small = ("model.width=16", "model.depth=1", "model.predictor_width=16")
    sets = [word for one in small for word in ("--set", one)]
    words = ("--store", store, "--out", "wm", "--epochs", "1", *sets)
    trained = invoke("train", *words)
    assert trained.exit_code == 0, trained.stderr
    name = "p-7"
    shown = invoke("show", store, name, "--world-model", "wm", "--json")
    assert shown.exit_code == 0, shown.stderr
    steps = json.loads(shown.stdout)["steps"]
    assert all(step["surprise"] >= 0 for step in steps)
    assert all(0 <= step["surprise_percentile"] <= 100 for step in steps)
    text = invoke("show", store, name, "--world-model", "wm").stdout
    assert text.count("surprise ") == len(steps)
    assert text.count("<- the most surprising") == 1
    assert "percent  of the steps of 3" in text
    missing = invoke("show", store, "--world-model", "wm")
    assert missing.exit_code == 2
    assert "name a record, too" in missing.stderr
    nothing = invoke("show", store, name, "--world-model", "nowhere")
    assert nothing.exit_code == 2
    assert "nowhere" in nothing.stderr
