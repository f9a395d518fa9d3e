"""The prediction tables: checks of the evaluation itself, on steps whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import numpy as np
import pytest

from rjepa_core.evaluation.corpus import Sample
from rjepa_core.evaluation.methods import BASELINE, RIDGE, WORLD_MODEL, Comparison, Method
from rjepa_core.evaluation.prediction import Kept, prediction_tables
from rjepa_core.evaluation.progress import EvaluationWatch
from rjepa_core.evaluation.results import Line, Seeds, Table
from rjepa_core.evaluation.settings import EvaluateSettings
from rjepa_core.evaluation.targets import Standards
from rjepa_core.ports.world_model import Context, LatentSequence, TargetSpace, WorldModelInfo
from rjepa_core.testing.samples import sample_identity, sample_record

WIDTH = 24
SETTINGS = EvaluateSettings(draws=60, batch_size=50)
SPACE = Standards(
    np.zeros(WIDTH, np.float32),
    np.ones(WIDTH, np.float32),
    np.zeros(WIDTH, np.float32),
    np.ones(WIDTH, np.float32),
    1,
    1,
)
Floats = np.ndarray
Answer = Callable[[Floats, Context, int], Floats]


@attrs.frozen(eq=False)
class Model:
    """A world model that answers from the latents as it likes."""

    answer: Answer
    horizon: int = 3

    @property
    def info(self) -> WorldModelInfo:
        space = sample_identity().space
        return WorldModelInfo("run", space, WIDTH, WIDTH, TargetSpace.LLM, "-", {}, self.horizon)

    def predict(
        self,
        sequences: Sequence[LatentSequence],
        context: Context = Context.OTHERS,
        ahead: int = 1,
    ) -> list[Floats]:
        return [self.answer(one.latents, context, ahead).astype(np.float32) for one in sequences]

    def targets(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        return [one.latents for one in sequences]

    def unstandardise(self, predictions: Floats) -> Floats:
        return predictions

    def surprise(self, *_: object) -> list[Floats]:
        raise NotImplementedError


def method(answer: Answer, name: str = "world model", horizon: int = 3) -> Method:
    model: object = Model(answer, horizon)
    made = Method(name, WORLD_MODEL, model, (RIDGE,), model)  # type: ignore[arg-type]
    return made.placed(SPACE)


def samples(traces: int, of_trace: float = 0.0, samples_each: int = 1) -> list[Sample]:
    """Independent steps, or steps that share so much of their trace."""
    random = np.random.default_rng(traces)
    found = []
    for number in range(traces):
        steps = 2 + number % 4
        own = random.standard_normal(WIDTH) * of_trace**0.5
        latents = own + random.standard_normal((steps, WIDTH)) * (1 - of_trace) ** 0.5
        record = sample_record(
            sample_identity(), f"p{number // samples_each}", number % samples_each, steps=steps
        )
        sequence = LatentSequence(latents.astype(np.float32), np.zeros(WIDTH, np.float32))
        found.append(Sample(record.trace, sequence, None))
    return found


def tables(made: Sequence[Method], given: Sequence[Sample], **more: object) -> dict[str, Table]:
    comparison = Comparison("", SPACE, made, more.pop("seeds", ()))  # type: ignore[arg-type]
    horizons = (1, 2, 3)
    found = prediction_tables([comparison], given, horizons, SETTINGS, EvaluationWatch(), **more)  # type: ignore[arg-type]
    return {table.name: table for table in found}


NAMES = ["prediction/past/1", "prediction/past/2", "prediction/past/3", "prediction/others/1"]


def near_chance(table: Table, line: Line) -> None:
    for column in table.columns:
        if column.startswith(("top-1", "MRR")):
            figure, guess = line.figures[column], table.chance[column]
            slack = 2.5 * (figure.high - figure.low) / 2 + 0.01
            assert abs(figure.value - guess) < slack, (table.name, column)


def test_targets_dealt_out_anew_give_chance_everywhere() -> None:
    given = samples(200, of_trace=0.7)
    latents = np.concatenate([one.sequence.latents for one in given])
    dealt = np.random.default_rng(9).permutation(latents)
    where = {one.sequence.latents.tobytes(): one for one in given}
    assert len(where) == len(given)
    starts = np.cumsum([0, *(one.steps for one in given)])
    place = {one.sequence.latents.tobytes(): starts[i] for i, one in enumerate(given)}

    def answer(steps: Floats, context: Context, ahead: int) -> Floats:
        start = place[steps.tobytes()]
        return dealt[start : start + len(steps)]

    found = tables([method(answer)], given)
    assert list(found) == NAMES
    for table in found.values():
        line = table.line("world model")
        near_chance(table, line)
        assert line.figures["explained variance"].value < -0.7


def test_a_planted_signal_is_found() -> None:
    given = samples(120)
    random = np.random.default_rng(3)

    def answer(steps: Floats, context: Context, ahead: int) -> Floats:
        weight = {1: 0.9, 2: 0.7, 3: 0.5}[ahead]
        return weight * steps + 0.1 * random.standard_normal(steps.shape)

    found = tables([method(answer)], given)
    errors = []
    for name in NAMES:
        table, figures = found[name], found[name].line("world model").figures
        assert figures["top-1"].value > 0.9
        assert figures["top-1 same place"].value > 0.9
        assert figures["explained variance"].low > 0.5
        total = figures["error"].value + figures["explained variance"].value * table.chance["error"]
        assert total == pytest.approx(table.chance["error"])
        errors.append(figures["error"].value)
    assert errors[0] < errors[1] < errors[2]
    assert found["prediction/past/1"].line("world model").figures["error"].value == pytest.approx(
        0.1**2 + 0.1**2, rel=0.1
    )


def test_a_model_that_returns_its_neighbour_is_never_right() -> None:
    """The step before is given, and in no pool; the one that was not given is nearer than the true
    one, always."""
    given = samples(120)

    def hidden(steps: Floats, context: Context, ahead: int) -> Floats:
        # Two ahead, the step between was not given.
        return np.roll(steps, 1, axis=0)

    def following(steps: Floats, context: Context, ahead: int) -> Floats:
        return np.vstack([steps[1:], 100 + 0 * steps[:1]])

    found = tables([method(hidden, "hidden"), method(following, "following")], given)
    for name in ("prediction/past/2", "prediction/past/3"):
        assert found[name].line("hidden").figures["top-1"].value == 0.0
    for name in NAMES[:3]:
        assert found[name].line("following").figures["top-1"].value == 0.0


@pytest.mark.parametrize("of_trace", [0.0, 0.5])
def test_a_given_neighbour_is_worth_what_it_tells(of_trace: float) -> None:
    """A step says of the next one what they share, and a copy of it is a poor prediction."""
    given = samples(200, of_trace)

    def copy(steps: Floats, context: Context, ahead: int) -> Floats:
        return np.vstack([0 * steps[:1], steps[:-1]]) if ahead == 1 else 0 * steps

    table = tables([method(copy)], given)["prediction/past/1"]
    line = table.line("world model")
    assert line.figures["explained variance"].value < 0.05
    if not of_trace:
        near_chance(table, line)
    else:
        # It finds the trace, and there not the step: as many later ones are as near.
        assert table.chance["top-1"] < line.figures["top-1"].value < 0.7


def test_steps_without_so_many_before_them_are_not_counted() -> None:
    given = samples(40)
    total = sum(one.steps for one in given)
    found = tables([method(lambda steps, context, ahead: steps)], given)
    assert [found[name].items for name in NAMES] == [total, total - 40, total - 80, total]
    assert [found[name].problems for name in NAMES] == [40, 40, 30, 40]


def test_a_look_ahead_that_no_trace_is_long_enough_for_is_said() -> None:
    warned: list[str] = []
    comparison = Comparison("", SPACE, [method(lambda steps, context, ahead: steps, horizon=9)])
    watch = EvaluationWatch(warn=warned.append)
    found = prediction_tables([comparison], samples(8), (1, 6), SETTINGS, watch)
    assert [table.name for table in found] == ["prediction/past/1", "prediction/others/1"]
    assert warned == ["prediction: no trace has a step to predict 6 steps ahead"]


def test_other_samples_of_a_problem_are_a_pool() -> None:
    given = samples(60, samples_each=3)
    table = tables([method(lambda steps, context, ahead: steps)], given)["prediction/past/1"]
    assert table.columns[-2:] == ("top-1 same problem", "MRR same problem")
    assert 0.08 < table.chance["top-1 same problem"] < 0.3
    assert table.problems == 20
    alone = tables([method(lambda steps, context, ahead: steps)], samples(60))
    assert alone["prediction/past/1"].columns[-1] == "MRR same place"


def test_a_world_model_that_predicts_the_next_step_alone() -> None:
    @attrs.frozen(eq=False)
    class Old(Model):
        def predict(  # type: ignore[override]
            self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
        ) -> list[Floats]:
            return [one.latents for one in sequences]

    model: object = Old(lambda steps, context, ahead: steps, 1)
    old = Method("old", WORLD_MODEL, model, (), model).placed(SPACE)  # type: ignore[arg-type]
    found = tables([old, method(lambda steps, context, ahead: steps)], samples(20))
    assert "old" in {line.method for line in found["prediction/past/1"].lines}
    assert "old" not in {line.method for line in found["prediction/past/2"].lines}
    assert "old does not look 2 steps ahead" in found["prediction/past/2"].notes
    assert list(tables([old], samples(20))) == ["prediction/past/1", "prediction/others/1"]


def test_the_worst_of_the_seeds_and_the_best_of_the_rivals() -> None:
    given = samples(60)

    def noisy(noise: float, seed: int) -> Answer:
        random = np.random.default_rng(seed)
        return lambda steps, context, ahead: steps + noise * random.standard_normal(steps.shape)

    made = [method(noisy(noise, i), f"m-{i}") for i, noise in enumerate((2.0, 4.0, 3.0))]
    rivals = [
        attrs.evolve(method(noisy(3.0, 7 + i), f"r-{i}"), kind=BASELINE, against=())
        for i in range(2)
    ]
    made = [attrs.evolve(one, against=("r, the best of 2 seeds",)) for one in made]
    seeds = [
        Seeds("m, the worst of 3 seeds", ("m-0", "m-1", "m-2")),
        Seeds("r, the best of 2 seeds", ("r-0", "r-1"), best=True),
    ]
    table = tables([*made, *rivals], given, seeds=seeds)["prediction/past/1"]
    assert [line.method for line in table.lines] == [
        *("m-0", "m-1", "m-2", "m, the worst of 3 seeds"),
        *("r-0", "r-1", "r, the best of 2 seeds"),
    ]
    worst, best = table.line("m, the worst of 3 seeds"), table.line("r, the best of 2 seeds")
    assert worst.figures == table.line("m-1").figures
    assert worst.kind == WORLD_MODEL
    errors = [table.line(name).figures["error"].value for name in ("r-0", "r-1")]
    assert best.figures["error"].value == min(errors)
    difference = worst.differences["r, the best of 2 seeds"]["error"]
    assert difference.value == pytest.approx(worst.figures["error"].value - min(errors))
    assert difference.low <= difference.value <= difference.high


def test_predictions_are_kept_in_the_order_of_the_traces() -> None:
    given, kept = samples(30), Kept()
    found = tables([method(lambda steps, context, ahead: 2 * steps)], given, kept=kept)
    counts = [steps for _, steps in kept.traces]
    assert counts == sorted(counts)
    by_key = {one.trace.key: one.sequence.latents for one in given}
    latents = np.concatenate([by_key[key] for key, _ in kept.traces])
    assert set(kept.arrays) == {
        "targets",
        *(f"world model/{name.removeprefix('prediction/')}" for name in NAMES),
    }
    np.testing.assert_array_equal(kept.arrays["targets"], latents)
    np.testing.assert_array_equal(kept.arrays["world model/past/1"], 2 * latents)
    far, place = kept.arrays["world model/past/3"], np.concatenate([np.arange(n) for n in counts])
    assert np.isnan(far[place < 2]).all()
    np.testing.assert_array_equal(far[place >= 2], 2 * latents[place >= 2])
    error = np.square(latents, dtype=np.float64).mean()
    assert found["prediction/past/1"].line("world model").figures["error"].value == pytest.approx(
        error, rel=1e-5
    )
