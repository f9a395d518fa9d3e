"""Texts scored and ranked from Python, as the command line does with those of a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_stores import make_run, make_store, registry, solution, statement
from ridge_world_model import RidgeWorldModel

from rjepa_core import (
    AdapterSettings,
    EvaluateRunSettings,
    EvaluateSettings,
    GivenSolution,
    ModelSettings,
    ProblemSettings,
    evaluate,
    open_encoder,
    open_store,
    open_world_model,
    rank_texts,
    score,
    score_text,
)
from rjepa_core.errors import ArgumentError, InputError, UsageError
from rjepa_core.ports.world_model import WorldModel
from rjepa_core.scoring import (
    ScoreRunSettings,
    ScoreSettings,
    TextEncoder,
    rank_all,
    score_all,
)

STATEMENT = statement(7)
SOLUTIONS = [solution(9), solution(9, 3), "Step one.\nStep two."]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    home = tmp_path_factory.mktemp("texts")
    return make_run(make_store(home, count=30), home / "run")


@pytest.fixture(scope="module")
def world_model(run: str) -> WorldModel:
    return open_world_model(run, registry=registry())


@pytest.fixture
def encoder(world_model: RidgeWorldModel) -> Iterator[TextEncoder]:
    with open_encoder(world_model, "m", "seeded") as opened:
        yield opened


def test_a_text_scores_as_in_a_file(
    run: str, world_model: WorldModel, encoder: TextEncoder, tmp_path: Path
) -> None:
    row = {"question": STATEMENT, "solution": SOLUTIONS[0]}
    (tmp_path / "one.jsonl").write_text(json.dumps(row) + "\n")
    settings = ScoreRunSettings(
        score=ScoreSettings(world_model=run),
        problems=ProblemSettings(traces=tmp_path / "one.jsonl"),
        model="m",
        backend="seeded",
    )
    [wanted] = score_all(settings, registry())
    found = score_text(world_model, STATEMENT, SOLUTIONS[0], encoder)
    np.testing.assert_array_equal(found.surprise, wanted.surprise)
    assert found.trace.problem.id == wanted.trace.problem.id
    assert found.trace.step_texts == wanted.trace.step_texts
    # By location and by name, too; and as steps.
    again = score_text(
        Path(run), STATEMENT, SOLUTIONS[0], "m", backend="seeded", registry=registry()
    )
    np.testing.assert_array_equal(again.surprise, wanted.surprise)
    steps = score_text(
        world_model,
        STATEMENT,
        SOLUTIONS[0].split("\n"),
        ModelSettings(name="m"),
        backend=AdapterSettings(name="seeded"),
        context="past",
    )
    # The last line gives the answer alone, which is no step.
    assert len(steps.surprise) == len(SOLUTIONS[0].split("\n")) - 1


def test_texts_rank_as_in_a_file(world_model: WorldModel, encoder: TextEncoder) -> None:
    ranking = rank_texts(world_model, STATEMENT, [*SOLUTIONS, ""], encoder)
    each = [score_text(world_model, STATEMENT, text, encoder) for text in SOLUTIONS]
    means = [float(one.surprise.mean(dtype=np.float64)) for one in each]
    assert [one.trace.sample for one in ranking.solutions] == list(np.argsort(means))
    assert list(ranking.scores) == sorted(means)
    # What could not be scored is not lost.
    assert [(one.key.sample, one.reason) for one in ranking.failed] == [(3, "empty completion")]
    assert rank_texts(world_model, STATEMENT, SOLUTIONS, encoder, by="max").by == "max"
    given = GivenSolution(text=SOLUTIONS[0], metadata={"model": "x"})
    [one] = rank_texts(world_model, STATEMENT, [given], encoder).solutions
    assert one.trace.metadata == {"model": "x"}
    assert rank_all([]) == []


def test_what_is_refused(world_model: WorldModel, encoder: TextEncoder) -> None:
    def scored(*given: Any, **more: Any) -> Callable[[], object]:
        return lambda: score_text(*given, **more)

    for call, kind, line in (
        (scored(world_model, STATEMENT, "", encoder), InputError, "solution: empty completion"),
        (scored(world_model, "", "a", encoder), ArgumentError, "statement: got ''"),
        (scored(world_model, STATEMENT, 3, encoder), ArgumentError, "solution: got 3, expected"),
        (scored(3, STATEMENT, "a", encoder), ArgumentError, "world_model: got 3, expected"),
        (scored(world_model, STATEMENT, "a", None), ArgumentError, "model: got None, expected"),
        (
            scored(world_model, STATEMENT, "a", encoder, context="all"),
            ArgumentError,
            "context: got 'all', expected others or past",
        ),
        (
            lambda: rank_texts(world_model, STATEMENT, "a", encoder),
            ArgumentError,
            "solutions: got 'a'",
        ),
        (
            lambda: rank_texts(world_model, STATEMENT, ["a"], encoder, by="right"),
            UsageError,
            "by: right needs a verifier",
        ),
        (
            lambda: rank_texts(world_model, STATEMENT, ["a"], encoder, by="least"),
            ArgumentError,
            "by: got 'least', expected one of mean, max",
        ),
    ):
        with pytest.raises(kind) as raised:
            call()
        assert str(raised.value).startswith(line)


def test_an_evaluation_prints_its_tables(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    what = EvaluateSettings(
        world_models=run, stores=str(Path(run).with_name("s")), parts="prediction", draws=20
    )
    found = evaluate(what, registry(), progress=True)
    assert "prediction" in {table.name.split(" ")[0].split("-")[0] for table in found.tables} or (
        found.tables
    )
    assert found.tables[0].title in str(found)
    assert f"### {found.tables[0].title}" in found._repr_markdown_()
    assert "test" in capsys.readouterr().err
    whole = evaluate(EvaluateRunSettings(evaluate=what), registry())
    assert whole.to_json() == found.to_json()


def test_a_closed_encoder_says_so(world_model: WorldModel) -> None:
    with open_encoder(world_model, "m", "seeded") as encoder:
        pass
    encoder.close()
    with pytest.raises(UsageError, match="this encoder is closed; open it again"):
        score_text(world_model, STATEMENT, SOLUTIONS[0], encoder)
    with pytest.raises(UsageError, match="this encoder is closed"):
        rank_texts(world_model, STATEMENT, SOLUTIONS, encoder)


def test_an_encoder_of_a_world_model_by_its_location(run: str, world_model: WorldModel) -> None:
    with open_encoder(run, "m", "seeded", registry()) as encoder:
        score_text(world_model, STATEMENT, SOLUTIONS[0], encoder)
    with pytest.raises(ArgumentError, match="world_model: got 3, expected what open_world_model"):
        open_encoder(3, "m", "seeded")  # type: ignore[arg-type]


def test_stored_records_by_text_and_location(run: str, world_model: WorldModel) -> None:
    location = str(Path(run).parent / "s")
    with open_store(location) as store:
        key = next(iter(store.keys()))
        [wanted] = score(store, [key], world_model)
        for keys in ([str(key)], str(key), key):
            [found] = score(store, keys, world_model)
            assert found.key == key
            np.testing.assert_array_equal(found.surprise, wanted.surprise)
    [found] = score(location, key, world_model)
    np.testing.assert_array_equal(found.surprise, wanted.surprise)
    with pytest.raises(ArgumentError, match="store: got 3, expected what open_store"):
        next(score(3, key, world_model))  # type: ignore[arg-type]
