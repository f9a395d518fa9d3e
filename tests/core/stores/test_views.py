"""A store as a mapping, as arrays and at a glance: the same for every store."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np
import pytest
from store_kinds import fill

from rjepa_core import RecordKey
from rjepa_core.errors import ArgumentError, StoreClosedError
from rjepa_core.ports.store import LatentStore
from rjepa_core.testing.samples import sample_failure, sample_identity, sample_record

NewStore = Callable[[str], LatentStore]


def test_iteration_and_keys_agree(new_store: NewStore) -> None:
    store = new_store("s")
    fill(store, range(10))
    records = list(store)
    assert [record.key for record in records] == list(store.keys())
    for record in records:
        key = record.key
        assert record in store
        assert key in store
        assert str(key) in store
        assert store[str(key)].key == store[key].key == key
    assert store["p-2"].key == RecordKey("p-2", 0)
    assert store["p-2#1"].key == RecordKey("p-2", 1)
    for absent in ("p-99", "p-2#7", "f-0", RecordKey("p-2", 9), 3, None):
        assert absent not in store


def test_ids_that_look_like_samples(new_store: NewStore) -> None:
    store = new_store("s")
    identity = sample_identity()
    store.begin(identity)
    store.write([sample_record(identity, "a#1"), sample_record(identity, "b#x")])
    store.commit()
    # Nothing else has that text.
    assert store["a#1"].key == store["a#1#0"].key == RecordKey("a#1")
    assert store["b#x"].key == RecordKey("b#x")
    store.write([sample_record(identity, "a", 1)])
    store.commit()
    assert store["a#1"].key == RecordKey("a", 1)
    assert all(store[str(record.key)].key == record.key for record in store)


def test_what_is_missing_is_said(new_store: NewStore) -> None:
    store = new_store("s")
    fill(store, range(4))
    identity = store.identity
    assert identity is not None
    store.write([sample_record(identity, "late", steps=2)], [sample_failure("bad", reason="slow")])
    # As `get`, none of this sees what is not committed.
    assert "late" not in store
    assert len(list(store)) == 4
    store.commit()
    assert "late" in store
    for key, hint in (
        ("p-9", "did you mean p-"),
        ("p-1#5", "of that problem it holds p-1"),
        ("bad", "it failed: slow"),
    ):
        with pytest.raises(KeyError, match=hint):
            store[key]
    with pytest.raises(ArgumentError, match="key: got 3, expected a RecordKey, or its text"):
        store[3]  # type: ignore[index]


def test_arrays_are_the_records_steps(new_store: NewStore) -> None:
    store = new_store("s")
    fill(store, range(10))
    found = store.arrays(2)
    assert found.layer == 2
    assert found.latents.dtype == np.float32
    assert list(found.keys) == list(store.keys())
    for place, key in enumerate(found.keys):
        record = store.get(key)
        rows = found.record == place
        np.testing.assert_array_equal(found.latents[rows], record.latents[1].astype(np.float32))
        np.testing.assert_array_equal(found.prompts[place], record.prompt_latent[1])
        assert found.step[rows].tolist() == list(range(record.latents.shape[1]))
    some = store.arrays(1, ["p-1#1", RecordKey("p-0")])
    assert [str(key) for key in some.keys] == ["p-1#1", "p-0"]
    assert len(some) == len(store["p-1#1"].trace.spans) + len(store["p-0"].trace.spans)
    assert len(store.arrays(1, "p-0")) == len(store["p-0"].trace.spans)


def test_arrays_in_many_parts(new_store: NewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store = new_store("s")
    fill(store, range(12))
    whole = store.arrays(1)
    monkeypatch.setattr("rjepa_core.ports.views._MOST_READ", 3)
    np.testing.assert_array_equal(store.arrays(1).latents, whole.latents)
    monkeypatch.setattr("rjepa_core.ports.views._READ_VALUES", 1)
    np.testing.assert_array_equal(store.arrays(1).prompts, whole.prompts)


def test_layers_that_are_not_there(new_store: NewStore) -> None:
    store = new_store("s")
    with pytest.raises(ArgumentError, match="holds no records"):
        store.arrays()
    fill(store, range(2))
    for layer, hint in ((None, "holds layers 1, 2; choose one"), (-1, "absolute"), (7, "no layer")):
        with pytest.raises(ArgumentError, match=hint):
            store.arrays(layer)


def test_reprs_are_short(new_store: NewStore) -> None:
    store = new_store("s")
    assert "0 records" in repr(store)
    fill(store, range(6))
    assert "6 records of 3 problems" in repr(store)
    assert "[2, S, 16] bfloat16" in repr(store)
    record = store["p-0"]
    trace = attrs.evolve(record.trace, completion="x" * 9000, answer="y" * 900 + "\n")
    record = attrs.evolve(record, trace=trace)
    for shown in (store, record, record.trace, store.arrays(1)):
        assert len(repr(shown)) < 240
        assert "\n" not in repr(shown)
    assert (
        "<script>"
        not in attrs.evolve(record, trace=attrs.evolve(trace, answer="<script>"))._repr_html_()
    )
    assert "3 problems" in store._repr_html_()
    store.close()
    assert "closed" in repr(store)
    assert "closed" in store._repr_html_()
    with pytest.raises(StoreClosedError):
        next(iter(store))


def test_a_store_closes_with_its_block(new_store: NewStore) -> None:
    with new_store("s") as store:
        fill(store, range(2))
    with pytest.raises(StoreClosedError):
        len(store)
