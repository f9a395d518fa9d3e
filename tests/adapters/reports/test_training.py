"""The page of a training run."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from rjepa_adapters.reports.svg import curves
from rjepa_adapters.reports.training import html, latent_picture
from rjepa_adapters.world_model.calibration import Bin
from rjepa_core.config import structure
from rjepa_core.settings.training import DataSettings, TrainSettings, WorldModelSettings

SVG = "{http://www.w3.org/2000/svg}"
REMOTE = re.compile(
    r"""(?:src|href)\s*=|url\(|@import|https?://(?!www\.w3\.org/2000/svg)|<script"""
)
CURVE = [
    {
        "epoch": i + 1,
        "step": 10 * (i + 1),
        "train_loss": 1 / (i + 1),
        "val_loss": 1.1 / (i + 1) if i else float("nan"),
        "rank_targets": 40.0 - i,
        "rank_predictions": 20.0 + i,
        **({"top1": 0.1 * i} if i % 3 == 0 else {}),
        "seconds": 3.5,
    }
    for i in range(7)
]


def page(text: str) -> tuple[str, ElementTree.Element]:
    assert not REMOTE.search(text)
    return text, ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))


def test_all_of_it() -> None:
    random = np.random.default_rng(0)
    settings = TrainSettings(
        model=WorldModelSettings(objective="ema"), data=DataSettings(stores=("<b>&\x1b", "y"))
    )
    picture = latent_picture([random.standard_normal((s % 11 + 1, 16)) for s in range(60)])
    text, root = page(html("<i>", CURVE, settings, picture, best_epoch=5))
    assert "World model &lt;i&gt;: ema" in text
    labels = [svg.get("aria-label") for svg in root.iter(f"{SVG}svg")]
    assert [label.split(",")[0] for label in labels if label] == [
        "Loss", "Effective rank (RankMe)", "Retrieval of the masked step",
        "step embeddings of 345 steps",
    ]  # fmt: skip
    circles = [c for c in root.iter(f"{SVG}circle") if c.get("r") == "2.5"]
    assert len(circles) == 345
    assert {c.get("class") for c in circles} == {f"p{i}" for i in range(8)}
    for part in (
        "masker.min_ratio",
        "&lt;b&gt;&amp;\\x1b, y",
        "step 8 and later",
        "leave_one_out 0.35",
        '<tr class="best"><td>5</td>',
    ):
        assert part in text, part


def test_nothing_but_settings() -> None:
    text, root = page(html("run", [], TrainSettings()))
    assert "rjepa-cli evaluate" in text
    assert "No epoch was finished" in text
    assert not list(root.iter(f"{SVG}svg"))


@pytest.mark.parametrize(
    "values", [[0.0], [5.0, 5.0], [None, None], [1e-9, 3e9], [-3.0, 4.0], [float("inf"), 1.0]]
)
def test_curves_of_any_values(values: list[float | None]) -> None:
    drawn = ElementTree.fromstring(curves("t", list(range(len(values))), {"a": values}))
    for element in drawn.iter():
        for name in ("x", "y", "cx", "cy", "d"):
            assert "nan" not in element.get(name, "")
            assert "inf" not in element.get(name, "")


def test_the_picture_is_the_plane_of_largest_spread() -> None:
    random = np.random.default_rng(1)
    scale = np.array([0.1, 5, 0.1, 2, 0.1])
    sequences = [(random.standard_normal((4, 5)) * scale + 7) for _ in range(100)]
    made = latent_picture(sequences, most=300)
    assert made.points.shape == (300, 2)
    assert made.positions.max() == 3
    np.testing.assert_allclose(made.points.std(0), [5, 2], rtol=0.15)
    assert sum(made.explained) == pytest.approx(1, abs=0.01)
    again = latent_picture(sequences, most=300)
    np.testing.assert_array_equal(made.points, again.points)
    one = latent_picture([np.ones((1, 1), np.float32)])
    assert one.points.shape == (1, 2)
    for wrong in ([], [np.full((2, 3), np.nan, np.float32)]):
        with pytest.raises(ValueError, match="a picture needs"):
            latent_picture(wrong)


def test_a_verifiers_reliability() -> None:
    settings = structure(TrainSettings, {"model": {"objective": "verifier"}})
    bins = {"wrong steps": [Bin(0.1, 0.2, 1200), Bin(0.9, 0.7, 3)], "wrong answers": []}
    text, root = page(html("v", CURVE, settings, reliability=bins))
    assert "World model v: verifier" in text
    assert "<h2>Reliability</h2>" in text
    drawn = [s for s in root.iter(f"{SVG}svg") if "Probability" in (s.get("aria-label") or "")]
    assert [len(list(one.iter(f"{SVG}circle"))) for one in drawn] == [2, 0]
    assert "1,200" in [one.text for one in drawn[0].iter(f"{SVG}text")]


@pytest.mark.parametrize(
    ("row", "best", "said"),
    [
        ({"val_top1_past": 0.826, "val_error_past": 0.361}, 1, "finds 83 % of the next steps"),
        ({"val_top1_past": 0.826, "val_error_past": None}, 0, "Training added nothing"),
        ({"val_auroc_steps": 0.709, "val_auroc_answers": 0.65}, 1, "wrong step from a right one"),
        ({"loss": 1.0, "val_top1_past": float("nan")}, 1, "was not measured"),
    ],
)
def test_the_verdict_comes_first(row: dict[str, float], best: int, said: str) -> None:
    curve = [{"epoch": 1, **row}]
    text, _ = page(html("run", curve, TrainSettings(), best_epoch=best))
    assert text.index("<h1>") < text.index(said) < text.index("<h2>Training</h2>")
    assert 'class="loud"' not in text
    # Settings are folded.
    settings = text.index("training.max_epochs")
    assert text.rindex("<summary>Settings</summary>", 0, settings) > text.rindex(
        "</details>", 0, settings
    )


def test_values_of_the_curve_are_explained() -> None:
    curve = [{"epoch": 1, "val_mrr_past": 0.5, "something": 1.0}]
    text, _ = page(html("run", curve, TrainSettings()))
    assert "<dt>val_mrr_past</dt><dd>mean of 1 / rank" in text
    assert "<dt>something</dt>" not in text


def test_a_run_on_too_little_says_so() -> None:
    text, _ = page(html("run", CURVE, TrainSettings(), best_epoch=4, too_little="3 <problems>"))
    assert '<p class="loud">3 &lt;problems&gt;.</p>' in text
    assert "Too little to judge by." in text or "was not measured" in text
