"""`rjepa-cli extract` from arguments to exit code."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from rjepa_core import open_store
from rjepa_core.domain.latents import LatentRecord

from .conftest import command, only_line, write_problems

Invoke = Callable[..., Result]


def records(place: str) -> dict[str, LatentRecord]:
    store = open_store(place)
    found = {str(key): store.get(key) for key in store.keys()}  # noqa: SIM118
    store.close()
    return found


def facts(result: Result) -> dict[str, Any]:
    """The one JSON object on stdout."""
    loaded = json.loads(result.stdout)
    assert isinstance(loaded, dict)
    return loaded


def test_problems_in_records_out(home: Path, extract: Invoke) -> None:
    result = extract("--limit", "4")
    assert result.exit_code == 0
    assert set(records("s")) == {"p0", "p1", "p2", "p3"}
    assert "done: 4 records" in result.stdout
    assert "the whole source (10 problems) would take" in result.stdout
    assert "rjepa-cli show s" in result.stdout
    assert "4 problems of 10 (math 4): 0 stored, 0 failed, 4 to do" in result.stderr
    assert "layer 3, mean pooling" in result.stderr
    assert "4/4" in result.stderr


def test_answers_that_were_cut_off_are_counted(extract: Invoke) -> None:
    result = extract("--limit", "4", "--max-new-tokens", "5")
    assert "cut off: 4 of 4 completions, at --max-new-tokens" in result.stdout
    whole = facts(extract("--limit", "4", "--store", "whole", "--json"))
    lengths = [r.trace.finish_reason for r in records("whole").values()]
    assert whole["cut_off"] == lengths.count("length") < 4


def test_json_is_all_that_stdout_holds(extract: Invoke) -> None:
    found = facts(extract("--json", "--samples", "2"))
    assert found["ending"] == "done"
    assert found["exit_code"] == 0
    assert found["records"] == 20
    assert found["plan"]["asked"] == 20
    assert found["plan"]["layers"] == [3]
    assert found["steps"] == sum(len(r.trace.spans) for r in records("s").values())


def test_resume_does_what_is_missing_and_no_more(extract: Invoke) -> None:
    first = facts(extract("--json", "--limit", "3"))
    before = records("s")
    second = facts(extract("--json", "--resume"))
    assert (first["records"], second["records"], second["plan"]["stored"]) == (3, 7, 3)
    after = records("s")
    assert all(before[key].latents.tobytes() == after[key].latents.tobytes() for key in before)
    third = extract("--resume")
    assert third.exit_code == 0
    assert "nothing to do" in third.stdout


def test_every_flag_reaches_its_setting(home: Path, extract: Invoke) -> None:
    (home / "t.txt").write_text("Now: {statement}\n")
    (home / "code.txt").write_text("Write: {statement}")
    line = (
        "--domain algebra --field statement=question --keep-notes --limit 2 --samples 3 "
        "--shard 3/8 --device cpu --dtype float32 --layer -2 --layer -8 --pooling last "
        "--steps lines --thinking on --logprobs --store-dtype bfloat16 --prompt-template t.txt "
        "--prompt-template code=code.txt --system Brief! --max-new-tokens 77 --temperature 0.1 "
        "--top-p 0.9 --top-k 5 --seed 11 --thinking-steps drop --stop a,b --stop c --resume "
        "--retry-failed --allow-failures 1% --max-hours 2.5 --force --scheduler fixed "
        "--batch-size 3 --encode-tokens 99 --delay 0.5 "
        "--checkpoint-every 7 --set problems.huggingface.split=test --store lmdb:other"
    )
    result = extract(*line.split(), "--print-config")
    assert result.exit_code == 0, result.stderr
    shown = yaml.safe_load(result.stdout)
    assert shown["problems"] == {
        "sources": ["problems.jsonl"],
        "traces": [],
        "domain": "algebra",
        "fields": {"statement": "question"},
        "limit": 2,
        "shard": "3/8",
        "samples": 3,
        "keep_notes": True,
        "huggingface": {"split": "test"},
    }
    assert shown["model"] == {"name": "m", "device": "cpu", "dtype": "float32"}
    assert shown["prompt"] == {
        "templates": {"default": "Now: {statement}", "code": "Write: {statement}"},
        "system": "Brief!",
        "thinking": True,
        "date": None,
    }
    assert shown["sampling"] == {
        "max_new_tokens": 77,
        "temperature": 0.1,
        "top_p": 0.9,
        "top_k": 5,
        "seed": 11,
        "stop": ["a,b", "c"],
    }
    assert shown["encoding"] == {
        "layers": [-2, -8],
        "pooling": "last",
        "logprobs": True,
        "store_dtype": "bfloat16",
    }
    assert shown["steps"] == {"strategy": "lines", "thinking": "drop"}
    assert shown["run"] == {
        "resume": True,
        "retry_failed": True,
        "allow_failures": 0.01,
        "max_hours": 2.5,
        "force": True,
    }
    assert shown["scheduler"] == {"name": "fixed", "batch_size": 3, "encode_tokens": 99}
    assert shown["backend"]["delay"] == 0.5
    assert (shown["store"]["path"], shown["store"]["checkpoint_every"]) == ("lmdb:other", 7)
    assert not (home / "s").exists()


def test_flags_go_over_yaml_and_yaml_over_defaults(home: Path, invoke: Invoke) -> None:
    (home / "run.yaml").write_text(
        "model: m\nstore: s\nbackend: {name: seeded, delay: 0.25}\n"
        "problems: {sources: [problems.jsonl]}\n"
        "sampling: {seed: 5, temperature: 0.2}\nencoding: {layers: [1, 2]}\n"
        "prompt: {templates: {algebra: 'Solve {statement}'}}\n"
    )
    result = invoke(
        "extract", "--config", "run.yaml", "--seed", "6", "--set", "encoding.layers=-1",
        "--hidden-size", "8", "--print-config",
    )  # fmt: skip
    shown = yaml.safe_load(result.stdout)
    assert shown["sampling"]["seed"] == 6
    assert shown["sampling"]["temperature"] == 0.2
    assert shown["sampling"]["max_new_tokens"] == 300
    assert shown["encoding"]["layers"] == [-1]
    assert shown["backend"]["delay"] == 0.25
    assert shown["backend"]["hidden_size"] == 8
    assert set(shown["prompt"]["templates"]) == {"default", "code", "algebra"}


def test_printed_settings_are_a_config(home: Path, invoke: Invoke, extract: Invoke) -> None:
    printed = extract("--layer", "1", "--layer", "2", "--print-config").stdout
    (home / "run.yaml").write_text(printed)
    assert invoke("extract", "--config", "run.yaml", "--print-config").stdout == printed
    assert invoke("extract", "--config", "run.yaml").exit_code == 0
    assert all(r.latents.shape[0] == 2 for r in records("s").values())


def test_the_example_of_the_docs_is_a_config(invoke: Invoke) -> None:
    example = Path(__file__).parents[2] / "docs" / "examples" / "extract.yaml"
    result = invoke("extract", "--config", str(example), "--print-config")
    assert result.exit_code == 0, result.stderr
    given = yaml.safe_load(example.read_text())
    shown = yaml.safe_load(result.stdout)
    for section, values in given.items():
        for key, value in values.items():
            if key != "templates":
                assert shown[section][key] == value


def test_a_flag_and_set_may_agree(extract: Invoke) -> None:
    result = extract("--seed", "3", "--set", "sampling.seed=3", "--print-config")
    assert yaml.safe_load(result.stdout)["sampling"]["seed"] == 3


def test_help_has_the_flags_of_the_named_adapters(invoke: Invoke) -> None:
    usual = invoke("extract", "--help").stdout
    assert "--batch-size" in usual
    assert "--encode-tokens" in usual
    assert "--checkpoint-every" in usual
    assert "--trust-remote-code" in usual
    assert "--max-steps" not in usual
    other = invoke("extract", "--help", "--backend", "seeded", "--store", "memory:x").stdout
    assert "--max-steps" in other
    assert "--trust-remote-code" not in other
    assert "Store (memory):" in other


def test_help_survives_an_adapter_that_is_not_there(invoke: Invoke) -> None:
    result = invoke("extract", "--backend", "nosuch", "--help")
    assert result.exit_code == 0
    assert "unknown backend 'nosuch'" in result.stdout
    assert "--temperature" in result.stdout


def test_a_flag_of_another_adapter_is_unknown(extract: Invoke) -> None:
    result = extract("--trust-remote-code")
    assert result.exit_code == 2
    assert "no such option: --trust-remote-code" in only_line(result.stderr)


def test_dry_run_keeps_nothing(home: Path, extract: Invoke) -> None:
    found = facts(extract("--dry-run", "--json", "--delay", "0.2", "--batch-size", "4"))
    assert not (home / "s").exists()
    assert found["tried"] == 4
    assert found["seconds_per_problem"] >= 0.05
    assert found["hours"] == pytest.approx(found["seconds_per_problem"] * 10 / 3600, abs=1e-3)
    assert 0 < found["bytes_needed"] < found["bytes_free"]


def test_a_dry_run_says_what_it_measures(home: Path, extract: Invoke) -> None:
    said = extract("--dry-run", "--batch-size", "4", "--max-new-tokens", "300").stderr
    assert "measuring one batch of 4 rows (up to 300 tokens each) …" in said
    few = extract("--dry-run", "--batch-size", "64").stderr
    assert "measuring one batch of 10 rows (up to" in few
    (home / "given.jsonl").write_text('{"question": "a?", "solution": "b.\\nc."}\n')
    given = extract("--dry-run", problems=("--traces", "given.jsonl")).stderr
    assert "measuring one batch of 1 given solution …" in given


def test_dry_run_on_a_store_counts_and_changes_nothing(home: Path, extract: Invoke) -> None:
    assert extract("--limit", "4").exit_code == 0
    before = {p.name: p.stat().st_size for p in (home / "s").iterdir() if "lock" not in p.name}
    history = open_store("s").history()
    found = facts(extract("--dry-run", "--resume", "--json"))
    assert found["plan"]["stored"] == 4
    assert found["tried"] == 6
    after = {p.name: p.stat().st_size for p in (home / "s").iterdir() if "lock" not in p.name}
    assert after == before
    assert open_store("s").history() == history
    assert extract("--dry-run", "--resume", "--layer", "1").exit_code == 2


def answer_only(home: Path, count: int) -> None:
    """Solutions of which `count` are a bare answer, which fails: there is no step in it."""
    write_problems(home / "given.jsonl", 10, solution="Step 1: add one.\nStep 2: done.")
    lines = (home / "given.jsonl").read_text().splitlines()
    for i in range(count):
        lines[i] = json.dumps({**json.loads(lines[i]), "solution": "#### 72"})
    (home / "given.jsonl").write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("failing", "allowed", "code"), [(1, None, 3), (1, "10%", 0), (2, "10%", 3), (2, "0.2", 0)]
)
def test_failed_problems(
    failing: int, allowed: str | None, code: int, home: Path, extract: Invoke, invoke: Invoke
) -> None:
    answer_only(home, failing)
    given = ("--traces", "given.jsonl")
    options = ["--allow-failures", allowed] if allowed else []
    result = extract(*options, problems=given)
    assert result.exit_code == code
    assert f"failed: {failing} answer only" in result.stdout
    listed = invoke("show", "s", "--failures")
    assert f"{failing} answer only" in listed.stdout
    # A later run answers for the failures that the store holds, too.
    assert extract(*options, "--resume", problems=given).exit_code == code
    retried = facts(extract(*options, "--resume", "--retry-failed", "--json", problems=given))
    assert retried["failures"] == failing
    assert retried["exit_code"] == code


def test_stopped_by_max_hours(extract: Invoke) -> None:
    result = extract("--max-hours", "0.00005", "--delay", "0.2", "--batch-size", "2")
    assert result.exit_code == 4
    assert "stopped by --max-hours" in result.stdout
    hint = re.search(r"continue with: (rjepa-cli extract .*)", result.stderr)
    assert hint is not None
    stored = len(records("s"))
    assert 0 < stored < 10
    resumed = facts(extract("--resume", "--json"))
    assert resumed["records"] == 10 - stored


def test_max_hours_that_run_out_with_the_last_problem_are_done(extract: Invoke) -> None:
    result = extract("--max-hours", "0.00001", "--delay", "0.3", "--batch-size", "10")
    assert result.exit_code == 0
    assert len(records("s")) == 10


def test_resume_command_is_quoted(home: Path, invoke: Invoke) -> None:
    place = "my store; echo"
    line = ["--problems", "problems.jsonl", "--model", "it's", "--backend", "seeded"]
    line += ["--store", place, "--max-hours", "0.00005", "--delay", "0.2", "--batch-size", "2"]
    result = invoke("extract", *line)
    hint = re.search(r"continue with: (.*)", result.stderr)
    assert hint is not None
    assert shlex.split(hint[1]) == ["rjepa-cli", "extract", *line, "--resume"]


def test_stored_traces_at_other_layers(extract: Invoke) -> None:
    assert extract("--steps", "lines").exit_code == 0
    again = ("--traces", "s")
    result = extract("--layer", "1", "--layer", "2", "--store", "two", problems=again)
    assert result.exit_code == 0, result.stderr
    first, second = records("s"), records("two")
    assert set(first) == set(second)
    for key, record in second.items():
        assert record.latents.shape[0] == 2
        assert (record.trace.completion_ids == first[key].trace.completion_ids).all()
    warned = extract("--steps", "markers", "--store", "three", problems=again)
    assert "those of the stored traces" in warned.stderr


def test_the_store_is_found_by_its_adapters_name(extract: Invoke, invoke: Invoke) -> None:
    assert extract("--store", "memory:here").exit_code == 0
    assert "10" in invoke("show", "memory:here").stdout
    assert extract("--store", "there", "--set", "store.name=memory").exit_code == 0
    assert invoke("show", "memory:there", "--json").exit_code == 0


def test_a_field_that_is_dropped(home: Path, extract: Invoke) -> None:
    given = ("--problems", "problems.jsonl")
    assert extract("--field", "id=", problems=given).exit_code == 0
    found = records("s")
    assert len(found) == 10
    assert "p0" not in found


def test_plan_and_progress_of_given_solutions(home: Path, extract: Invoke) -> None:
    rows = [{"id": f"t{i}", "question": f"{i}?", "solution": "Step 1: 7."} for i in range(40)]
    (home / "given.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ("--encode-tokens", "64", "--json")
    result = extract(*options, problems=("--traces", "given.jsonl"))
    assert result.exit_code == 0, result.stderr
    assert facts(result)["plan"]["samples"] is None
    assert " 0 in flight" not in result.stderr
    assert "tokens in flight" in result.stderr


def test_a_reader_that_goes_away_does_not_end_the_run(home: Path) -> None:
    usual = ["--problems", "problems.jsonl", "--model", "m", "--backend", "seeded", "--store", "s"]
    started = subprocess.Popen(
        command("extract", *usual), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert started.stdout is not None
    started.stdout.close()
    assert started.wait(timeout=120) == 0
    assert len(records("s")) == 10
