"""Pictures of steps: what they show, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from latent_stores import make_store

from rjepa_adapters import plot
from rjepa_core import RecordKey, open_store
from rjepa_core.errors import ArgumentError, UsageError
from rjepa_core.scoring import Scored

matplotlib.use("agg")


def scored(*surprise: float) -> Scored:
    return Scored(RecordKey(f"p-{len(surprise)}"), np.array(surprise, np.float32), None)


def test_a_profile_has_a_line_for_each_trace() -> None:
    axes = plot.surprise_profile([scored(1, 2), scored(3, 1, 2)])
    assert [line.get_ydata().tolist() for line in axes.lines] == [[1, 2], [3, 1, 2]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["p-2", "p-3"]
    assert plot.surprise_profile(scored(1), axes) is axes
    with pytest.raises(ArgumentError, match="nothing to draw"):
        plot.surprise_profile([])


def test_a_cosine_map_of_a_record(tmp_path: Path) -> None:
    with open_store(make_store(tmp_path / "s", (4,))) as store:
        record = next(iter(store))
    [image] = plot.cosine_map(record).images
    values = np.asarray(image.get_array())
    np.testing.assert_allclose(np.diag(values), 1, atol=1e-3)
    latents = record.latents[0].astype(np.float32)
    wanted = latents[0] @ latents[2] / np.linalg.norm(latents[0]) / np.linalg.norm(latents[2])
    np.testing.assert_allclose(values[0, 2], wanted, atol=1e-3)
    with pytest.raises(ArgumentError, match="layer: got 1, expected a place from 0 to 0"):
        plot.cosine_map(record, 1)
    with pytest.raises(ArgumentError, match="record: got 'demo-01', expected a record"):
        plot.cosine_map("demo-01")  # type: ignore[arg-type]


def test_components_of_steps(tmp_path: Path) -> None:
    draws = np.random.default_rng(0).normal(size=(200, 5)) * [1, 9, 1, 3, 0]
    places, shares = plot.principal_components(draws)
    assert abs(np.corrcoef(places[:, 0], draws[:, 1])[0, 1]) > 0.99
    assert abs(np.corrcoef(places[:, 1], draws[:, 3])[0, 1]) > 0.9
    np.testing.assert_allclose(shares[0], places[:, 0].var() / draws.var(0).sum())
    with open_store(make_store(tmp_path / "s", (4, 3))) as store:
        axes = plot.pca(store)
        [dots] = axes.collections
        assert np.asarray(dots.get_array()).tolist() == [0, 1, 2, 3, 0, 1, 2]
        assert len(plot.pca(store.arrays(), color=range(7)).collections[0].get_offsets()) == 7
        with pytest.raises(ArgumentError, match="color: got 2 numbers, expected 7"):
            plot.pca(store, color=[1, 2])
    assert len(plot.pca(str(tmp_path / "s")).collections[0].get_offsets()) == 7
    for wrong in (3, [[1.0, 2.0]]):
        with pytest.raises(ArgumentError, match=r"steps: got .*, expected what open_store"):
            plot.pca(wrong)  # type: ignore[arg-type]
    for wrong in ("runs/first", 3):
        with pytest.raises(ArgumentError, match=r"scored: got .*, expected what score_text"):
            plot.surprise_profile(wrong)  # type: ignore[arg-type]
    assert "% of the variance" in axes.get_xlabel()
    with pytest.raises(ArgumentError, match=r"got shape \[1, 5\]"):
        plot.pca(draws[:1].astype(np.float32))


@pytest.mark.parametrize(
    "draw", [lambda: plot.surprise_profile(scored(1)), lambda: plot.pca(np.eye(3, dtype="f4"))]
)
def test_matplotlib_is_named_where_it_is_missing(
    draw: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(UsageError, match=r"needs matplotlib.*pip install .*\[plot\]'"):
        draw()
