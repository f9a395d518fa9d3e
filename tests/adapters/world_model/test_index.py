"""Which records are read, and what is said where none are."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import attrs
import numpy as np
import pytest
from latent_stores import make_store

from rjepa_adapters.world_model.index import Index, open_index
from rjepa_core.domain.problem import Split, split_of
from rjepa_core.domain.trace import RecordKey
from rjepa_core.errors import IdentityError, StoreNotFoundError, UsageError
from rjepa_core.plugins.locate import open_store
from rjepa_core.settings.training import DataSettings
from rjepa_core.testing.memory_store import MemoryStore, forget
from rjepa_core.testing.samples import sample_identity, sample_record, told_identity

MANY = [2 + i % 5 for i in range(120)]


def every_key(index: Index) -> list[RecordKey]:
    return [index.key(i)[1] for i in range(len(index))]


def test_splits_are_disjoint_and_whole(tmp_path: Path) -> None:
    data = DataSettings(stores=(make_store(tmp_path / "s", MANY),))
    keys = {split: set(every_key(open_index(data, split))) for split in Split}
    assert sum(len(found) for found in keys.values()) == len(set().union(*keys.values())) == 120
    assert len(keys[Split.TRAIN]) > 80
    assert all(len(found) for found in keys.values())
    assert set(every_key(open_index(data, None))) == set().union(*keys.values())


def test_statement_decides_whatever_the_id(tmp_path: Path) -> None:
    one = make_store(tmp_path / "a", MANY, statement="What is the same?")
    split = split_of(
        sample_record(sample_identity(), statement="What is the same?").trace.problem.statement_hash
    )
    index = open_index(DataSettings(stores=(one,)), split)
    assert len(index) == 120
    assert set(index.problem) == {0}
    other = next(s for s in Split if s is not split)
    with pytest.raises(UsageError, match="all records have the same statement"):
        open_index(DataSettings(stores=(one,)), other)


def test_index_knows_stores_keys_and_problems(tmp_path: Path) -> None:
    stores = make_store(tmp_path / "a", MANY[:50]), make_store(tmp_path / "b", MANY[:60])
    index = open_index(DataSettings(stores=stores, min_steps=3), Split.TRAIN)
    for i in range(len(index)):
        number, key = index.key(i)
        with open_store(stores[number]) as store:
            entry = store.entry(key)
        assert entry is not None
        assert entry.steps == index.steps[i] >= 3
        assert split_of(entry.statement_hash) is Split.TRAIN
    assert index.space == sample_identity().space
    assert (index.hidden_size, index.domains) == (8, ())
    both = np.bincount(index.problem)
    assert set(both) == {1, 2}
    assert len(both) == len({key.problem_id for key in every_key(index)})


def test_a_layer_is_chosen(tmp_path: Path) -> None:
    two = sample_identity(layers=2)
    stores = make_store(tmp_path / "a", MANY, two), make_store(tmp_path / "b", MANY)
    with pytest.raises(UsageError, match=r"data\.layer: .*/a holds layers 1, 2; choose one"):
        open_index(DataSettings(stores=stores), Split.TRAIN)
    with pytest.raises(UsageError, match=r"data\.layer: .* not hold layer 7; it holds 1, 2"):
        open_index(DataSettings(stores=stores, layer=7), Split.TRAIN)
    with pytest.raises(UsageError, match="layer -2 \\(layers are absolute"):
        open_index(DataSettings(stores=stores, layer=-2), Split.TRAIN)
    index = open_index(DataSettings(stores=stores, layer=1), Split.TRAIN)
    assert index.space.layers == (1,)
    assert [(part.layers, part.layer) for part in index.stores] == [(2, 0), (1, 0)]


def test_spaces_must_not_meet(tmp_path: Path) -> None:
    a = make_store(tmp_path / "a", MANY)
    wider = make_store(tmp_path / "b", MANY, sample_identity(width=16))
    with pytest.raises(
        IdentityError,
        match=r"/b is of another latent space than .*/a: hidden_size "
        "is 8 there and 16 here",
    ):
        open_index(DataSettings(stores=(a, wider)), Split.TRAIN)
    # Where its traces come from, a world model does not care.
    sampled = make_store(tmp_path / "c", MANY, sample_identity(seed=3, logprobs=True))
    assert len(open_index(DataSettings(stores=(a, sampled)), None)) == 240


def test_what_a_store_does_not_tell_agrees_with_any_and_hides_no_difference(
    tmp_path: Path,
) -> None:
    old = make_store(tmp_path / "old", MANY)
    new = make_store(tmp_path / "new", MANY, told_identity("one"), prefix="n")
    other = make_store(tmp_path / "other", MANY, told_identity("other"), prefix="o")
    index = open_index(DataSettings(stores=(old, new)), None)
    assert index.space == told_identity("one").space, "the world model is of what is known"
    for stores in ((old, new, other), (new, old, other), (other, new, old)):
        with pytest.raises(IdentityError, match=r'tokenizer is "(one|other)" there and "'):
            open_index(DataSettings(stores=stores), None)


def test_old_and_new_prompts_must_begin_alike(tmp_path: Path) -> None:
    """An unknown tokenizer agrees with any; the ids that are stored do not."""
    ids, places = np.arange(40, dtype=np.int32), []
    for name, identity, first in (
        ("old", sample_identity(), 7),
        ("alike", told_identity("one"), 7),
        ("other", told_identity("two"), 8),
    ):
        record = sample_record(identity, name)
        prompt = np.concatenate([np.array([first], np.int32), ids])
        trace = attrs.evolve(record.trace, prompt_ids=prompt, statement_span=(30, 38))
        with open_store(str(tmp_path / name), "write") as store:
            store.begin(identity)
            store.write([attrs.evolve(record, trace=trace)])
        places.append(str(tmp_path / name))
    old, alike, other = places
    assert len(open_index(DataSettings(stores=(old, alike)), None)) == 2
    with pytest.raises(IdentityError, match="different from token 1 on"):
        open_index(DataSettings(stores=(old, other)), None)


def test_domains_and_labels(tmp_path: Path) -> None:
    a = make_store(tmp_path / "a", MANY, correct="true")
    b = make_store(tmp_path / "b", MANY[:30], prefix="q", domain="code", correct="false")
    c = make_store(tmp_path / "c", MANY[:10], prefix="r")
    data = DataSettings(stores=(a, b, c))
    assert len(open_index(attrs.evolve(data, correct=True), None)) == 120
    wrong = open_index(attrs.evolve(data, correct=False), None, with_domains=True)
    assert (len(wrong), wrong.domains) == (30, ("code",))
    found = open_index(attrs.evolve(data, domains=("math", "code")), None)
    assert (len(found), found.domains) == (160, ())
    both = open_index(data, None, with_domains=True)
    assert both.domains == ("code", "math")
    assert both.domain.tolist() == [1] * 120 + [0] * 30 + [1] * 10
    known = open_index(data, None, domains=("math", "physics", "code"))
    assert known.domain.tolist() == [0] * 120 + [2] * 30 + [0] * 10
    with pytest.raises(UsageError, match="was not trained on domain 'code'; it knows math"):
        open_index(data, None, domains=("math",))


def test_nothing_left_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no store to read; name one"):
        open_index(DataSettings(), Split.TRAIN)
    with pytest.raises(StoreNotFoundError):
        open_index(DataSettings(stores=(str(tmp_path / "none"),)), Split.TRAIN)
    empty = make_store(tmp_path / "empty", ())
    with pytest.raises(UsageError, match="empty: the store is empty"):
        open_index(DataSettings(stores=(empty,)), Split.TRAIN)
    short = make_store(tmp_path / "short", [1] * 20)
    with pytest.raises(UsageError, match="short: only one-step traces in 20 records"):
        open_index(DataSettings(stores=(short,)), Split.TRAIN)
    some = make_store(tmp_path / "some", [1] * 10 + [3] * 50, correct="true")
    with pytest.raises(
        UsageError,
        match=r"some: nothing is left of 60 records: 10 have fewer than "
        r"2 steps \(data.min_steps\); \d+ are not in the train part; \d+ are of "
        r"other domains than code \(data.domains\); loosen",
    ):
        open_index(DataSettings(stores=(some,), domains=("code",)), Split.TRAIN)
    with pytest.raises(UsageError, match=r"\d+ are labelled correct \(data.correct\)"):
        open_index(DataSettings(stores=(some,), correct=False), Split.TRAIN)
    few = make_store(tmp_path / "few", [3])
    with pytest.raises(UsageError, match="about one problem in ten is in the validation part"):
        open_index(DataSettings(stores=(few,)), Split.VALIDATION)
    with pytest.raises(UsageError, match="named twice"):
        open_index(DataSettings(stores=(some, f"{some}/")), Split.TRAIN)


def test_store_in_memory() -> None:
    identity = sample_identity()
    with MemoryStore("wm-index") as store:
        store.begin(identity)
        store.write([sample_record(identity, f"p-{i}") for i in range(40)])
    try:
        assert len(open_index(DataSettings(stores=("memory:wm-index",)), None)) == 40
    finally:
        forget("wm-index")


def test_memory_a_record(tmp_path: Path) -> None:
    """50 bytes a record at most: 10 MB for 200,000."""
    store = make_store(tmp_path / "s", [3] * 4000, prefix="math-0123456789abcd")
    data = DataSettings(stores=(store,))
    open_index(data, None)
    gc.collect()
    tracemalloc.start()
    index = open_index(data, None)
    gc.collect()
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert index.nbytes / 4000 < 50
    assert held / 4000 < 55
    assert peak / 4000 < 160
