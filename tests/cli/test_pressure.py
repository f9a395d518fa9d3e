"""Allocations that really fail: the command line under a limit on a process's data.

A small checkpoint whose rows take much memory and little time: as keys and values, which both ways
of extraction hold. What its runs take is measured before the limit is set between them.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.hf_checkpoints import qwen3

from rjepa_core.plugins.locate import open_store

MIB = 2**20


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pressure") / "model"
    heads = {"num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": 256}
    return qwen3(folder, num_hidden_layers=4, max_position_embeddings=8192, **heads)


# What halves a batch is the same for both ways; the second one takes a minute.
@pytest.fixture(params=["fused", pytest.param("double-pass", marks=pytest.mark.slow)])
def way(request: pytest.FixtureRequest) -> tuple[str, str]:
    return ("--extraction", request.param)


def write(path: Path, words: list[int]) -> Path:
    rows = [
        {"id": f"p{i}", "problem": "apples and pears " * n + f"{i}?"} for i, n in enumerate(words)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def extract(model: Path, store: Path, *arguments: object, limit: int | None = None) -> Any:
    """Exit code, the JSON on stdout, and the peak of what `RLIMIT_DATA` counts."""
    command = [sys.executable, "-m", "rjepa_cli", "extract", "--model", str(model), "--json"]
    command += ["--store", str(store), "--max-new-tokens", "6", "--encode-tokens", "256"]
    command += ["--device", "cpu", *map(str, arguments)]

    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=limited
    )
    peak = 0
    while process.poll() is None:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        except OSError:
            break
        peak = max([peak, *(int(x.split()[1]) * 1024 for x in lines if x.startswith("VmData:"))])
        time.sleep(0.005)
    out, err = process.communicate()
    return process.returncode, json.loads(out) if out.strip() else err, peak


def history(store: Path) -> Any:
    shown = subprocess.run(
        [sys.executable, "-m", "rjepa_cli", "show", str(store), "--history", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(shown.stdout)["runs"]


def test_a_batch_that_does_not_fit_comes_again_smaller(
    model: Path, tmp_path: Path, way: tuple[str, str]
) -> None:
    problems = write(tmp_path / "p.jsonl", [30] * 48)
    fixed = ("--problems", problems, "--limit", "16", *way, "--scheduler", "fixed", "--batch-size")
    peaks = [extract(model, tmp_path / f"f{n}", *fixed, n)[2] for n in (8, 16)]
    assert peaks[1] > peaks[0] + 100 * MIB
    store = tmp_path / "s"
    code, told, peak = extract(model, store, "--problems", problems, *way, limit=sum(peaks) // 2)
    assert code == 0, told
    assert told["out_of_memory"] >= 1
    assert peak <= sum(peaks) // 2
    with open_store(str(store)) as opened:
        assert len(opened) == 48
    [run] = history(store)
    first = run["changes"][0]
    assert (first["rows_before"], first["rows_after"]) == (16, 8)
    assert first["reason"] == "out of memory"


@pytest.mark.slow
def test_problems_that_fit_nowhere_fail_alone_and_later_succeed(
    model: Path, tmp_path: Path, way: tuple[str, str]
) -> None:
    lengths = [3] * 20
    few = (*way, "--batch-size", "4", "--max-batch-size", "8")
    short = write(tmp_path / "short.jsonl", lengths)
    usual = extract(model, tmp_path / "usual", "--problems", short, *few)[2]
    lengths[3] = lengths[14] = 700
    problems = write(tmp_path / "p.jsonl", lengths)
    alone = (*way, "--scheduler", "fixed", "--batch-size", "1")
    code, _, whole = extract(model, tmp_path / "whole", "--problems", problems, *alone)
    assert code == 0
    assert whole > usual + 100 * MIB
    store = tmp_path / "s"
    code, told, _ = extract(model, store, "--problems", problems, *few, limit=(usual + whole) // 2)
    assert code == 3, told
    with open_store(str(store)) as opened:
        failures = list(opened.failures())
        assert len(opened) == 18
    assert {failure.key.problem_id for failure in failures} == {"p3", "p14"}
    assert {failure.reason for failure in failures} == {"out of memory"}
    assert all((failure.needed_bytes or 0) > 300 * MIB for failure in failures)
    code, told, _ = extract(
        model, store, "--problems", problems, *few, "--resume", "--retry-failed"
    )
    assert code == 0, told
    with open_store(str(store)) as opened:
        assert len(opened) == 20
        assert not list(opened.failures())
