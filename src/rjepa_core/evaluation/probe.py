"""A linear probe: what can be read from the world model's embeddings, and what from raw latents?

The labels are made from the steps' texts, so that every store has them: whether a step's text is
longer than the training steps' median, and, where steps calculate, whether a calculation multiplies
or divides rather than only adds or subtracts. Neither is given to the world model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import attrs
import numpy as np

from ..ports.world_model import LatentSequence, WorldModel
from .corpus import Sample, problem_numbers
from .fitting import fit_logistic
from .methods import BASELINE, WORLD_MODEL, each_in_batches
from .progress import EvaluationWatch
from .results import Table, TableBuilder
from .settings import PROBE, EvaluateSettings
from .statistics import Doubles, Flags, Mean, Resampler, Separation, auroc
from .targets import Standards

RAW = "raw latents"
TOO_RARE = "too few steps of each kind to be told apart, in one of the parts"
LONG, MULTIPLIES = "long", "multiplies"
COUNTS = (30, 100, 300, 1000)
_FITS = 3
_PENALTIES = (1.0, 10.0, 100.0, 1000.0)
# A label is worth probing for if each side has so large a share, in each part.
_SHARE = 0.1
_TITLES = {
    LONG: "the step's text is longer than the training steps' median",
    MULTIPLIES: "the step's calculation multiplies or divides",
}
_CALCULATES = re.compile(r"[\d)%]\s*(?P<sign>[-+−–*×x·/÷])\s*[$€£(]?\s*\d[^=\n]*=")
_MULTIPLIES = re.compile(r"[\d)%]\s*[*×x·/÷]\s*[$€£(]?\s*\d[^=\n]*=")
Embed = Callable[[list[LatentSequence]], Sequence[np.ndarray]]


@attrs.frozen(eq=False)
class ProbeData:
    """Samples for fitting, for choosing the penalty, and for the figures."""

    train: Sequence[Sample]
    choose: Sequence[Sample]
    test: Sequence[Sample]

    def parts(self) -> tuple[Sequence[Sample], Sequence[Sample], Sequence[Sample]]:
        return self.train, self.choose, self.test


def probe_tables(
    models: Mapping[str, WorldModel],
    standards: Standards,
    data: ProbeData,
    settings: EvaluateSettings,
    watch: EvaluationWatch,
) -> list[Table]:
    """AUROC of linear probes by the number of labelled steps, a table a label.

    Args:
        models: world models by name.
        standards: of the training part, for the raw latents.
        data: samples with two steps or more.
        settings: seed, draws and batch size.
        watch: told how far it is.
    """
    ways: dict[str, Embed] = {
        RAW: lambda batch: [standards.steps_of(one) for one in batch],
        **{name: model.embeddings for name, model in models.items()},
    }
    labels = {name: found for name in _TITLES if (found := _labels(name, data)) is not None}
    for name in [name for name in _TITLES if name not in labels]:
        watch.say(f"probe: left out where {_TITLES[name]}: too few steps that are, or are not")
    embedded = {
        name: [_embed(way, part, settings.batch_size) for part in data.parts()]
        for name, way in ways.items()
    }
    tick = watch.phase("probing", len(labels) * len(ways))
    tables: list[Table] = []
    for label, (used, values) in labels.items():
        numbers, count = problem_numbers(data.test)
        problems = np.repeat(numbers, [sample.steps for sample in data.test])[used[2]]
        counts = [n for n in COUNTS if n <= len(values[0])] or [len(values[0])]
        build = TableBuilder(Resampler(count, settings.draws, settings.seed))
        for name, parts in embedded.items():
            inputs = [part[keep] for part, keep in zip(parts, used, strict=True)]
            figures = {}
            for n in counts:
                fits = [
                    Separation(_probe(inputs, values, chosen), values[2], problems)
                    for chosen in _choices(values[0], n, settings.seed)
                ]
                figures[f"{n:,}"] = Mean(fits)
            kind = BASELINE if name == RAW else WORLD_MODEL
            build.add(name, kind, figures, () if name == RAW else (RAW,))
            tick(len(tables) * len(ways) + list(ways).index(name) + 1)
        tables.append(
            Table(
                part=PROBE,
                name=f"{PROBE}/{label}",
                title=f"Linear probe, AUROC by number of labelled steps: {_TITLES[label]}",
                columns=tuple(f"{n:,}" for n in counts),
                items=len(values[2]),
                problems=count,
                chance={f"{n:,}": 0.5 for n in counts},
                lines=build.lines(),
                notes=(
                    f"mean of {_FITS} draws of labelled training steps; the penalty of each fit "
                    "is chosen on validation; embeddings see every step of the trace",
                ),
            )
        )
    return tables


def _embed(way: Embed, samples: Sequence[Sample], size: int) -> Doubles:
    found = each_in_batches(way, [sample.sequence for sample in samples], size)
    return np.concatenate(found).astype(np.float64)


_Parts = list[np.ndarray]


def _labels(label: str, data: ProbeData) -> tuple[_Parts, _Parts] | None:
    """Which steps are used, and their labels, for each part; None where one side is too rare."""
    texts = [[text for s in part for text in s.trace.step_texts] for part in data.parts()]
    if label == LONG:
        median = float(np.median([len(text.strip()) for text in texts[0]]))
        used = [np.ones(len(part), bool) for part in texts]
        values = [np.array([len(text.strip()) > median for text in part]) for part in texts]
    else:
        used = [np.array([bool(_CALCULATES.search(text)) for text in part]) for part in texts]
        values = [
            np.array([bool(_MULTIPLIES.search(text)) for text in part])[keep]
            for part, keep in zip(texts, used, strict=True)
        ]
    if len(values[0]) < COUNTS[0]:
        return None
    for one in values:
        if not len(one) or not _SHARE <= one.mean() <= 1.0 - _SHARE:
            return None
    return used, values


def _choices(values: Flags, count: int, seed: int) -> list[np.ndarray]:
    """Places of the labelled steps of each fit; both labels are among them."""
    found = []
    for number in range(_FITS):
        random = np.random.default_rng([seed, count, number])
        order = random.permutation(len(values))
        chosen = order[:count]
        if values[chosen].all() or not values[chosen].any():
            other = order[np.flatnonzero(values[order] != values[chosen[0]])[0]]
            chosen[-1] = other
        found.append(chosen)
    return found


def _probe(inputs: _Parts, values: _Parts, chosen: np.ndarray) -> Doubles:
    """Logits of the test steps, by the penalty that does best on validation."""
    fits = [fit_logistic(inputs[0][chosen], values[0][chosen], p) for p in _PENALTIES]
    best = max(fits, key=lambda fit: auroc(fit.logits(inputs[1]), values[1]))
    return best.logits(inputs[2])
