"""The steps of a store as Arrow and pandas tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from evaluation_stores import entries, make_run, make_store, registry

from rjepa_adapters.data import to_arrow, to_pandas
from rjepa_core import Grade, LatentStore, open_store, open_world_model, score
from rjepa_core.errors import ArgumentError, UsageError
from rjepa_core.ports.store import KeepsGrades


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LatentStore]:
    with open_store(make_store(tmp_path, count=12), "write") as opened:
        yield opened


def test_one_row_per_step(store: LatentStore) -> None:
    frame = to_pandas(store)
    assert len(frame) == store.stats().steps
    for record in store:
        rows = frame[frame.key == str(record.key)]
        assert rows.step.tolist() == list(range(record.latents.shape[1]))
        assert tuple(rows.text) == record.trace.step_texts
        assert rows.tokens.tolist() == [len(span) for span in record.trace.spans]
        assert set(rows.answer) == {record.trace.answer}
        np.testing.assert_array_equal(rows.logprob, record.logprobs)
    assert "grade" not in frame
    assert "latent" not in frame


def test_latents_surprise_and_grades(store: LatentStore, tmp_path: Path) -> None:
    keys = list(store.keys())
    assert isinstance(store, KeepsGrades)
    store.write_grades([Grade(keys[0], "right", "", "1", "exact", "1")])
    store.commit()
    world_model = open_world_model(make_run(store.location, tmp_path / "run"), registry=registry())
    table = to_arrow(store, keys=keys[:3], latents=True, world_model=world_model)
    frame = table.to_pandas()
    assert frame.key.unique().tolist() == [str(key) for key in keys[:3]]
    np.testing.assert_array_equal(np.stack(frame.latent), store.arrays(keys=keys[:3]).latents)
    wanted = np.concatenate([one.surprise for one in score(store, keys[:3], world_model)])
    np.testing.assert_array_equal(frame.surprise, wanted)
    assert frame.grade.tolist()[0] == "right"
    assert frame.grade.isna().tolist()[-1]


def test_parts_of_a_table(store: LatentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = to_arrow(store)
    monkeypatch.setattr("rjepa_adapters.data.tables._ROWS", 5)
    assert to_arrow(store).equals(whole)
    assert to_arrow(store, keys=[], latents=True).num_rows == 0


@pytest.mark.parametrize("library", ["pandas", "pyarrow"])
def test_a_missing_library_is_named(
    store: LatentStore, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=rf"needs {library}.*pip install .*\[data\]'"):
        to_pandas(store)


def test_a_layer_that_is_not_there_is_refused_without_latents_too(store: LatentStore) -> None:
    for make in (to_pandas, to_arrow):
        with pytest.raises(ArgumentError, match=r"layer: .* holds no layer 5; it has "):
            make(store, layer=5)
        with pytest.raises(ArgumentError, match="holds no layer '5'"):
            make(store, layer="5")
        with pytest.raises(ArgumentError, match="holds no layer -9"):
            make(store, keys=[], layer=-9)


def test_texts_and_single_keys(store: LatentStore) -> None:
    first = next(iter(store.keys()))
    wanted = to_arrow(store, keys=[first])
    for keys in (first, str(first), [str(first)]):
        assert to_arrow(store, keys=keys).equals(wanted)
    with pytest.raises(ArgumentError, match="keys: got 3, expected RecordKeys"):
        to_arrow(store, keys=3)  # type: ignore[arg-type]


def test_locations(store: LatentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(store.location, tmp_path / "run")
    # The ridge world model is installed.
    found = entries()
    monkeypatch.setattr("rjepa_core.plugins.registry.groups", lambda: ["rjepa"])
    monkeypatch.setattr("rjepa_core.plugins.registry.entry_points", lambda group: found)
    wanted = to_arrow(store, world_model=open_world_model(run, registry=registry()))
    assert to_arrow(store.location, world_model=run).equals(wanted)
    assert to_arrow(tmp_path / "s", world_model=tmp_path / "run").equals(wanted)
    with pytest.raises(ArgumentError, match="store: got 3, expected what open_store"):
        to_pandas(3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="world_model: got 3, expected what open_world_model"):
        to_pandas(store, world_model=3)
