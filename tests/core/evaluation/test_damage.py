"""Tables of damage from scores that are known: the first dimension of a latent is the surprise.

The checks of the evaluation itself are here: labels that mean nothing give chance, a planted signal
is found, and who tells only that a text was edited gets 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import numpy as np
import pytest

from rjepa_core.domain.problem import statement_hash
from rjepa_core.evaluation.corpus import Sample
from rjepa_core.evaluation.damage import EASY, Reading, damage_tables
from rjepa_core.evaluation.methods import BASELINE, RIDGE, WORLD_MODEL, Method
from rjepa_core.evaluation.progress import EvaluationWatch
from rjepa_core.evaluation.results import Seeds, Table
from rjepa_core.evaluation.settings import EvaluateSettings
from rjepa_core.evaluation.statistics import auroc
from rjepa_core.ports.world_model import Context, LatentSequence
from rjepa_core.testing.samples import sample_identity, sample_record

Floats = np.ndarray
COLUMNS = [f"{against} {kind}" for against in ("clean", "edited") for kind in ("max", "mean")]


@attrs.frozen
class Column:
    """Takes its surprise from one dimension of the latents, from the past; twice it otherwise."""

    number: int

    def predict(
        self,
        sequences: Sequence[LatentSequence],
        context: Context = Context.OTHERS,
        ahead: int = 1,
    ) -> list[Floats]:
        return [one.latents * 0 for one in sequences]

    def targets(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        return [one.latents for one in sequences]

    def surprise(
        self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
    ) -> list[Floats]:
        times = 1 if context is Context.PAST else 2
        return [times * one.latents[:, self.number] for one in sequences]


METHODS = [Method("world model", WORLD_MODEL, Column(0)), Method(RIDGE, BASELINE, Column(1))]
Shift = Callable[[np.random.Generator, str], float]


def reading(
    kind: str, problem: int, scores: Floats, wrong: int | None, texts: list[str]
) -> Reading:
    record = sample_record(sample_identity(), f"p{problem}", steps=len(scores))
    trace = attrs.evolve(record.trace, step_texts=tuple(texts))
    latents = np.asarray(scores, np.float32)
    sample = Sample(trace, LatentSequence(latents, latents[0]), -np.asarray(scores[:, 2], float))
    return Reading(sample, kind, statement_hash(f"problem {problem}"), wrong)


def readings(count: int, shift: Shift, seed: int = 0, kinds: Sequence[str] = ()) -> list[Reading]:
    """Of each problem a clean, two edited and a damaged solution; `shift` is added to the surprise
    of one step of each."""
    random = np.random.default_rng(seed)
    found = []
    for problem in range(count):
        steps = int(random.integers(3, 7))
        level = random.random((steps, 3)) + 0.1
        texts = [f"step {i} of it" for i in range(steps)]
        for kind in ("clean", "renamed", "reordered", *(kinds or ("result",))):
            scores = level + 0.3 * random.random((steps, 3))
            at = int(random.integers(steps))
            scores[at, 0] += shift(random, kind)
            own = list(texts)
            if kind == "foreign":
                own[at] = "quite other words"
            wrong = at if kind in (kinds or ("result",)) else None
            found.append(reading(kind, problem, scores, wrong, own))
    return found


def tables(
    found: list[Reading],
    draws: int = 60,
    methods: list[Method] = METHODS,
    seeds: Sequence[Seeds] = (),
) -> list[Table]:
    settings = EvaluateSettings(draws=draws, batch_size=7)
    return damage_tables(methods, found, settings, EvaluationWatch(), seeds=seeds)


def figures(table: Table, method: str = "world model, past") -> dict[str, float]:
    return {column: one.value for column, one in table.line(method).figures.items()}


def test_labels_that_mean_nothing_give_chance() -> None:
    """What is damaged, edited and wrong is dealt out at random: each interval holds chance."""
    (table,) = tables(readings(250, lambda random, kind: 0.0), draws=300)
    outside = [
        (line.method, column)
        for line in table.lines
        for column, one in line.figures.items()
        if not one.low - 0.02 <= table.chance[column] <= one.high + 0.02
    ]
    assert len(outside) <= 0.06 * sum(len(line.figures) for line in table.lines)
    assert table.facts["easy"] == []
    assert all(abs(figures(table)[column] - 0.5) < 0.06 for column in COLUMNS)


def test_a_planted_signal_is_found() -> None:
    (table,) = tables(readings(150, lambda random, kind: 1.2 * (kind == "result")))
    ours, ridge = figures(table), figures(table, f"{RIDGE}, past")
    for column in COLUMNS:
        assert ours[column] > 0.75
        assert abs(ridge[column] - 0.5) < 0.1
    assert ours["clean fitted"] > 0.85
    assert ours["edited fitted"] > 0.85
    assert ours["paired max"] > 0.8
    assert ours["named"] > table.chance["named"] + 0.4
    both = table.line("world model, past + log-probability")
    assert both.figures["clean fitted"].value > 0.85
    assert both.differences["log-probability"]["clean fitted"].low > 0.2
    assert table.line("world model, past").differences[f"{RIDGE}, summed"]["clean max"].low > 0.1


def test_who_only_tells_that_a_text_was_edited_gets_a_half() -> None:
    """The edited correct solutions are as surprising as the damaged ones."""
    (table,) = tables(readings(250, lambda random, kind: 0.8 * (kind != "clean")))
    ours = table.line("world model, past").figures
    assert ours["clean max"].value > 0.7
    for column in ("edited max", "edited mean", "edited fitted"):
        assert abs(ours[column].value - 0.5) < 0.06
        assert ours[column].low < 0.52
        assert ours[column].high > 0.48


def test_the_figures_are_what_they_say() -> None:
    found = readings(40, lambda random, kind: random.random() * (kind == "result"))
    (table,) = tables(found)
    by_kind = {k: [r for r in found if r.kind == k] for k in ("clean", "renamed", "result")}
    largest = {k: [r.sample.sequence.latents[:, 0].max() for r in v] for k, v in by_kind.items()}
    labels = [False] * 40 + [True] * 40
    ours = figures(table)
    assert ours["clean max"] == pytest.approx(auroc(largest["clean"] + largest["result"], labels))
    wins = np.mean([a > b for a, b in zip(largest["result"], largest["clean"], strict=True)])
    assert ours["paired max"] == pytest.approx(wins)
    named = [r.sample.sequence.latents[:, 0].argmax() == r.wrong for r in by_kind["result"]]
    assert ours["named"] == pytest.approx(np.mean(named))
    assert table.chance["named"] == pytest.approx(
        np.mean([1 / r.sample.steps for r in by_kind["result"]])
    )
    assert (table.items, table.problems) == (40, 40)
    wrong = [r.wrong for r in by_kind["result"] if r.wrong is not None]
    place = max(set(wrong), key=wrong.count)
    share = wrong.count(place) / 40
    assert f"most often number {place + 1} ({share:.0%})" in table.notes[-2]
    summed, past = (figures(table, f"{RIDGE}, {name}") for name in ("summed", "past"))
    assert summed["clean max"] == pytest.approx(past["clean max"])


def test_a_kind_that_words_tell_is_marked() -> None:
    found = readings(60, lambda random, kind: 0.0, kinds=("result", "foreign"))
    result, foreign = tables(found)
    assert (result.name, foreign.name) == ("damage/result", "damage/foreign")
    assert result.facts["easy"] == []
    assert len(foreign.facts["easy"]) == 1
    assert foreign.facts["easy"][0].startswith("lexical 1.00")
    assert foreign.title.endswith("(easy)")
    assert figures(foreign, "lexical")["named"] == 1.0
    assert figures(foreign, "lexical")["clean max"] > EASY


def test_edited_solutions_are_never_positives_and_count_with_their_problem() -> None:
    found = readings(50, lambda random, kind: 0.0)
    (table,) = tables([r for r in found if r.kind != "result" or r.problem > "8"])
    assert table.items < 50
    assert table.problems == 50
    assert f"{table.items} damaged solutions" in table.notes[-1]
    assert "100 edited" in table.notes[-1]


def test_trained_baselines_are_rivals_and_the_worst_seed_is_told() -> None:
    best = "linear map, the best of 2 seeds"
    against = (RIDGE, best)
    methods = [
        Method("world model 0", WORLD_MODEL, Column(0), against),
        Method("world model 1", WORLD_MODEL, Column(1), against),
        *(Method(f"linear map {i}", BASELINE, Column(i), (RIDGE,)) for i in (0, 1)),
        METHODS[1],
    ]
    seeds = [
        Seeds("worst", ("world model 0", "world model 1")),
        Seeds(best, ("linear map 0", "linear map 1"), best=True),
    ]
    found = readings(60, lambda random, kind: 1.2 * (kind == "result"))
    (table,) = tables(found, 20, methods, seeds)
    for ending in ("", " + log-probability"):
        worst = table.line(f"worst, past{ending}")
        assert worst.of == tuple(f"world model {i}, past{ending}" for i in (0, 1))
        for column, one in worst.figures.items():
            values = [table.line(name).figures[column].value for name in worst.of]
            assert one.value == min(values)
        rival = f"{best}, past{ending}"
        assert worst.differences[rival]["clean fitted"].value < -0.1
        assert f"{RIDGE}, summed{ending}" in worst.differences
        assert rival in table.line(worst.of[0]).differences
        assert f"{best}, others{ending}" not in worst.differences


def test_without_log_probabilities_and_with_too_few_problems() -> None:
    found = [
        attrs.evolve(r, sample=attrs.evolve(r.sample, logprobs=None))
        for r in readings(3, lambda random, kind: 0.0)
    ]
    (table,) = tables(found[:4])
    assert all("log-probability" not in line.method for line in table.lines)
    assert any("not kept" in note for note in table.notes)
    assert any("too few problems" in note for note in table.notes)
    assert "clean fitted" not in figures(table)
