"""Shards that the original project wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from rjepa_adapters.lmdb_store.store import LmdbStore
from rjepa_adapters.shards import import_shards
from rjepa_core.testing.samples import sample_identity

pytest.importorskip("pyarrow")


def test_the_original_projects_shards(tmp_path: Path, shared_data: Path) -> None:
    identity = sample_identity(1, 576)
    with LmdbStore(str(tmp_path / "a"), "write") as store:
        report = import_shards(str(shared_data / "gsm8k_train_smollm2"), store, identity)
        assert report.records == 7473
        assert store.stats().steps == 26_724
        key = next(iter(store.keys()))
        trace = store.get(key).trace
        assert "without token ids" in trace.metadata["imported"]
        assert store.history()[-1]["identity"] == "named by the user"
