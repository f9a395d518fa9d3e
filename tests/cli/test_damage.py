"""`rjepa-cli damage`, and a verifier that is trained on what it makes."""

from __future__ import annotations

import json
from pathlib import Path

import evaluation_stores
import pytest

from .conftest import Invoke, only_line


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("damage")
    evaluation_stores.make_store(home, count=240)
    return home


def test_from_a_store_to_a_verifier(
    home: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    usual = ("--model", "m", "--backend", "seeded", "--problems", "12")
    first = invoke("damage", "s", *usual)
    assert first.exit_code == 0, first.output
    assert "result: 12" in first.stdout
    assert "store: s.damage-train" in first.stdout
    again = invoke("damage", "s", "--problems", "12", "--json")
    kinds = json.loads(again.stdout)["kinds"]
    assert kinds["order"] == 12
    assert kinds["clean"] >= 12
    assert invoke("damage", "s", *usual, "--split", "validation").exit_code == 0
    small = ("--set", "model.width=16", "--set", "model.depth=1", "--set", "model.heads=2")
    stores = ("--store", "s.damage-train", "--store", "s.damage-validation")
    done = invoke(
        "train", "--objective", "verifier", *stores, "--out", "v", "--epochs", "2", "--json", *small
    )
    assert done.exit_code == 0, done.output
    curve = json.loads(done.stdout)["curve"]
    assert {"val_auroc_steps", "val_auroc_answers", "val_brier_steps"} <= set(curve[0])
    printed = invoke("train", "--objective", "verifier", "--print-config").stdout
    assert "select: loss" in printed


def test_refusals(home: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    missing = invoke("damage", "s", "--split", "test")
    assert missing.exit_code == 2
    assert "set model.name (--model)" in only_line(missing.stderr)
    assert "no-such" in only_line(invoke("damage", "no-such", "--model", "m").stderr)
    kind = invoke("damage", "s", "--kinds", "slip")
    assert kind.exit_code == 2
    assert "damage.kinds" in only_line(kind.stderr)
    bare = invoke("train", "--objective", "verifier", "--store", "s", "--out", "none")
    assert bare.exit_code == 2
    assert "do not say whether they are right" in only_line(bare.stderr)
    assert not (home / "none").exists()
