"""Latents as a dataset, in this process and in workers, and their statistics."""

from __future__ import annotations

import pickle
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from latent_stores import make_store

from rjepa_adapters.world_model.batches import LengthBatches, Rows
from rjepa_adapters.world_model.dataset import Batch, LatentDataset
from rjepa_adapters.world_model.index import open_index
from rjepa_adapters.world_model.normalise import Standardiser, measured
from rjepa_adapters.world_model.workers import Loader
from rjepa_core.errors import StoreError
from rjepa_core.plugins.locate import open_store
from rjepa_core.settings.training import DataSettings
from rjepa_core.testing.samples import sample_identity

MANY = [2 + i % 4 for i in range(60)]


@pytest.fixture
def dataset(tmp_path: Path) -> LatentDataset:
    """Two stores, the first of two layers."""
    a = make_store(tmp_path / "a", MANY, sample_identity(layers=2))
    b = make_store(tmp_path / "b", MANY[:30], prefix="q")
    return LatentDataset(open_index(DataSettings(stores=(a, b), layer=1), None))


def expected(dataset: LatentDataset, i: int) -> tuple[np.ndarray, np.ndarray]:
    number, key = dataset.index.key(i)
    part = dataset.index.stores[number]
    with open_store(part.location) as store:
        record = store.get(key)
    latents, prompt = record.latents[part.layer], record.prompt_latent[part.layer]
    return latents.astype(np.float32), prompt.astype(np.float32)


def same(a: Batch, b: Batch) -> bool:
    pairs = zip((a.latents, a.prompts, a.domains), (b.latents, b.prompts, b.domains), strict=True)
    return (a.whole, a.last) == (b.whole, b.last) and all(torch.equal(x, y) for x, y in pairs)


def test_batches_hold_what_the_stores_hold(dataset: LatentDataset) -> None:
    assert len(dataset) == 90
    for rows in LengthBatches(dataset.index.steps, 16, seed=1):
        batch = dataset.__getitems__(rows)
        assert batch.latents.dtype == batch.prompts.dtype == torch.float32
        assert batch.domains.dtype == torch.int64
        assert batch.latents.is_contiguous()
        for row, i in enumerate(rows):
            latents, prompt = expected(dataset, i)
            np.testing.assert_array_equal(batch.latents[row].numpy(), latents)
            np.testing.assert_array_equal(batch.prompts[row].numpy(), prompt)
    one = dataset[7]
    np.testing.assert_array_equal(one.latents[0].numpy(), expected(dataset, 7)[0])
    assert len(one) == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_every_dtype(tmp_path: Path, dtype: str) -> None:
    store = make_store(tmp_path / "s", [3] * 5, sample_identity(dtype=dtype))
    dataset = LatentDataset(open_index(DataSettings(stores=(store,)), None))
    batch = dataset.__getitems__(list(range(5)))
    assert batch.latents.dtype == torch.float32
    for i in range(5):
        np.testing.assert_array_equal(batch.latents[i].numpy(), expected(dataset, i)[0])


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_give_the_same(dataset: LatentDataset, context: str) -> None:
    sampler = LengthBatches(dataset.index.steps, 8, seed=2, accumulate=2)
    alone = list(Loader(dataset, sampler))
    read = Loader(dataset, sampler, num_workers=2, context=context)
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        batches = list(read)
        assert len(batches) == len(alone)
        if epoch == 0:
            assert all(map(same, batches, alone))
    sampler.start(3)
    assert all(map(same, list(read), list(Loader(dataset, sampler))))
    assert len(list(read)) == len(sampler)


def test_reading_leaves_the_random_numbers_alone(dataset: LatentDataset) -> None:
    """A run that goes on in mid-epoch draws what the uninterrupted one does."""
    before = torch.get_rng_state()
    list(Loader(dataset, LengthBatches(dataset.index.steps, 8)))
    assert torch.equal(torch.get_rng_state(), before)


def test_pickled_dataset_reads(dataset: LatentDataset) -> None:
    before = dataset[3]
    again = pickle.loads(pickle.dumps(dataset))
    assert same(again[3], before)
    dataset.close()
    assert same(dataset[3], before)


def test_batch_moves(dataset: LatentDataset) -> None:
    batch = dataset.__getitems__(Rows([0, 4], 6, False))
    moved = batch.to("cpu")
    assert same(batch, moved)
    assert (moved.whole, moved.last, len(moved)) == (6, False, 2)


def test_refusals(dataset: LatentDataset) -> None:
    with pytest.raises(ValueError, match="traces of 2 to 3 steps"):
        dataset.__getitems__([0, 1])
    with pytest.raises(ValueError, match="an index"):
        dataset.__getitems__([])
    number, key = dataset.index.key(5)
    with open_store(dataset.index.stores[number].location, "write") as store:
        store.delete([key])
    with pytest.raises(StoreError, match="p-5; the store has changed"):
        dataset[5]


def test_statistics_are_those_of_numpy(dataset: LatentDataset) -> None:
    everything = [expected(dataset, i) for i in range(len(dataset))]
    steps = np.concatenate([latents for latents, _ in everything]).astype(np.float64)
    prompts = np.stack([prompt for _, prompt in everything]).astype(np.float64)
    found = Standardiser.fit(dataset)
    for name, values in (("step", steps), ("prompt", prompts)):
        np.testing.assert_allclose(getattr(found, f"{name}_mean"), values.mean(0), rtol=1e-6)
        np.testing.assert_allclose(getattr(found, f"{name}_std"), values.std(0), rtol=1e-6)
    same = Standardiser.fit(dataset, Loader(dataset, measured(dataset), num_workers=1))
    assert all((same.to_tensors()[k] == v).all() for k, v in found.to_tensors().items())


def test_large_means_and_still_dimensions() -> None:
    from rjepa_adapters.world_model.normalise import _Moments

    rows = np.random.default_rng(0).standard_normal((1000, 4)).astype(np.float32)
    rows = (rows * [1e-2, 1, 100, 0] + [3000, 0, -5000, 7]).astype(np.float32)
    moments = _Moments.empty(4)
    for part in np.array_split(rows, 13):
        moments = moments.joined(part)
    mean, std = moments.mean_and_std()
    np.testing.assert_allclose(mean, rows.astype(np.float64).mean(0), rtol=1e-6)
    np.testing.assert_allclose(std[:3], rows.astype(np.float64).std(0)[:3], rtol=1e-5)
    assert std[3] > 0


def test_standardiser_as_tensors(dataset: LatentDataset) -> None:
    found = Standardiser.fit(dataset)
    tensors = found.to_tensors()
    assert {a.dtype for a in tensors.values()} == {np.dtype(np.float32)}
    again = Standardiser.from_tensors({**tensors, "other": np.zeros(3, np.float32)})
    assert all((again.to_tensors()[k] == v).all() for k, v in tensors.items())
    with pytest.raises(ValueError, match="lacks prompt_std"):
        Standardiser.from_tensors({k: v for k, v in tensors.items() if k != "prompt_std"})
    with pytest.raises(ValueError, match="do not fit together"):
        Standardiser.from_tensors({**tensors, "step_std": np.zeros(3, np.float32)})
    plain = Standardiser.identity(8)
    assert plain.hidden_size == 8
    assert (plain.step_std == 1).all()
    assert not plain.prompt_mean.any()


def test_bfloat16_is_what_ml_dtypes_says() -> None:
    from rjepa_adapters.world_model.dataset import _widened

    values = np.array([[1.5, -3e38, 1e-30]], ml_dtypes.bfloat16)
    np.testing.assert_array_equal(_widened(values).numpy(), values.astype(np.float32))
