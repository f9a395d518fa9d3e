"""Settings classes as a script makes them, and runs that must not mix."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from rjepa_core import (
    AdapterSettings,
    EncodingSettings,
    ExtractionSettings,
    ProblemSettings,
    RunSettings,
    SamplingSettings,
    open_store,
    run_extraction,
)
from rjepa_core.errors import StatementChangedError
from rjepa_core.settings import TrainingSettings, TrainSettings, WorldModelSettings


def test_a_name_alone_is_enough(tmp_path: Path) -> None:
    settings = ExtractionSettings(model="m", store=tmp_path / "s")
    assert settings.model.name == "m"
    assert settings.store.path == str(tmp_path / "s")
    assert ProblemSettings(sources="demo").sources == ("demo",)
    assert EncodingSettings(layers=-1).layers == (-1,)
    assert EncodingSettings(layers=[1, 2]).layers == (1, 2)


@pytest.mark.parametrize("temperature", [math.inf, math.nan, -0.1])
def test_temperatures_that_are_none(temperature: float) -> None:
    with pytest.raises(ValueError):
        SamplingSettings(temperature=temperature)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": "ema"}, "needs objective frozen, got ema"),
        ({"domains": True}, "cannot be told domains"),
        ({"linear_path": False}, "needs linear_path"),
    ],
)
def test_a_baseline_predicts_the_latents_from_its_inputs(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        WorldModelSettings(network="linear", **change)


def test_a_linear_path_stays_behind_only_where_it_starts_from_ridge_regression() -> None:
    def share(**model: Any) -> float:
        training = TrainingSettings(linear_lr=0.25)
        return TrainSettings(model=WorldModelSettings(**model), training=training).linear_share

    assert share() == share(ridge=10.0) == share(network="perceptron") == 0.25
    assert share(ridge=0.0) == share(network="linear") == share(objective="ema") == 1.0


def test_numbers_that_are_not_whole() -> None:
    for wrong in ({"seed": 1.5}, {"max_new_tokens": 2.0}, {"top_k": "3"}):
        with pytest.raises((TypeError, ValueError)):
            SamplingSettings(**wrong)  # type: ignore[arg-type]


def solutions(path: Path, rows: list[dict[str, str]]) -> ExtractionSettings:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ExtractionSettings(
        model="m",
        store=path.with_suffix(".store"),
        problems=ProblemSettings(traces=str(path)),
        backend=AdapterSettings(name="seeded"),
        run=RunSettings(resume=True),
    )


ROWS = [
    {"id": f"p{i}", "statement": f"What is {i}?", "solution": f"one {i}.{j}\ntwo {i}.{j}"}
    for i in range(4)
    for j in range(2)
]


def test_given_solutions_that_changed_places_are_refused(tmp_path: Path) -> None:
    """A solution's sample index is its place in the file; it must not stand for another one."""
    run_extraction(solutions(tmp_path / "s.jsonl", ROWS[:3]))
    with pytest.raises(StatementChangedError, match="changed places"):
        run_extraction(solutions(tmp_path / "s.jsonl", ROWS[::-1]))
    changed = [{**row, "solution": row["solution"] + "!"} for row in ROWS]
    with pytest.raises(StatementChangedError, match="another text"):
        run_extraction(solutions(tmp_path / "s.jsonl", changed))
    run_extraction(solutions(tmp_path / "s.jsonl", ROWS))
    assert len(open_store(str(tmp_path / "s.store"))) == 8


def test_problems_in_another_order_are_the_same_solutions(tmp_path: Path) -> None:
    run_extraction(solutions(tmp_path / "s.jsonl", ROWS[:4]))
    shuffled = [ROWS[i : i + 2] for i in range(0, 8, 2)]
    random.Random(0).shuffle(shuffled)
    run_extraction(solutions(tmp_path / "s.jsonl", [row for pair in shuffled for row in pair]))
    store = open_store(str(tmp_path / "s.store"))
    texts = {str(key): store.get(key).trace.completion for key in list(store.keys())}
    assert texts["p2#1"] == "one 2.1\ntwo 2.1"
    assert len(set(texts.values())) == 8
