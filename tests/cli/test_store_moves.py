"""`rjepa-cli store export`, `import` and `merge`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from rjepa_core import RecordKey
from rjepa_core.testing.store_case import assert_same

from .conftest import only_line
from .store_helpers import assert_equal_stores, change, facts, records

Invoke = Callable[..., Result]


def test_export_and_import(store: str, failing: str, home: Path, invoke: Invoke) -> None:
    out = facts(invoke("store", "export", store, "shards", "--per-shard", "7", "--json"))
    assert out["records"] == 20
    assert sorted(p.name for p in (home / "shards").glob("*.safetensors")) == [
        "shard-0000.safetensors", "shard-0001.safetensors", "shard-0002.safetensors",
    ]  # fmt: skip
    back = invoke("store", "import", "shards", "again")
    assert back.exit_code == 0, back.stderr
    assert "imported 20 records" in back.stdout
    assert_equal_stores("again", store)
    assert "named at import" not in invoke("show", "again").stdout
    assert invoke("store", "export", failing, "shards2").exit_code == 0
    assert facts(invoke("store", "import", "shards2", "again2", "--json"))["failures"] == 3


def test_export_to_a_dataset(store: str, invoke: Invoke) -> None:
    datasets = pytest.importorskip("datasets")
    assert invoke("store", "export", store, "set", "--format", "dataset").exit_code == 0
    assert len(datasets.load_from_disk("set")) == 20


def test_export_and_import_into_what_holds_something(store: str, invoke: Invoke) -> None:
    assert invoke("store", "export", store, "shards").exit_code == 0
    result = invoke("store", "export", store, "shards")
    assert result.exit_code == 2
    assert only_line(result.stderr).startswith("shards: holds something already")
    result = invoke("store", "import", "shards", store)
    assert result.exit_code == 2
    assert "s holds 20 records; import into a new store" in only_line(result.stderr)
    result = invoke("store", "import", "shards", "new", "--model", "x", "--seed", "0")
    assert result.exit_code == 2
    assert "leave out --model, --seed" in only_line(result.stderr)


@pytest.fixture
def halves(home: Path, extract: Invoke) -> tuple[str, str, str]:
    """The store of all, and two of a half each, of five problems and six."""
    lines = (home / "problems.jsonl").read_text().splitlines(keepends=True)
    (home / "one.jsonl").write_text("".join(lines[:5]))
    (home / "two.jsonl").write_text("".join(lines[4:]))
    assert extract("--store", "all").exit_code == 0
    for name in ("one", "two"):
        assert extract("--store", name, problems=("--problems", f"{name}.jsonl")).exit_code == 0
    return "all", "one", "two"


def test_merged_halves_are_the_whole(halves: tuple[str, str, str], invoke: Invoke) -> None:
    whole, one, two = halves
    result = invoke("store", "merge", "both", one, two)
    assert result.exit_code == 0, result.stderr
    assert "10 records added, 1 equal; both holds 10 records" in result.stdout
    assert_equal_stores("both", whole)
    assert facts(invoke("store", "merge", one, two, "--json"))["added"] == 5
    assert_equal_stores(one, whole)
    assert len(facts(invoke("store", "rm", "both", "p1", "--yes", "--json"))["compute_again"]) == 2


@pytest.mark.parametrize("winner", ["target", "source"])
def test_merge_with_a_conflict(winner: str, halves: tuple[str, str, str], invoke: Invoke) -> None:
    _, one, two = halves
    change(two, RecordKey("p4"))
    refused = invoke("store", "merge", one, two)
    assert refused.exit_code == 2
    assert "p4 (" in only_line(refused.stderr)
    assert "--on-conflict" in refused.stderr
    assert len(records(one)) == 5
    wanted = records(one if winner == "target" else two)["p4"]
    result = invoke("store", "merge", one, two, "--on-conflict", winner)
    assert result.exit_code == 0, result.stderr
    assert ("1 kept" if winner == "target" else "1 replaced") in result.stdout
    assert_same(records(one)["p4"], wanted, winner)


def test_merge_of_what_does_not_belong_together(
    home: Path, halves: tuple[str, str, str], extract: Invoke, invoke: Invoke
) -> None:
    _, one, _ = halves
    assert extract("--store", "other", "--layer", "1", "--limit", "2").exit_code == 0
    result = invoke("store", "merge", "new", one, "other")
    assert result.exit_code == 2
    assert "space.layers is [3] and [1]" in only_line(result.stderr)
    assert not (home / "new").exists()
    result = invoke("store", "merge", one, "other")
    assert "cannot be merged" in only_line(result.stderr)
    result = invoke("store", "merge", one, f"./{one}")
    assert result.exit_code == 2
    assert "named twice" in only_line(result.stderr)
