"""How well steps are predicted: error, explained variance and ranks, by context and steps ahead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs
import numpy as np

from ..domain.trace import RecordKey
from ..ports.world_model import Context, LatentSequence
from ..text import count
from .baselines import StepPredictor
from .corpus import Sample, problem_numbers
from .methods import CONTEXTS, Comparison, Method
from .progress import EvaluationWatch
from .ranks import ALL, SAME_PLACE, SAME_PROBLEM, Ranked, Ranker, Steps, chance
from .results import Table, TableBuilder
from .ridge import Look
from .settings import PREDICTION, EvaluateSettings
from .statistics import Doubles, Explained, Figure, Flags, Floats, Ints, Resampler, Share

ERROR, EXPLAINED = "error", "explained variance"
TOPS = {ALL: "top-1", SAME_PLACE: "top-1 same place", SAME_PROBLEM: "top-1 same problem"}
RECIPROCALS = {ALL: "MRR", SAME_PLACE: "MRR same place", SAME_PROBLEM: "MRR same problem"}
TOP, RECIPROCAL = TOPS[ALL], RECIPROCALS[ALL]
_USES = {
    Context.PAST: "to say where a step will lie before it is written, and to pick it out of "
    "candidates; where a baseline is as good, the baseline does it more cheaply",
    Context.OTHERS: "to say how well a step fits between its neighbours; it is no foresight, since "
    "the later ones have read it",
}
_LEAK = (
    "later latents have read the step that is asked for, since the LLM reads from left to right: "
    "nothing is claimed from this table"
)


@attrs.define(eq=False)
class Kept:
    """Predictions, to be computed with again.

    Attributes:
        traces: keys and numbers of steps, in the order of the rows.
        arrays: float32 [N, E] by `{method}/{context}/{steps ahead}`; NaN where a step has too few
            before it. The targets, too: `targets`, and `targets of {world model}` for its own
            space, whose baselines are `{method} of {world model}`.
    """

    traces: list[tuple[RecordKey, int]] = attrs.field(factory=list)
    arrays: dict[str, Floats] = attrs.field(factory=dict)


def looks_of(horizons: Sequence[int]) -> list[Look]:
    """Contexts and steps ahead of the tables, in their order."""
    return [*((Context.PAST, ahead) for ahead in horizons), (Context.OTHERS, 1)]


def prediction_tables(
    comparisons: Sequence[Comparison],
    samples: Sequence[Sample],
    horizons: Sequence[int],
    settings: EvaluateSettings,
    watch: EvaluationWatch,
    kept: Kept | None = None,
) -> list[Table]:
    """A table for each target space, context and number of steps ahead.

    Args:
        comparisons: methods by target space.
        samples: of the split, with two steps or more.
        horizons: steps ahead, from the past.
        settings: seed, draws and batch size.
        watch: told how far it is.
        kept: is given all predictions.
    """
    # Traces of about equal lengths are predicted together.
    samples = sorted(samples, key=lambda sample: sample.steps)
    if kept is not None:
        kept.traces[:] = [(sample.trace.key, sample.steps) for sample in samples]
    tables = []
    for comparison in comparisons:
        part = _Part(comparison, samples, settings, watch, kept)
        tables += [table for look in looks_of(horizons) if (table := part.table(*look)) is not None]
    return tables


@attrs.frozen(eq=False)
class _Measured:
    """Errors float64 [N], and ranks by pool, of one method's predictions."""

    errors: Doubles
    ranked: Mapping[str, Ranked]


