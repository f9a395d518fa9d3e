"""Pictures of steps: what they show, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import matplotlib
import numpy as np
import pytest
from latent_stores import make_store

from rjepa_adapters import plot
from rjepa_core import Problem, Ranking, RecordKey, ScoredTrace, open_store
from rjepa_core.errors import ArgumentError, UsageError
from rjepa_core.scoring import Scored
from rjepa_core.testing.samples import sample_identity, sample_record

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
    others = values[~np.eye(4, dtype=bool)]
    assert np.allclose(image.get_clim(), (others.min(), others.max()))
    assert f"{others.min():.3f} to {others.max():.3f}" in image.colorbar.ax.get_ylabel()


def test_layers_are_absolute_where_they_are_known(tmp_path: Path) -> None:
    identity = sample_identity()
    space = attrs.evolve(identity.space, layers=(3, 7))
    with open_store(make_store(tmp_path / "s", (4, 3), attrs.evolve(identity, space=space))) as s:
        record = next(iter(s))

        def drawn(*layer: int, **more: Any) -> Any:
            return np.asarray(plot.cosine_map(record, *layer, **more).images[0].get_array())

        first, last = drawn(), drawn(1)
        assert not np.allclose(first, last)
        for layers in (s, (3, 7)):
            np.testing.assert_array_equal(drawn(7, layers=layers), last)
            np.testing.assert_array_equal(drawn(3, layers=layers), first)
            np.testing.assert_array_equal(drawn(-1, layers=layers), last)
        np.testing.assert_array_equal(drawn(-2), first)
        with pytest.raises(ArgumentError, match="holds no layer 1; it has 3, 7"):
            drawn(1, layers=s)
        with pytest.raises(ArgumentError, match=r"expected a place from 0 to 1; .*layers=store"):
            drawn(7)
        assert len(plot.pca(s, layer=7).collections[0].get_offsets()) == 7
        with pytest.raises(ArgumentError, match="holds no layer 5"):
            plot.pca(s, layer=5)
        with pytest.raises(ArgumentError, match="not of a store"):
            plot.pca(s.arrays(7), layer=3)


def test_a_ranking_is_drawn_with_places_and_answers() -> None:
    trace = sample_record(sample_identity(), "p", steps=2).trace
    texts = [
        attrs.evolve(trace, problem=Problem.make("Why?"), sample=n, answer=answer)
        for n, answer in enumerate(["39", None])
    ]
    solutions = tuple(ScoredTrace(one, np.ones(2, np.float32), None) for one in texts)
    axes = plot.surprise_profile(Ranking("p", "Why?", solutions, (1.0, 1.0), ()))
    shown = [text.get_text() for text in axes.get_legend().get_texts()]
    assert shown == ["text 0, answer 39", "text 1"]


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
