"""Shards that are not what was exported: refused, with the file and the record or line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rjepa_adapters.lmdb_store import writer as writing
from rjepa_adapters.lmdb_store.maintenance import build
from rjepa_adapters.lmdb_store.store import LmdbStore
from rjepa_adapters.shards import export_shards, import_shards
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.errors import InputError
from rjepa_core.testing.samples import sample_failure, sample_identity, sample_record

pa = pytest.importorskip("pyarrow")
IDENTITY = sample_identity(1, 8, logprobs=True)
FILES = [
    "failures.jsonl", "shard-0000.parquet", "shard-0000.safetensors", "shard-0001.parquet",
    "shard-0001.safetensors", "shard-0002.parquet", "shard-0002.safetensors",
]  # fmt: skip


def export(place: Path, records: list[LatentRecord]) -> Path:
    with LmdbStore(str(place / "a"), "write") as store:
        store.begin(IDENTITY)
        store.write(records, [sample_failure(f"f-{i}") for i in range(3)])
        store.commit()
        export_shards(store, str(place / "out"), per_shard=4)
    return place / "out"


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Ten records in three shards, and three failures."""
    return export(tmp_path, [sample_record(IDENTITY, f"p-{i}", steps=3) for i in range(10)])


def refused(shards: Path) -> str:
    """The one line with which an import is refused; nothing is left of it."""
    target = shards.parent / "new"
    with pytest.raises(InputError) as caught, build(str(target)) as store:
        import_shards(str(shards), store)
    assert sorted(path.name for path in shards.parent.iterdir()) == ["a", "out"]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(shards: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = shards / "identity.json"
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def vouch_for_nothing(shards: Path) -> None:
    """As an older export, without counts and digests."""
    edit(shards, lambda fields: (fields.pop("files"), fields.pop("counts")))


def rewrite(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the rows of a table."""
    import pyarrow.parquet as parquet

    table = parquet.read_table(path)
    rows = table.to_pylist()
    change(rows)
    parquet.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def test_the_manifest_tells_what_belongs_to_the_export(shards: Path) -> None:
    fields = json.loads((shards / "identity.json").read_text())
    assert fields["counts"] == {"records": 10, "failures": 3, "shards": 3}
    assert sorted(fields["files"]) == FILES
    assert all(re.fullmatch("[0-9a-f]{32}", digest) for digest in fields["files"].values())


def test_shards_without_counts_are_read(shards: Path) -> None:
    vouch_for_nothing(shards)
    with build(str(shards.parent / "new")) as store:
        report = import_shards(str(shards), store)
    assert (report.records, report.failures) == (10, 3)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(shards: Path, name: str) -> None:
    (shards / name).unlink()
    assert f"{name}: is missing" in refused(shards)


def test_a_missing_shard_is_counted_without_digests(shards: Path) -> None:
    edit(shards, lambda fields: fields.pop("files"))
    (shards / "failures.jsonl").unlink()
    assert "0 failures are there, and identity.json says that 3" in refused(shards)
    (shards / "shard-0001.safetensors").unlink()
    assert "2 shards are there, and identity.json says that 3" in refused(shards)


def test_a_foreign_shard_is_named(shards: Path) -> None:
    for suffix in ("safetensors", "parquet"):
        content = (shards / f"shard-0000.{suffix}").read_bytes()
        (shards / f"shard-0007.{suffix}").write_bytes(content)
    assert "shard-0007.safetensors: is not part of the export" in refused(shards)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_noticed(shards: Path, name: str) -> None:
    content = bytearray((shards / name).read_bytes())
    content[-len(content) // 3] ^= 1
    (shards / name).write_bytes(content)
    assert f"{name}: its bytes are not those that were exported" in refused(shards)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("num_steps", 2, "'p-5' has 3 vectors of steps and 2 in its num_steps"),
        ("steps", ["one", "two"], "p-5: 3 step vectors, but 3 spans and 2 texts of steps"),
        ("span_stops", [1], "p-5: 3 step vectors, but 1 spans and 3 texts"),
        ("thinking", [True], "'p-5' has 3 vectors of steps and 1 in its thinking"),
    ],
)
def test_steps_that_are_not_as_many_as_vectors(
    shards: Path, column: str, value: Any, message: str
) -> None:
    vouch_for_nothing(shards)

    def change(rows: list[dict[str, Any]]) -> None:
        rows[1][column] = value
        if column == "span_stops":
            rows[1]["span_starts"] = [0]

    rewrite(shards / "shard-0001.parquet", change)
    said = refused(shards)
    assert "shard-0001.safetensors: " in said
    assert message in said


def test_spans_that_do_not_fit_together(shards: Path) -> None:
    vouch_for_nothing(shards)
    rewrite(shards / "shard-0001.parquet", lambda rows: rows[0].update(span_starts=[0]))
    assert "shard-0001.safetensors: the row of 'p-4' cannot be used" in refused(shards)


def test_spans_behind_the_last_token(shards: Path) -> None:
    vouch_for_nothing(shards)
    rewrite(shards / "shard-0001.parquet", lambda rows: rows[0].update(completion_ids=[1]))
    assert "'p-4' has 1 tokens, and a step that ends at token" in refused(shards)


@pytest.mark.parametrize("part", ["latents", "prompt_latent", "logprobs"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite(
    tmp_path: Path, part: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store takes none today; an earlier version's did."""
    records = [sample_record(IDENTITY, f"p-{i}", steps=3) for i in range(5)]
    getattr(records[4], part).flat[1] = value
    with monkeypatch.context() as earlier:
        earlier.setattr(writing, "check_fits", lambda record, identity: None)
        shards = export(tmp_path, records)
    said = refused(shards)
    assert "shard-0001.safetensors: the row of 'p-4' cannot be used" in said
    assert "NaN or infinite" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "no failure"),
        ("[]", "no failure"),
        ('{"key": {"problem_id": "f"}}', "'sample' is missing"),
        ('{"key": {"problem_id": "f", "sample": 0}}', "'statement_hash'"),
        ('{"reason": "empty"}', "'key' is missing"),
    ],
)
def test_a_bad_line_of_failures(shards: Path, line: str, said: str) -> None:
    vouch_for_nothing(shards)
    with open(shards / "failures.jsonl", "a") as file:
        file.write(line + "\n")
    found = refused(shards)
    assert "failures.jsonl:4: no failure" in found
    assert said in found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.pop("identity"), "'identity' is missing"),
        (lambda f: f.pop("history"), "'history' is missing"),
        (lambda f: f.update(identity=[]), "'identity' is no dict"),
        (lambda f: f.update(counts=3), "'counts' is no dict"),
        (lambda f: f["identity"].pop("space"), "its identity lacks 'space'"),
        (lambda f: f["identity"]["space"].pop("pooling"), "'pooling'"),
        (lambda f: f["identity"]["space"].update(colour=1), "'colour'"),
        (lambda f: f["identity"]["space"].update(store_dtype="f8"), "store_dtype 'f8'"),
        (lambda f: f["identity"]["space"].update(layers="3"), "'3' is no whole number"),
        (lambda f: f.pop("format"), "no format and version"),
    ],
)
def test_a_bad_identity(
    shards: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    edit(shards, change)
    found = refused(shards)
    assert "identity.json: " in found
    assert said in found


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("shard-0000.safetensors", b"", "not a safetensors file"),
        ("shard-0000.safetensors", b"\xff" * 100, "not a safetensors file"),
        ("shard-0000.safetensors", b"\x02\0\0\0\0\0\0\0{}", "no tensor"),
        ("identity.json", b"{", "cannot be read"),
        ("identity.json", json.dumps({"format": "x", "version": 9}).encode(), "update rjepa"),
    ],
)
def test_a_file_that_is_no_shard(shards: Path, name: str, content: bytes, message: str) -> None:
    edit(shards, lambda fields: fields.pop("files"))  # As an older export has it.
    (shards / name).write_bytes(content)
    assert message in refused(shards)
