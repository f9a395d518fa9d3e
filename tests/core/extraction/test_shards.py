"""Shards of the problems: together they are the whole, and their stores merged are one run's."""

from __future__ import annotations

import contextlib
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rjepa_core import open_store
from rjepa_core.domain.problem import GivenSolution, Problem
from rjepa_core.errors import InputError, SettingsError
from rjepa_core.extraction import Worklist, run_extraction
from rjepa_core.extraction.work import StoredTraces
from rjepa_core.ports.source import SourceRow
from rjepa_core.ports.store import LatentStore
from rjepa_core.settings import Shard
from rjepa_core.stores import merge
from rjepa_core.stores.merge import same_record
from rjepa_core.testing.memory_store import MemoryStore

_NAMES = itertools.count()


class Rows:
    def __init__(self, names: list[str]) -> None:
        self.names = names

    def rows(self):
        for name in self.names:
            yield SourceRow(Problem(name, f"What is {name}?"), (GivenSolution("1"),), "f")


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=20),
    st.integers(1, 5),
    st.sampled_from([None, 1, 3]),
    st.booleans(),
)
def test_shards_are_the_whole_without_overlap(names, of, limit, traces):
    def work(shard):
        return list(Worklist([Rows(names)], 2, limit, traces, shard))

    parts = [work(Shard(number, of)) for number in range(1, of + 1)]
    keys = [item.key for part in parts for item in part]
    assert len(set(keys)) == len(keys)
    assert set(keys) == {item.key for item in work(None)}


def test_a_shard_does_not_depend_on_anything_but_the_id():
    """These numbers are fixed: stores of unfinished arrays are continued with later versions."""
    held = [i for i in range(24) if Shard(1, 4).holds(f"p-{i}")]
    assert held == [3, 6, 13, 20]


def test_a_survey_is_of_the_shard():
    names = [f"p{i}" for i in range(40)]
    surveys = [Worklist([Rows(names * 2)], shard=Shard(n, 3)).survey() for n in (1, 2, 3)]
    assert sum(survey.problems for survey in surveys) == 40
    assert sum(survey.duplicates for survey in surveys) == 40
    assert all(survey.available == survey.problems for survey in surveys)


def test_an_empty_shard_says_so():
    [empty] = [n for n in (1, 2) if not Shard(n, 2).holds("a")]
    with pytest.raises(InputError, match=f"no problem of the sources is in shard {empty}/2"):
        Worklist([Rows(["a"])], shard=Shard(empty, 2)).survey()


@pytest.mark.parametrize("text", ["1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "1.0/2", "a/b"])
def test_what_is_no_shard_is_refused(text):
    asked = {"problems": {"sources": "demo", "shard": text}, "model": "m", "store": "memory:"}
    with pytest.raises(SettingsError, match=r"problems\.shard.*like 2/8"):
        run_extraction(asked)


def extract(**problems: Any) -> MemoryStore:
    place = f"memory:shards-{next(_NAMES)}"
    run_extraction({"problems": problems, "model": "m", "backend": "seeded", "store": place})
    return open_store(place)


def assert_same(one: LatentStore, other: LatentStore) -> None:
    keys = set(one.keys())
    assert keys == set(other.keys())
    assert all(same_record(one.get(key), other.get(key)) for key in keys)
    failures = [{f.key: f for f in store.failures()} for store in (one, other)]
    assert failures[0] == failures[1]


@settings(max_examples=3, deadline=None)
@given(st.integers(1, 4), st.integers(1, 2), st.sampled_from([6, 12]))
def test_merged_shards_equal_one_run(of, samples, limit):
    asked = {"sources": "demo", "samples": samples, "limit": limit}
    parts = []
    for number in range(1, of + 1):
        # Of few problems none may be in a shard, which is refused.
        with contextlib.suppress(InputError):
            parts.append(extract(shard=f"{number}/{of}", **asked))
    merged = MemoryStore("", "write")
    merge(merged, parts)
    assert_same(merged, extract(**asked))


def test_merged_shards_of_given_solutions_equal_one_run(tmp_path: Path):
    file = tmp_path / "given.jsonl"
    rows = [
        {"id": f"p{i % 12}", "question": f"{i % 12}?", "steps": ["a", f"{i}" if i % 5 else ""]}
        for i in range(30)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    merged = MemoryStore("", "write")
    merge(merged, [extract(traces=str(file), shard=f"{n}/2") for n in (1, 2)])
    assert_same(merged, extract(traces=str(file)))


def test_traces_of_a_store_are_parted_too():
    store = extract(sources="demo", samples=2)
    parts = [list(StoredTraces(store, shard=Shard(n, 3))) for n in (1, 2, 3)]
    keys = [item.key for part in parts for item in part]
    assert sorted(keys) == sorted(store.keys())
    found = StoredTraces(store, shard=Shard(1, 3)).survey()
    assert found.available == found.problems < store.stats().problems


def test_a_store_takes_several_shards_one_after_the_other(tmp_path: Path):
    asked = {"model": "m", "backend": "seeded", "store": str(tmp_path / "s")}
    for number in (1, 2):
        problems = {"sources": "demo", "shard": f"{number}/2"}
        summary = run_extraction({**asked, "problems": problems, "run": {"resume": True}})
        assert summary.before.stored == 0
    whole = run_extraction({**asked, "problems": "demo", "run": {"resume": True}})
    assert whole.before.missing == 0
    with open_store(tmp_path / "s") as store:
        shards = [run["problems"]["shard"] for run in store.history() if run["kind"] == "extract"]
    assert shards == ["1/2", "2/2", None]


@pytest.mark.slow
@pytest.mark.smollm2
def test_merged_shards_of_smollm2_equal_one_run(tmp_path: Path):
    """Minutes: a real model; other batches round otherwise, and ids are the same."""

    def run(name: str, shard: str | None) -> LatentStore:
        run_extraction(
            {
                "problems": {"sources": "demo", "limit": 8, "shard": shard},
                "model": {"name": "smollm2", "device": "cpu", "dtype": "float32"},
                "sampling": {"max_new_tokens": 60, "temperature": 0.0},
                "encoding": {"store_dtype": "float32"},
                "store": str(tmp_path / name),
            }
        )
        return open_store(tmp_path / name)

    whole = run("whole", None)
    with open_store(tmp_path / "merged", "write") as merged:
        merge(merged, [run("one", "1/2"), run("two", "2/2")])
        merged.commit()
        assert set(merged.keys()) == set(whole.keys())
        for record in whole:
            other = merged.get(record.key)
            assert np.array_equal(record.trace.completion_ids, other.trace.completion_ids)
            assert np.allclose(record.latents, other.latents, rtol=1e-4, atol=1e-4)
