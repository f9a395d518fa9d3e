"""The traces of stores for torch, item by item and in batches."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from latent_stores import make_store
from torch.utils.data import DataLoader

from rjepa_adapters.data import TraceDataset, collate
from rjepa_core import open_store
from rjepa_core.errors import ArgumentError, UsageError
from rjepa_core.testing.samples import sample_identity


def test_items_are_the_records(tmp_path: Path) -> None:
    places = [make_store(tmp_path / name, (2, 4, 3), prefix=name) for name in ("a", "b")]
    dataset = TraceDataset(places)
    assert len(dataset) == 6
    assert dataset.hidden_size == 8
    for item in dataset:
        with open_store(item["store"]) as store:
            record = store[item["key"]]
        np.testing.assert_array_equal(item["latents"], record.latents[0].astype(np.float32))
        np.testing.assert_array_equal(item["prompt"], record.prompt_latent[0].astype(np.float32))
    with open_store(places[0]) as store:
        assert len(TraceDataset(store)) == 3
        assert len(TraceDataset([store, places[1]])) == 6
    with pytest.raises(ArgumentError, match="stores: got 3, expected a string or a path"):
        TraceDataset(3)  # type: ignore[arg-type]
    with pytest.raises(IndexError, match="trace 6 of 6"):
        dataset[6]


def test_batches_are_padded(tmp_path: Path) -> None:
    dataset = TraceDataset(tmp_path / make_store(tmp_path / "a", (2, 4, 3, 1)))
    [batch] = DataLoader(dataset, batch_size=4, collate_fn=collate)
    assert batch["latents"].shape == (4, 4, 8)
    assert batch["latents"].dtype == torch.float32
    assert batch["mask"].sum(1).tolist() == batch["steps"].tolist() == [2, 4, 3, 1]
    assert not batch["latents"][~batch["mask"]].any()
    for place, item in enumerate(dataset):
        assert torch.equal(batch["latents"][place][batch["mask"][place]], item["latents"])
        assert torch.equal(batch["prompts"][place], item["prompt"])
        assert batch["keys"][place] == item["key"]


def test_it_travels_to_workers(tmp_path: Path) -> None:
    dataset = TraceDataset(make_store(tmp_path / "a"))
    dataset[0]
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again[1]["latents"], dataset[1]["latents"])


def test_parts_layers_and_what_is_refused(tmp_path: Path) -> None:
    place = make_store(tmp_path / "a", [2] * 60, sample_identity(2))
    sizes = [len(TraceDataset(place, 1, split)) for split in ("train", "validation", "test")]
    assert sum(sizes) == 60
    assert sizes[0] > sizes[1]
    with pytest.raises(UsageError, match=r"holds layers 1, 2; choose one"):
        TraceDataset(place)
    with pytest.raises(ArgumentError, match="split: got 'tests', expected one of train"):
        TraceDataset(place, 1, "tests")
