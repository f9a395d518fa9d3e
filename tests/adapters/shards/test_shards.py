"""Stores as shards and back, whatever keeps them."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from store_kinds import OpenStore, assert_equal, fill

from rjepa_adapters.shards import export_dataset, export_shards, import_shards
from rjepa_core import LatentRecord, LatentStore, RecordKey, open_store
from rjepa_core.domain.problem import Problem
from rjepa_core.errors import IdentityError, InputError, StoreError, UsageError
from rjepa_core.ports.maintenance import ToolProgress
from rjepa_core.stores import merge
from rjepa_core.testing.samples import sample_identity, sample_record

pytest.importorskip("pyarrow")


@pytest.mark.parametrize("per_shard", [7, 1000])
def test_export_then_import(new_store: OpenStore, tmp_path: Path, per_shard: int) -> None:
    store, again = new_store("a"), new_store("b")
    fill(store, range(20))
    identity = store.identity
    assert identity is not None
    odd = [
        sample_record(identity, i, k, thinking=k)
        for i in ("a#1", "a", "a/prompt", "__metadata__", "\ud800", "?", "x" * 600)
        for k in (0, 1)
    ]
    store.write(odd)
    store.commit()
    seen: list[ToolProgress] = []
    out = export_shards(store, str(tmp_path / "out"), per_shard, seen.append)
    assert (out.records, out.failures) == (34, 5)
    assert out.bytes == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert seen
    import_shards(str(tmp_path / "out"), again)
    assert_equal(again, store)
    with pytest.raises(UsageError, match="is not empty"):
        export_shards(store, str(tmp_path / "out"))


def test_several_processes_write_the_same_files(tmp_path: Path) -> None:
    place = str(tmp_path / "s")
    with open_store(place, "write") as store:
        fill(store, range(20))
        seen: list[ToolProgress] = []
        reopen = functools.partial(open_store, place)
        one = export_shards(store, str(tmp_path / "one"), 3)
        two = export_shards(store, str(tmp_path / "two"), 3, seen.append, 2, reopen)
    assert one == two
    assert [step.done for step in seen if step.phase == "exporting"] == [3, 6, 9, 12, 15, 18, 20]
    for name in one.files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def gone() -> LatentStore:
    raise SystemExit


def without_p_1(place: str) -> LatentStore:
    """The store as another process sees it once a record was removed."""
    store = open_store(place, "read")
    get = store.get

    def missing(key: RecordKey) -> LatentRecord:
        return get(RecordKey("none") if key.problem_id == "p-1" else key)

    store.get = missing  # type: ignore[method-assign]
    return store


def test_a_process_that_is_lost_and_a_record_that_is_gone(tmp_path: Path) -> None:
    place = str(tmp_path / "s")
    with open_store(place, "write") as store:
        fill(store, range(4))
        with pytest.raises(StoreError, match="a process that wrote shards was lost"):
            export_shards(store, str(tmp_path / "out"), 2, workers=2, reopen=gone)
        reopen = functools.partial(without_p_1, place)
        with pytest.raises(StoreError, match="none was removed while it was exported"):
            export_shards(store, str(tmp_path / "out"), 2, workers=2, reopen=reopen)
    assert not (tmp_path / "out").exists()


def test_export_import_then_merge(new_store: OpenStore, tmp_path: Path) -> None:
    """Two machines export, a third one imports and merges; each record comes as it was."""
    whole, target = new_store("whole"), new_store("target")
    fill(whole, range(12))
    arrived = []
    for name, numbers in (("one", range(6)), ("two", range(6, 12))):
        store, again = new_store(name), new_store(f"{name}-again")
        fill(store, numbers)
        export_shards(store, str(tmp_path / f"{name}-shards"))
        import_shards(str(tmp_path / f"{name}-shards"), again)
        arrived.append(again)
    assert merge(target, arrived).added == 12
    assert_equal(target, whole)


def test_a_dataset_of_any_store(new_store: OpenStore, tmp_path: Path) -> None:
    store = new_store("a")
    fill(store, range(10))
    report = export_dataset(store, str(tmp_path / "out"), per_shard=4)
    assert (report.records, report.failures) == (10, 0)
    assert json.loads((tmp_path / "out" / "state.json").read_text())["_data_files"] == [
        {"filename": f"data-{i:05d}-of-00003.arrow"} for i in range(3)
    ]


def test_shards_of_another_identity_are_refused(new_store: OpenStore, tmp_path: Path) -> None:
    store, other = new_store("a"), new_store("b")
    fill(store, range(3))
    other.begin(sample_identity())
    export_shards(store, str(tmp_path / "out"))
    with pytest.raises(IdentityError):
        import_shards(str(tmp_path / "out"), other)


def test_shards_without_an_identity(new_store: OpenStore, tmp_path: Path) -> None:
    store, other, third = map(new_store, "abc")
    fill(store, range(4))
    export_shards(store, str(tmp_path / "out"))
    (tmp_path / "out" / "identity.json").unlink()
    with pytest.raises(UsageError, match="name the model"):
        import_shards(str(tmp_path / "out"), other)
    with pytest.raises(InputError, match="identity says"):
        import_shards(str(tmp_path / "out"), other, sample_identity())
    problems = {"p-0": Problem("p-0", "unused: the shards hold statements")}
    import_shards(str(tmp_path / "out"), third, store.identity, problems)
    assert_equal(third, store)


@pytest.mark.parametrize("export", [export_shards, export_dataset])
def test_what_cannot_be_exported(
    new_store: OpenStore, tmp_path: Path, export: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, out = new_store("a"), str(tmp_path / "out")
    with pytest.raises(UsageError, match="never written to; there is nothing to export"):
        export(store, out)
    fill(store, range(2))
    with pytest.raises(UsageError, match="0 records per shard; at least 1"):
        export(store, out, 0)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"pyarrow.*pip install .*\[data\]"):
        export(store, out)
    assert not Path(out).exists()
