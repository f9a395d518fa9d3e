"""`rjepa-cli store export`, `import` and `merge`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from rjepa_core import RecordKey, open_store
from rjepa_core.ports.store import LatentStore
from rjepa_core.stores import merge
from rjepa_core.testing.memory_store import forget
from rjepa_core.testing.samples import assert_same

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
    assert only_line(result.stderr).startswith("shards: is not empty")
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


def test_a_refused_merge_leaves_nothing(
    home: Path, halves: tuple[str, str, str], invoke: Invoke
) -> None:
    _, one, two = halves
    change(two, RecordKey("p4"))
    before = sorted(home.iterdir())
    refused = invoke("store", "merge", "new", one, two)
    assert refused.exit_code == 2
    line = only_line(refused.stderr)
    assert f"p4 ({one}, {two})" in line
    assert "statements" not in line
    assert sorted(home.iterdir()) == before


def test_a_merge_of_other_statements_says_so(
    home: Path, extract: Invoke, halves: tuple[str, str, str], invoke: Invoke
) -> None:
    _, one, _ = halves
    (home / "other.jsonl").write_text('{"id": "p3", "question": "What else?"}\n')
    assert extract("--store", "other", problems=("--problems", "other.jsonl")).exit_code == 0
    for target in ("new", one):
        refused = invoke("store", "merge", target, *{one, "other"} - {target})
        assert refused.exit_code == 2
        assert "their problem statements differ" in only_line(refused.stderr)
    assert not (home / "new").exists()


def test_an_interrupted_merge_goes_on(
    home: Path, halves: tuple[str, str, str], invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, one, two = halves

    def interrupted(target: LatentStore, sources: Any, *others: Any) -> None:
        merge(target, sources[:1], *others)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rjepa_cli.commands.store.merge.merge_stores", interrupted)
        result = invoke("store", "merge", "new", one, two)
    assert result.exit_code == 130
    assert "repeat the command to continue" in result.stderr
    assert len(records("new")) == 5
    assert "6 equal" in invoke("store", "merge", "new", one, two).stdout
    assert_equal_stores("new", whole)


def test_a_store_of_another_kind(store: str, home: Path, invoke: Invoke) -> None:
    """What needs nothing but the port works for a store that offers no maintenance."""
    merged = invoke("store", "merge", "memory:merged", store)
    assert merged.exit_code == 0, merged.stderr
    assert invoke("store", "export", "memory:merged", "shards").exit_code == 0
    assert invoke("store", "import", "shards", "memory:again").exit_code == 0
    assert_equal_stores("memory:again", store)
    dataset = invoke("store", "export", "memory:again", "dataset", "--format", "dataset")
    assert dataset.exit_code == 0, dataset.stderr
    (home / "shards" / "failures.jsonl").write_text("{}\n")
    failed = invoke("store", "import", "shards", "memory:third")
    assert failed.exit_code == 2
    assert "memory:third holds a part, remove it before the next try" in only_line(failed.stderr)
    for name in ("merged", "again", "third"):
        forget(name)


def test_an_import_that_fails_leaves_nothing(store: str, home: Path, invoke: Invoke) -> None:
    assert invoke("store", "export", store, "shards", "--per-shard", "7").exit_code == 0
    (home / "shards" / "failures.jsonl").write_text("{}\n")
    result = invoke("store", "import", "shards", "new")
    assert result.exit_code == 2
    assert "failures.jsonl: its bytes are not those" in only_line(result.stderr)
    assert sorted(path.name for path in home.iterdir()) == ["problems.jsonl", "s", "shards"]


def test_import_of_a_store(store: str, invoke: Invoke) -> None:
    for kept in ("with identity.json", "without"):
        result = invoke("store", "import", store, "new")
        assert result.exit_code == 2, kept
        assert only_line(result.stderr).startswith("s: is a store, not the shards of one")
        Path(store, "identity.json").unlink(missing_ok=True)
    assert not Path("new").exists()


def test_an_interrupted_import(store: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    assert invoke("store", "export", store, "shards").exit_code == 0
    monkeypatch.setattr("rjepa_adapters.shards.import_shards", interrupted)
    result = invoke("store", "import", "shards", "new")
    assert result.exit_code == 130
    assert "interrupted; nothing is left of new" in result.stderr
    assert not Path("new").exists()
    open_store("begun", "write").close()
    result = invoke("store", "import", "shards", "begun")
    assert result.exit_code == 130
    assert "interrupted; begun holds a part, remove it before the next try" in result.stderr


def test_an_import_into_a_begun_store(store: str, home: Path, invoke: Invoke) -> None:
    """A store without records may be imported into; a failure says what it leaves there."""
    assert invoke("store", "export", store, "shards").exit_code == 0
    open_store("begun", "write").close()
    assert invoke("store", "import", "shards", "begun").exit_code == 0
    assert_equal_stores("begun", store)
    open_store("begun-too", "write").close()
    (home / "shards" / "failures.jsonl").write_text("{}\n")
    result = invoke("store", "import", "shards", "begun-too")
    assert result.exit_code == 2
    assert "begun-too holds a part, remove it before the next try" in only_line(result.stderr)