class _Part:
    """The steps of a split with their targets in one space."""

    def __init__(
        self,
        comparison: Comparison,
        samples: Sequence[Sample],
        settings: EvaluateSettings,
        watch: EvaluationWatch,
        kept: Kept | None,
    ) -> None:
        self._comparison, self._samples, self._settings = comparison, samples, settings
        self._watch, self._kept = watch, kept
        space = comparison.space
        targets = [one for batch in self._batches() for one in space.of(self._sequences(batch))]
        numbers, problems = problem_numbers(samples)
        names = [str(sample.trace.key) for sample in samples]
        self._steps = Steps.of(targets, numbers, names)
        self._ranker = Ranker(self._steps)
        self._squares = _mean_squares(self._steps.targets)
        self._resampler = Resampler(problems, settings.draws, settings.seed)
        if kept is not None:
            own = f" of {comparison.name}" if comparison.name else ""
            kept.arrays[f"targets{own}"] = self._steps.targets

    def table(self, context: Context, ahead: int) -> Table | None:
        """The table of a context and a number of steps ahead; None where there is no such step, or
        no world model that looks so far."""
        steps, comparison = self._steps, self._comparison
        counted = steps.place >= ahead - 1
        able = [method for method in comparison.methods if method.looks(ahead)]
        if all(method.model is None for method in able):
            return None
        if not counted.any():
            self._watch.warn(
                f"prediction: no trace has a step to predict {count(ahead, 'step')} ahead"
            )
            return None
        build = TableBuilder(self._resampler, lower=(ERROR,))
        sizes: dict[str, Ints] = {}
        for method in able:
            measured = self._measured(method, context, ahead)
            sizes = {pool: found.sizes for pool, found in measured.ranked.items()}
            build.add(method.name, method.kind, self._figures(measured, counted), method.against)
        for seeds in comparison.seeds:
            build.add_seeds(seeds)
        told = self._told(sizes, counted)
        guesses = {pool: chance(sizes[pool][at]) for pool, at in told.items()}
        return Table(
            part=PREDICTION,
            name="/".join(filter(None, (PREDICTION, context.value, str(ahead), comparison.name))),
            title=_title(context, ahead, comparison.name),
            columns=(
                *(TOP, RECIPROCAL, ERROR, EXPLAINED),
                *(c for pool in told if pool != ALL for c in (TOPS[pool], RECIPROCALS[pool])),
            ),
            items=int(counted.sum()),
            problems=len(np.unique(steps.problem[counted])),
            chance={
                ERROR: float(self._squares[counted].mean()),
                EXPLAINED: 0.0,
                **{TOPS[pool]: top for pool, (top, _) in guesses.items()},
                **{RECIPROCALS[pool]: mean for pool, (_, mean) in guesses.items()},
            },
            lines=build.lines(),
            notes=tuple(self._notes(context, ahead, told)),
            lower=(ERROR,),
            leads=(TOP, ERROR),
            use=_USES[context],
        )

    def _figures(self, measured: _Measured, counted: Flags) -> dict[str, Figure]:
        problem, problems = self._steps.problem, self._steps.problems
        figures: dict[str, Figure] = {
            ERROR: Share(measured.errors[counted], problem[counted], problems),
            EXPLAINED: Explained(
                measured.errors[counted], self._squares[counted], problem[counted], problems
            ),
        }
        sizes = {pool: found.sizes for pool, found in measured.ranked.items()}
        for pool, at in self._told(sizes, counted).items():
            ranks = measured.ranked[pool].ranks[at]
            figures[TOPS[pool]] = Share((ranks == 1.0) * 1.0, problem[at], problems)
            figures[RECIPROCALS[pool]] = Share(1.0 / ranks, problem[at], problems)
        return figures

    def _told(self, sizes: Mapping[str, Ints], counted: Flags) -> dict[str, Flags]:
        """By pool, the steps that have to be told from others there: bool [N]."""
        told = {pool: counted & (size > 1) for pool, size in sizes.items()}
        return {pool: at for pool, at in told.items() if at.any()}

    def _measured(self, method: Method, context: Context, ahead: int) -> _Measured:
        found = self._compared(method.name, method.predictor, context, ahead)
        if method.ranking is None:
            return found
        ranking = self._compared(f"{method.name} for ranks", method.ranking, context, ahead)
        return _Measured(found.errors, ranking.ranked)

    def _compared(
        self, name: str, predictor: StepPredictor, context: Context, ahead: int
    ) -> _Measured:
        """Predict batch by batch; all predictions are held where they are to be kept alone."""
        steps, own = self._steps, self._comparison.name
        if own not in ("", name):
            name = f"{name} of {own}"
        name = f"{name}/{context.value}/{ahead}"
        tick = self._watch.phase(f"prediction: {name}", len(self._samples))
        errors, ranked = [], []
        kept = None if self._kept is None else np.full_like(steps.targets, np.nan)
        for batch in self._batches():
            sequences = self._sequences(batch)
            made = np.concatenate(predictor.predict(sequences, context, ahead))
            rows = steps.rows_of(batch.start, batch.start + len(sequences))
            errors.append(_mean_squares(made - steps.targets[rows]))
            ranked.append(self._ranker.rank(made, rows, context, ahead))
            if kept is not None:
                kept[rows] = np.where(steps.place[rows, None] >= ahead - 1, made, np.nan)
            tick(batch.start + len(sequences))
        if self._kept is not None and kept is not None:
            self._kept.arrays[name] = kept
        return _Measured(np.concatenate(errors), {pool: _joined(pool, ranked) for pool in TOPS})

    def _notes(self, context: Context, ahead: int, told: Mapping[str, Flags]) -> Iterator[str]:
        steps, comparison = self._steps, self._comparison
        if context is Context.OTHERS:
            yield _LEAK
        yield "the true step is ranked among all steps of the part but those that were given" + (
            ""
            if len(steps.pool) == len(steps.targets)
            else f": {len(steps.pool):,} of them, drawn by their hashes, and those of its own trace"
        )
        if SAME_PLACE in told:
            yield "same place: among the steps of the same number in traces of the same length"
        if SAME_PROBLEM in told:
            yield "same problem: among the steps of the problem's other samples"
        for method in comparison.methods:
            if strengths := method.strengths.get((context, ahead)):
                for_error, for_ranks = (f"{strength:g}" for strength in strengths)
                yield f"{method.name}: strength {for_ranks} for ranks and {for_error} for errors"
            if not method.looks(ahead):
                yield f"{method.name} does not look {count(ahead, 'step')} ahead"
        if comparison.name:
            yield (
                "errors and ranks of its own target space: they compare with nothing outside this "
                "table"
            )

    def _batches(self) -> Iterator[slice]:
        size = self._settings.batch_size
        return (slice(i, i + size) for i in range(0, len(self._samples), size))

    def _sequences(self, which: slice) -> list[LatentSequence]:
        return [sample.sequence for sample in self._samples[which]]


def _title(context: Context, ahead: int, own: str) -> str:
    far = f", {count(ahead, 'step')} ahead" if context is Context.PAST else ""
    where = f", in the target space of {own}" if own else ""
    return f"Each step predicted {CONTEXTS[context]}{far}{where}"


def _joined(pool: str, parts: Sequence[Mapping[str, Ranked]]) -> Ranked:
    return Ranked(
        np.concatenate([part[pool].ranks for part in parts]),
        np.concatenate([part[pool].sizes for part in parts]),
    )


def _mean_squares(rows: Floats) -> Doubles:
    found: Doubles = np.einsum("ne,ne->n", rows, rows, dtype=np.float64) / rows.shape[1]
    return found
