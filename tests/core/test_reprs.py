"""What a notebook shows of a cell's last line: one short line, with what matters in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from evaluation_stores import make_run, make_store, registry, solution, statement

import rjepa_core as rj
from rjepa_adapters.data import TraceDataset
from rjepa_core.evaluation.progress import EvaluationWatch
from rjepa_core.evaluation.results import Line, Table
from rjepa_core.evaluation.statistics import Estimate
from rjepa_core.extraction.comparison import Remaining
from rjepa_core.extraction.work import Survey
from rjepa_core.ports.executor import Ending, Progress, Watch
from rjepa_core.ports.store import StoreStats
from rjepa_core.ports.world_model import TargetSpace, WorldModelInfo
from rjepa_core.scoring import Scored
from rjepa_core.testing.samples import sample_identity, sample_record
from rjepa_core.text import brief

LONG = "How many pears are left when Ann and Ben have eaten theirs?\n" * 20


def of_values() -> Iterator[Any]:
    """Values as large as those of a real run."""
    identity = sample_identity()
    info = WorldModelInfo(
        "runs/a/rather/long/place/for/a/world/model",
        identity.space,
        576,
        576,
        TargetSpace.LLM,
        "frozen",
        {n: tuple(np.linspace(0.1, 2.3, 101)) for n in range(40)},
        configuration={"training": {f"key_{n}": n for n in range(50)}},
    )
    yield from (identity, identity.space, identity.space.prompt, identity.generation, info)
    yield rj.ExtractionSettings(model="m", store="runs/first", problems="demo")
    yield rj.ExtractionSettings(
        model="a/model",
        store="runs/first",
        problems=[f"data/part-{n}.jsonl" for n in range(99)],
        prompt={"templates": {"default": LONG + "{statement}"}, "system": LONG},
        sampling={"temperature": 0.3, "top_p": 0.9, "top_k": 40, "seed": 3, "stop": [LONG]},
        encoding={"layers": tuple(range(33)), "logprobs": True, "store_dtype": "float32"},
        run={"resume": True, "max_hours": 3.5, "allow_failures": 0.1},
    )
    yield rj.TrainSettings(
        data=[f"runs/{n}" for n in range(99)],
        model={"objective": "verifier"},
        training={"lr": 1e-4},
    )
    yield rj.EvaluateRunSettings(evaluate={"world_models": "runs/wm", "stores": "runs/first"})
    yield from (
        rj.PromptSettings(system=LONG),
        rj.Problem.make(LONG),
        GIVEN,
        rj.Failure(rj.RecordKey("p"), "0" * 32, "empty completion", LONG),
    )
    survey = Survey(200, 200, 0, {f"domain-{n}": n for n in range(30)}, 9999, 7473)
    yield survey
    progress = Progress(200, 3, 1432, 61_000, reasons={LONG: 3})
    before = Remaining(0, 0, 200)
    yield rj.Summary(Ending.DONE, progress, 81.2, survey, before, 3, StoreStats(200, 200, 1432))
    yield progress
    row = {f"column_{n}": n / 3 for n in range(30)}
    yield rj.TrainSummary("runs/wm", 30, 900, 28_000, 61.0, 12, 0.4312, "early", (row,) * 30)
    trace = sample_record(identity, "p", steps=200).trace
    surprise = np.linspace(0, 3, 200, dtype=np.float32)
    scored = rj.ScoredTrace(trace, surprise, tuple(map(float, surprise)))
    yield from (scored, Scored(trace.key, surprise, scored.percentiles))
    yield rj.Ranking("p", LONG, (scored,) * 8, (0.1234567,) * 8, ())
    figures = {f"figure {n}": Estimate(0.1, 0.0, 0.2) for n in range(9)}
    line = Line("wm", "world model", figures, {f"baseline {n}": figures for n in range(5)})
    table = Table("probe", "probe", LONG, tuple(figures), 90, 30, {}, (line,) * 9, (LONG,))
    yield from (line, table, rj.TrainWatch(), EvaluationWatch(), Watch())
    yield rj.Evaluation({"wm": {"location": LONG}}, ("runs/s",), "test", 0, 1000, (table,) * 9)


GIVEN = rj.GivenSolution(steps=(LONG,) * 30)


@pytest.mark.parametrize("value", [*of_values()], ids=lambda value: type(value).__name__)
def test_a_repr_is_one_short_line(value: Any) -> None:
    shown = repr(value)
    assert len(shown) <= 300, shown
    assert "\n" not in shown
    assert type(value).__name__ in shown


def test_settings_show_what_differs_from_the_defaults() -> None:
    settings = rj.ExtractionSettings(model="m", store="s", sampling={"temperature": 0.3})
    assert repr(settings) == (
        "ExtractionSettings(model=ModelSettings(name='m'), store=StoreSettings(path='s'), "
        "sampling=SamplingSettings(temperature=0.3))"
    )
    assert repr(rj.TrainSettings()) == "TrainSettings()"


def test_results_show_the_numbers_that_matter() -> None:
    shown = {type(value).__name__: repr(value) for value in of_values()}
    assert "200 records, 3 failures" in shown["Summary"]
    assert "best epoch 12, 0.4312" in shown["TrainSummary"]
    assert "200 steps, surprise 1.5, most 3 in step 199" in shown["ScoredTrace"]
    assert "8 solutions by mean" in shown["Ranking"]
    assert "9 methods" in shown["Table"]
    assert "figure 0 0.1" in shown["Line"]
    assert "layer 1" in shown["WorldModelInfo"]


def test_what_is_opened_has_a_short_repr(tmp_path: Path) -> None:
    store = make_store(tmp_path, count=30)
    world_model = rj.open_world_model(make_run(store, tmp_path / "run"), registry=registry())
    with rj.open_encoder(world_model, "m", "seeded") as encoder:
        ranking = rj.rank_texts(world_model, statement(7), [solution(9), "One.\nTwo."], encoder)
        assert repr(encoder).startswith("<TextEncoder ")
        for one in (encoder, ranking, *ranking.solutions, world_model.info, world_model):
            assert len(repr(one)) <= 300
    data = repr(TraceDataset(store))
    assert data.startswith("<TraceDataset: 30 traces, ")
    assert "0x" not in data + repr(encoder) + repr(rj.Registry())


def test_a_brief_repr_is_cut_between_its_values() -> None:
    @attrs.frozen
    class Many:
        one: str = ""
        two: str = ""
        three: Any = None

    assert brief(Many()) == "Many()"
    assert brief(Many("a", "b", np.zeros((2, 3)))) == "Many(one='a', two='b', three=float64[2, 3])"
    assert brief(Many("a" * 50, "b" * 50), 80) == f"Many(one={'a' * 50!r}, …)"
    assert brief(Many(three=[*range(99)])) == "Many(three=<99 values>)"
