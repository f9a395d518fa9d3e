"""Damaged solutions, told from correct ones: by surprise, and by everything cheaper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import attrs
import numpy as np

from ..domain.problem import half_of
from ..domain.provenance import CLEAN
from ..ports.world_model import Context
from ..text import count
from .corpus import Sample
from .correctness import TOO_FEW, compare
from .corruption import EDITS, KINDS
from .fitting import (
    Scores,
    average,
    can_cross,
    fitted_crosswise,
    flat_labels,
    largest,
    last,
    prepared,
    solution_features,
    split_scores,
    step_features,
)
from .lexical import WITHOUT_MODEL
from .methods import COPY, LOGPROB, MEAN, RIDGE, Method, step_scores
from .progress import EvaluationWatch
from .results import Line, Seeds, Table, TableBuilder
from .settings import DAMAGE, EvaluateSettings
from .statistics import Doubles, Figure, Flags, Ints, Resampler, Separation, Share, named

# What damaged solutions are told from.
AGAINST = (CLEAN, "edited")
KINDS_OF_SCORE = ("max", "mean", "fitted")
PAIRED, NAMED = ("paired max", "paired mean"), "named"
# Above it a baseline without any model makes a kind of damage easy.
EASY = 0.6
WAYS = PAST, OTHERS, SUMMED = "past", "others", "summed"
_USE = (
    "to choose what to look at first, by the method that is ahead; the log-probability costs the "
    "same reading as the surprise"
)
TITLES = {
    "result": "A result changed, and carried on",
    "operation": "An operation changed, and carried on",
    "quantity": "Two quantities swapped, or a name",
    "order": "Two neighbouring steps swapped",
    "omission": "A step left out",
    "similar": "A step of a similar problem, with this one's names and numbers",
    "foreign": "A step of a random other problem",
}


@attrs.frozen(eq=False)
class Reading:
    """A solution that was read by the LLM.

    Attributes:
        sample: as it was read.
        kind: `clean`, an edit, or a kind of damage.
        problem: hash of the statement that the solution was made for, whatever it says now.
        wrong: the step that is wrong, if one is.
    """

    sample: Sample
    kind: str
    problem: str
    wrong: int | None = None


def damage_tables(
    methods: Sequence[Method],
    readings: Sequence[Reading],
    settings: EvaluateSettings,
    watch: EvaluationWatch,
    notes: tuple[str, ...] = (),
    seeds: Sequence[Seeds] = (),
) -> list[Table]:
    """Make one table per kind of damage.

    Args:
        methods: that predict steps.
        readings: clean, edited and damaged solutions.
        settings: seed, draws and batch size.
        watch: told how far it is.
        notes: that belong to each table.
        seeds: methods that differ in their seeds alone.
    """
    scores = step_scores_of(methods, readings, settings, watch)
    if LOGPROB not in scores:
        notes = (*notes, "log-probabilities are not kept in the stores")
    kinds = [kind for kind in KINDS if any(reading.kind == kind for reading in readings)]
    lines = _each_way(methods, scores)
    grouped = [_of_way(one, way) for one in seeds for way in (PAST, OTHERS)]
    return [damage_table(kind, lines, readings, scores, settings, notes, grouped) for kind in kinds]


def step_scores_of(
    methods: Sequence[Method],
    readings: Sequence[Reading],
    settings: EvaluateSettings,
    watch: EvaluationWatch,
) -> dict[str, Scores]:
    """Score the steps of all readings, by the name that a line has."""
    samples = [reading.sample for reading in readings]
    found: dict[str, Scores] = {
        name: [score(sample.trace) for sample in samples] for name, score in WITHOUT_MODEL.items()
    }
    if all(sample.logprobs is not None for sample in samples):
        found[LOGPROB] = [-s.logprobs for s in samples if s.logprobs is not None]
    sequences = [sample.sequence for sample in samples]
    for method in methods:
        if method.name in (MEAN, COPY):
            continue
        for name, context in ((PAST, Context.PAST), (OTHERS, Context.OTHERS)):
            line = f"{method.name}, {name}"
            tick = watch.phase(f"damage: {line}", len(sequences))
            found[line] = step_scores(method, sequences, context, settings.batch_size, tick)
        if method.name == RIDGE:
            both = zip(found[f"{RIDGE}, {PAST}"], found[f"{RIDGE}, {OTHERS}"], strict=True)
            found[f"{RIDGE}, {SUMMED}"] = [one + other for one, other in both]
    return found


def _each_way(methods: Sequence[Method], scores: Mapping[str, Scores]) -> list[Method]:
    """Return the methods as lines: past, others and summed apart. A world model is compared with
    the baselines that see what it sees, with ridge regression summed, and with those that need no
    model."""
    found = []
    for method in methods:
        for way in WAYS:
            name = f"{method.name}, {way}"
            rivals = dict.fromkeys((RIDGE, *method.against))
            against = (
                *(f"{other}, {way}" for other in rivals),
                f"{RIDGE}, {SUMMED}",
                *WITHOUT_MODEL,
            )
            if name in scores:
                found.append(attrs.evolve(method, name=name, against=against))
    return found


def _of_way(seeds: Seeds, way: str) -> Seeds:
    members = tuple(f"{member}, {way}" for member in seeds.members)
    return attrs.evolve(seeds, name=f"{seeds.name}, {way}", members=members)


def damage_table(
    kind: str,
    methods: Sequence[Method],
    readings: Sequence[Reading],
    scores: Mapping[str, Scores],
    settings: EvaluateSettings,
    notes: tuple[str, ...] = (),
    seeds: Sequence[Seeds] = (),
) -> Table:
    """Make the table of one kind of damage.

    Args:
        kind: of damage.
        methods: that predict steps, by the names of their lines.
        readings: clean, edited and damaged solutions.
        scores: of the steps of each, by method.
        settings: seed and draws.
        notes: that belong to the table.
        seeds: methods that differ in their seeds alone.
    """
    figures = _Figures(kind, readings, scores)
    build = TableBuilder(Resampler(figures.count, settings.draws, settings.seed))
    compare(build, methods, list(scores), figures, seeds)
    lines = build.lines()
    easy = _easy(lines)
    if easy:
        notes = (*notes, f"easy: {'; '.join(easy)}")
    if not figures.fits:
        notes = (*notes, TOO_FEW)
    columns = (*(f"{a} {k}" for a in AGAINST for k in KINDS_OF_SCORE), *PAIRED, NAMED)
    return Table(
        part=DAMAGE,
        name=f"{DAMAGE}/{kind}",
        title=TITLES[kind] + (" (easy)" if easy else ""),
        columns=columns,
        items=len(figures.damaged),
        problems=figures.count,
        chance={**dict.fromkeys(columns, 0.5), NAMED: figures.chance},
        lines=lines,
        notes=(*notes, figures.place, figures.counts),
        leads=(f"{CLEAN} fitted", NAMED),
        use=_USE,
        facts={"easy": easy},
    )


def _easy(lines: Sequence[Line]) -> list[str]:
    """Which baselines without any model tell the damage, and how well."""
    found = []
    for line in lines:
        areas = {c: e.value for c, e in line.figures.items() if c.startswith(AGAINST)}
        best = max(areas, key=lambda column: areas[column], default="")
        if line.method in WITHOUT_MODEL and areas[best] > EASY:
            found.append(f"{line.method} {areas[best]:.2f} ({best})")
    return found


class _Figures:
    """The figures of one table.

    The items are the damaged solutions, the clean ones of the same problems, and all edited ones.
    """

    def __init__(
        self, kind: str, readings: Sequence[Reading], scores: Mapping[str, Scores]
    ) -> None:
        self._scores = scores
        plain = (*WITHOUT_MODEL, LOGPROB)
        self._ready = prepared(scores, [name for name in scores if name not in plain])
        clean = {r.problem: i for i, r in enumerate(readings) if r.kind == CLEAN}
        self.damaged = [i for i, r in enumerate(readings) if r.kind == kind and r.problem in clean]
        self._own = [clean[readings[i].problem] for i in self.damaged]
        edited = [i for i, r in enumerate(readings) if r.kind in EDITS]
        self._rows = {CLEAN: self.damaged + self._own, AGAINST[1]: self.damaged + edited}
        self._readings = readings
        names = sorted({r.problem for r in readings if r.kind == kind or r.kind in EDITS})
        numbers = {name: i for i, name in enumerate(names)}
        self.count = len(names)
        self._problems = np.array([numbers.get(r.problem, -1) for r in readings], np.int64)
        self._halves = np.array([half_of(r.problem) for r in readings], np.int64)
        steps = [readings[i].sample.steps for i in self.damaged]
        self.chance = float(np.mean([1 / number for number in steps]))
        place, times = Counter(readings[i].wrong for i in self.damaged).most_common(1)[0]
        # Whoever always names that one is right as often.
        self.place = (
            f"the wrong step is most often number {(place or 0) + 1} ({times / len(steps):.0%})"
        )
        self.counts = (
            f"{count(len(self.damaged), 'damaged solution')}, the clean ones of the same problems, "
            f"and {len(edited):,} edited correct ones; fitted on one half of the problems, tested "
            "on the other"
        )
        self.fits = self._can_cross(CLEAN)

    def _can_cross(self, against: str) -> bool:
        """Return whether logistic models can be fitted on each half."""
        rows = self._rows[against]
        return can_cross(self._positive(rows), self._halves[rows])

    def alone(self, name: str) -> Mapping[str, Figure]:
        """Of one kind of scores."""
        high, middle = largest(self._scores[name]), average(self._scores[name])
        found: dict[str, Figure] = {}
        for against in AGAINST:
            found[f"{against} max"] = self._separation(against, high)
            found[f"{against} mean"] = self._separation(against, middle)
            found |= self._fitted(against, (name,))
        for column, values in zip(PAIRED, (high, middle), strict=True):
            ours, clean = values[self.damaged], values[self._own]
            found[column] = self._share((ours > clean) + 0.5 * (ours == clean))
        return {**found, NAMED: self._named([self._scores[name][i] for i in self.damaged])}

    def together(self, name: str) -> Mapping[str, Figure]:
        """Of a method's scores and the log-probability, in logistic models."""
        names = (name, LOGPROB)
        found = {c: f for against in AGAINST for c, f in self._fitted(against, names).items()}
        return {**found, NAMED: self._named(self._steps_fitted(names))}

    def _positive(self, rows: Sequence[int]) -> Flags:
        return np.arange(len(rows)) < len(self.damaged)

    def _separation(self, against: str, values: Doubles) -> Figure:
        rows = self._rows[against]
        return Separation(values[rows], self._positive(rows), self._problems[rows])

    def _share(self, values: Doubles) -> Figure:
        return Share(np.asarray(values, np.float64), self._problems[self.damaged], self.count)

    def _named(self, scores: Scores) -> Figure:
        wrong = [self._readings[i].wrong for i in self.damaged]
        found = [named(s, w) for s, w in zip(scores, wrong, strict=True) if w is not None]
        return self._share(np.array(found))

    def _fitted(self, against: str, names: Sequence[str]) -> dict[str, Figure]:
        rows = self._rows[against]
        if not self._can_cross(against):
            return {}
        kinds = [[self._ready[name][i] for i in rows] for name in names]
        features = solution_features(kinds, (largest, average, last))
        positive = self._positive(rows)
        logits = fitted_crosswise(features, positive, self._halves[rows])
        return {f"{against} fitted": Separation(logits, positive, self._problems[rows])}

    def _steps_fitted(self, names: Sequence[str]) -> Scores:
        kinds = [[self._ready[name][i] for i in self.damaged] for name in names]
        counts = [len(one) for one in kinds[0]]
        wrong = [self._readings[i].wrong or 0 for i in self.damaged]
        halves: Ints = np.repeat(self._halves[self.damaged], counts)
        labels = flat_labels(wrong, counts)
        features = np.concatenate(step_features(kinds))
        return split_scores(fitted_crosswise(features, labels, halves), counts)
