"""`rjepa-cli store verify`, `repair`, `rm` and `compact`: real stores, real damage."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from click.testing import Result

from rjepa_core import RecordKey, open_store
from rjepa_core.testing.memory_store import forget
from rjepa_core.testing.samples import assert_same

from .conftest import command, in_own_process, only_line, write_problems
from .store_helpers import assert_equal_stores, damage, facts, records

Invoke = Callable[..., Result]


def test_help_has_examples(invoke: Invoke) -> None:
    from rjepa_cli.commands.store.group import COMMANDS

    group = invoke("store", "--help").stdout
    for name in COMMANDS:
        assert name in group
        shown = invoke("store", name, "--help").stdout
        assert f"rjepa-cli store {name} " in shown
        assert "--json" in shown
        assert "--debug" in shown


def test_a_command_that_there_is_not(invoke: Invoke) -> None:
    result = invoke("store", "verfy")
    assert result.exit_code == 2
    assert "did you mean verify?" in only_line(result.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "nope"],
        ["repair", "nope", "new"],
        ["compact", "nope"],
        ["rm", "nope", "p1", "--yes"],
        ["export", "nope", "new"],
        ["import", "nope", "new"],
        ["merge", "new", "nope"],
    ],
)
def test_what_is_not_there(arguments: list[str], home: Path, invoke: Invoke) -> None:
    result = invoke("store", *arguments)
    assert result.exit_code == 2
    assert only_line(result.stderr).startswith("nope: no such directory")
    assert not (home / "nope").exists()
    assert not (home / "new").exists()


def test_a_store_without_maintenance(extract: Invoke, invoke: Invoke) -> None:
    assert extract("--store", "memory:bare").exit_code == 0
    for arguments in (["verify", "memory:bare"], ["compact", "memory:bare"]):
        result = invoke("store", *arguments)
        assert result.exit_code == 2
        assert "'memory' offers no maintenance" in only_line(result.stderr)
    forget("bare")


def test_verify_a_sound_store(store: str, failing: str, invoke: Invoke) -> None:
    found = facts(invoke("store", "verify", store, "--json"))
    assert (found["sound"], found["records"], found["failures"]) == (True, 20, 0)
    shown = invoke("store", "verify", failing)
    assert shown.exit_code == 0
    assert "sound: 2 records and 3 failures in failing" in shown.stdout


def test_damage_is_found_named_and_mended(store: str, home: Path, invoke: Invoke) -> None:
    whole = records(store)
    damage(store, RecordKey("p3", 1))
    damage(store, RecordKey("p8"))
    shown = invoke("store", "verify", store)
    assert shown.exit_code == 3
    assert "record p3#1: its vectors do not match" in shown.stdout
    found = facts(invoke("store", "verify", store, "--json"), code=3)
    assert {d["name"] for d in found["damages"] if d["kind"] == "record"} == {"p3#1", "p8"}
    assert found["records"] == 18

    before = Path(store, "data.mdb").read_bytes()
    mended = invoke("store", "repair", store, "mended")
    assert mended.exit_code == 3
    assert "2 lost; 18 records and 0 failures saved into mended" in mended.stdout
    assert Path(store, "data.mdb").read_bytes() == before
    again = mended.stdout.splitlines()[-1].strip()
    assert again.startswith("rjepa-cli extract ")
    pasted = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {again}"], capture_output=True, text=True
    )
    done = invoke(*pasted.stdout.split("\0")[1:-1])
    assert done.exit_code == 0, done.stderr
    assert "done: 2 records" in done.stdout
    assert facts(invoke("store", "verify", "mended", "--json"))["records"] == 20
    for name, record in records("mended").items():
        assert_same(record, whole[name], name)


def test_repair_names_what_is_lost_in_json(store: str, invoke: Invoke) -> None:
    damage(store, RecordKey("p3", 1))
    found = facts(invoke("store", "repair", store, "mended", "--json"), code=3)
    assert [lost["name"] for lost in found["lost"]] == ["p3#1"]
    assert (found["records"], found["missing"], found["exit_code"]) == (19, 0, 3)
    assert len(found["compute_again"]) == 1


def test_repair_of_a_sound_store(store: str, invoke: Invoke) -> None:
    result = invoke("store", "repair", store, "copy")
    assert result.exit_code == 0
    assert "nothing lost: 20 records" in result.stdout
    assert_equal_stores("copy", store)
    again = invoke("store", "repair", store, "copy")
    assert again.exit_code == 2
    assert "there is a store already" in only_line(again.stderr)
    other = invoke("store", "repair", store, "memory:copy")
    assert other.exit_code == 2
    assert "repaired into one of its kind" in only_line(other.stderr)


def test_the_command_that_computes_again(home: Path, extract: Invoke, invoke: Invoke) -> None:
    (home / "t.txt").write_text("{statement}\n\nGo on, 'now'.\n")
    write_problems(home / "more problems.jsonl", 14)
    options = [
        "--layer", "1", "--layer", "-1", "--pooling", "last", "--logprobs", "--system", "Be brief.",
        "--prompt-template", "t.txt", "--max-new-tokens", "90", "--temperature", "0", "--seed", "4",
        "--top-k", "7", "--steps", "lines", "--hidden-size", "16", "--batch-size", "3",
        "--field", "statement=question", "--store-dtype", "bfloat16", "--allow-failures", "20%",
        "--stop", " 5,\n", "--stop", "-x", "--thinking-steps", "drop",
    ]  # fmt: skip
    wide = ("--problems", "problems.jsonl", "--problems", "more problems.jsonl")
    assert extract(*options, "--limit", "3", problems=wide).exit_code == 0
    assert extract(*options, "--resume", "--limit", "12", problems=wide).exit_code == 0
    assert extract(*options, "--resume", "--limit", "5", problems=wide).exit_code == 0
    whole = records("s")
    removed = facts(invoke("store", "rm", "s", "p1", "p11", "--yes", "--json"))
    assert removed["records"] == ["p1", "p11"]
    [again] = removed["compute_again"]
    assert "--layer 1 --layer 4" in again
    pasted = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {again}"], capture_output=True, text=True
    )
    done = invoke(*pasted.stdout.split("\0")[1:-1])
    assert done.exit_code == 0, done.stderr
    found = records("s")
    assert set(found) == set(whole)
    for name, record in found.items():
        assert_same(record, whole[name], name)


def test_rm_by_reason_and_redo(failing: str, home: Path, extract: Invoke, invoke: Invoke) -> None:
    unknown = invoke("store", "rm", failing, "--reason", "too long", "--yes")
    assert unknown.exit_code == 2
    assert "its reasons: 'answer only'" in only_line(unknown.stderr)
    result = invoke("store", "rm", failing, "ok1", "--reason", "answer only", "--yes")
    assert result.exit_code == 0
    assert "removed 1 record and 3 failures" in result.stdout
    assert set(records(failing)) == {"ok0"}
    again = extract("--store", failing, "--resume", problems=("--traces", "given.jsonl"))
    assert again.exit_code == 3
    assert set(records(failing)) == {"ok0", "ok1"}


def test_rm_takes_a_sample_or_all(store: str, invoke: Invoke) -> None:
    assert invoke("store", "rm", store, "p1", "p2#1", "--yes").exit_code == 0
    assert {"p1", "p1#1", "p2", "p2#1"} & set(records(store)) == {"p2"}


def test_an_id_that_looks_like_a_sample(home: Path, extract: Invoke, invoke: Invoke) -> None:
    rows = [{"id": name, "question": f"What is {name}?"} for name in ("a", "a#1", "b#1")]
    (home / "hash.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert extract("--samples", "2", problems=("--problems", "hash.jsonl")).exit_code == 0
    listed = {"a", "a#1", "a#1#0", "a#1#1", "b#1#0", "b#1#1"}
    shown = invoke("show", "s", "--limit", "9")
    assert all(f" {name}: " in shown.stdout for name in listed)
    assert {one["id"] for one in facts(invoke("show", "s", "--limit", "9", "--json"))["first"]} == (
        listed
    )
    for refused in (invoke("show", "s", "a#1"), invoke("store", "rm", "s", "a#1", "--yes")):
        assert refused.exit_code == 2
        assert (
            "s has a problem a#1 and a sample 1 of a; say a#1#0 a#1#1 for the problem, or a#01 "
            "for the sample" in only_line(refused.stderr)
        )
    for name, problem, sample in (("a#1#0", "a#1", 0), ("a#01", "a", 1), ("b#1", "b#1", 0)):
        told = facts(invoke("show", "s", name, "--json"))
        assert told["id"] == str(RecordKey(problem, sample))
        assert told["statement"] == f"What is {problem}?"
    assert invoke("store", "rm", "s", "a#01", "b#1", "--yes").exit_code == 0
    assert set(records("s")) == {"a", "a#1#0", "a#1#1"}
    assert invoke("store", "rm", "s", "a#1", "--yes").exit_code == 0
    assert set(records("s")) == {"a"}


def test_show_of_a_sample_far_away(store: str, invoke: Invoke) -> None:
    for name in ("p1#4294967295", "p1#4294967296", "p1#\u00b2", "p1#99999999999999999999"):
        result = invoke("show", store, name)
        assert result.exit_code == 2
        assert f"{name} is not in s" in only_line(result.stderr)


def test_rm_of_what_is_not_there_removes_nothing(store: str, invoke: Invoke) -> None:
    result = invoke("store", "rm", store, "p1", "p88", "--yes")
    assert result.exit_code == 2
    assert "neither record nor failure p88; did you mean p8" in only_line(result.stderr)
    nothing = invoke("store", "rm", store, "--yes")
    assert nothing.exit_code == 2
    assert "give ids or failure reasons" in only_line(nothing.stderr)
    assert len(records(store)) == 20


def test_rm_does_not_go_unasked(store: str, invoke: Invoke) -> None:
    result = invoke("store", "rm", store, "p1")
    assert result.exit_code == 2
    assert "remove 2 records from s? There is no terminal" in only_line(result.stderr)
    assert len(records(store)) == 20


@pytest.mark.parametrize(("answer", "left"), [("n", 20), ("y", 18)])
def test_rm_asks_on_a_terminal(store: str, answer: str, left: int) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("store", "rm", store, "p1"), stdin=theirs, stderr=theirs, stdout=theirs
    )
    os.close(theirs)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(ours, 1000)
    assert b"remove 2 records from s?" in said
    os.write(ours, f"{answer}\n".encode())
    assert process.wait(timeout=60) == (0 if answer == "y" else 130)
    os.close(ours)
    assert len(records(store)) == left


def test_compact(store: str, invoke: Invoke) -> None:
    whole = records(store)
    gone = [f"p{i}" for i in range(9)]
    assert invoke("store", "rm", store, *gone, "--yes").exit_code == 0
    before = Path(store, "data.mdb").stat().st_size
    found = facts(invoke("store", "compact", store, "--json"))
    assert found["bytes_saved"] == before - Path(store, "data.mdb").stat().st_size > 0
    assert set(records(store)) == {"p9", "p9#1"}
    assert_same(records(store)["p9"], whole["p9"], "compact")
    assert "compacted: s takes" in invoke("store", "compact", store).stdout


@pytest.mark.parametrize("arguments", [["compact", "s"], ["rm", "s", "p1", "--yes"]])
def test_a_store_that_is_being_written(arguments: list[str], store: str, invoke: Invoke) -> None:
    writer = open_store(store, "write")
    try:
        result = in_own_process("store", *arguments)
    finally:
        writer.close()
    assert result.returncode == 2
    assert str(os.getpid()) in only_line(result.stderr)


def test_an_interrupted_verify_finds_no_damage(store: str) -> None:
    process = subprocess.Popen(
        command("store", "verify", store),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not psutil.Process(process.pid).children():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert not out


def test_repair_of_what_nobody_can_count(store: str, invoke: Invoke) -> None:
    os.truncate(Path(store, "data.mdb"), 8192)
    result = invoke("store", "repair", store, "mended")
    assert result.exit_code == 3
    assert "how many are lost is unknown; 0 records and 0 failures saved" in result.stdout
    assert "nothing lost" not in result.stdout
    found = facts(invoke("store", "repair", store, "again", "--json"), code=3)
    assert found["missing"] is None
    assert {damage["kind"] for damage in found["damages"]} == {"pages", "tally"}


def test_repair_says_that_pages_are_damaged(store: str, invoke: Invoke) -> None:
    with open(Path(store, "data.mdb"), "r+b") as file:
        file.write(bytes(4096))
    result = invoke("store", "repair", store, "mended")
    assert result.exit_code == 3
    assert "nothing lost: 20 records" in result.stdout
    assert "s is damaged all the same:\n  pages store: LMDB cannot open it" in result.stdout


@pytest.mark.parametrize("arguments", [["show", "s", ""], ["store", "rm", "s", "", "--yes"]])
def test_an_empty_id(arguments: list[str], store: str, invoke: Invoke) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert only_line(result.stderr).startswith("the id is empty; give a problem's id")
    assert len(records(store)) == 20


@pytest.mark.parametrize("arguments", [["show", "link"], ["store", "verify", "link"]])
def test_a_link_to_nothing(arguments: list[str], home: Path, invoke: Invoke) -> None:
    (home / "link").symlink_to("unmounted")
    result = invoke(*arguments)
    assert result.exit_code == 2
    line = only_line(result.stderr)
    assert line.startswith("link: is a symbolic link to unmounted, which is not there")
