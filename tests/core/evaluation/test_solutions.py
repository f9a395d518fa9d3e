"""Figures on whole solutions, with scores that are known: the first dimension is the surprise."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import pytest

from rjepa_core.evaluation.corpus import Sample
from rjepa_core.evaluation.correctness import correctness_table
from rjepa_core.evaluation.fitting import can_cross, fitted_crosswise
from rjepa_core.evaluation.methods import BASELINE, RIDGE, WORLD_MODEL, Method, each_in_batches
from rjepa_core.evaluation.probe import LONG, ProbeData, probe_tables
from rjepa_core.evaluation.progress import EvaluationWatch
from rjepa_core.evaluation.settings import EvaluateSettings
from rjepa_core.evaluation.statistics import auroc
from rjepa_core.evaluation.targets import measure
from rjepa_core.ports.world_model import Context, LatentSequence
from rjepa_core.testing.samples import sample_identity, sample_record

SETTINGS = EvaluateSettings(draws=30, batch_size=3)
Floats = np.ndarray


@attrs.frozen
class Column:
    """Takes its surprise from one dimension of the latents."""

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
        return [one.latents[:, self.number] for one in sequences]


WATCH = EvaluationWatch()
METHODS = [Method("world model", WORLD_MODEL, Column(0)), Method(RIDGE, BASELINE, Column(1))]


def sample(problem: int, scores: Floats, logprobs: Floats, correct: bool | None = None) -> Sample:
    record = sample_record(sample_identity(), f"p{problem}", steps=len(scores))
    labels = {} if correct is None else {"correct": str(correct).lower()}
    trace = attrs.evolve(record.trace, metadata=labels)
    latents = np.asarray(scores, np.float32)
    return Sample(trace, LatentSequence(latents, latents[0]), np.asarray(logprobs, float))


def test_correctness_overall_and_within_a_question() -> None:
    random = np.random.default_rng(4)
    samples = []
    for problem in range(40):
        level = random.random()
        for correct in (True, False, problem % 2 == 0):
            steps = int(random.integers(1, 4))
            scores = level + 0.2 * random.random((steps, 2)) + (0.0 if correct else 0.1)
            samples.append(sample(problem, scores, -random.random(steps), correct))
    table = correctness_table(METHODS, samples, Context.PAST, SETTINGS, EvaluationWatch())
    wrong = np.array([one.trace.metadata["correct"] == "false" for one in samples])
    largest = np.array([one.sequence.latents[:, 0].max() for one in samples])
    ours = table.line("world model").figures
    assert ours["AUROC max"].value == pytest.approx(auroc(largest, wrong))
    won = total = 0.0
    for i in np.flatnonzero(wrong):
        for j in np.flatnonzero(~wrong):
            if samples[i].problem == samples[j].problem:
                total += 1
                won += (largest[i] > largest[j]) + 0.5 * (largest[i] == largest[j])
    assert ours["within max"].value == pytest.approx(won / total)
    assert ours["within max"].value > ours["AUROC max"].value
    assert table.line("length in steps").figures["within max"].value == pytest.approx(
        table.line("length in steps").figures["within mean"].value
    )
    assert table.items == 120
    assert table.problems == 40


def test_no_item_is_scored_by_a_model_that_saw_it() -> None:
    """In each half the label depends on the feature the other way round."""
    features = np.arange(40.0)[:, None]
    halves = np.arange(40) % 2
    positive = (features[:, 0] > 20) ^ (halves == 1)
    assert can_cross(positive, halves)
    logits = fitted_crosswise(features, positive, halves)
    assert auroc(logits[halves == 0], positive[halves == 0]) < 0.1
    assert not can_cross(positive, np.zeros(40, int))


def test_answers_keep_their_order() -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(1, 9, 50)
    sequences = [
        LatentSequence(np.full((n, 1), i, np.float32), np.zeros(1, np.float32))
        for i, n in enumerate(lengths)
    ]
    asked: list[int] = []

    def ask(batch: list[LatentSequence]) -> list[float]:
        asked.append(len(batch))
        return [float(one.latents[0, 0]) for one in batch]

    assert each_in_batches(ask, sequences, 8) == [float(i) for i in range(50)]
    assert max(asked) == 8


class Reads:
    """Embeddings that hold the label, and nothing else of the step."""

    def __init__(self, texts: dict[float, float]) -> None:
        self._texts = texts

    def embeddings(self, sequences: Sequence[LatentSequence]) -> list[Floats]:
        return [
            np.array([[self._texts[float(step[0])]] for step in one.latents]) for one in sequences
        ]


def test_a_probe_reads_what_is_there() -> None:
    random = np.random.default_rng(5)
    known: dict[float, float] = {}

    def make(first: int, count: int) -> list[Sample]:
        found = []
        for problem in range(first, first + count):
            one = sample(problem, random.random((3, 2)), np.zeros(3))
            texts = tuple("x" * int(random.integers(1, 100)) for _ in range(3))
            for step, text in zip(one.sequence.latents, texts, strict=True):
                known[float(step[0])] = float(len(text))
            found.append(attrs.evolve(one, trace=attrs.evolve(one.trace, step_texts=texts)))
        return found

    data = ProbeData(make(0, 60), make(100, 30), make(200, 40))
    standards = measure([[one.sequence for one in data.train]])
    models = {"world model": Reads(known)}
    (table,) = probe_tables(models, standards, data, SETTINGS, EvaluationWatch())  # type: ignore[arg-type]
    assert table.name == f"probe/{LONG}"
    assert table.columns == ("30", "100")
    assert table.line("world model").figures["100"].value > 0.99
    assert 0.3 < table.line("raw latents").figures["100"].value < 0.7
    assert table.line("world model").differences["raw latents"]["100"].low > 0.2
