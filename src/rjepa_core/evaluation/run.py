"""The evaluation use case: trained world models and stores in, tables with intervals out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

from ..config import settings_of
from ..domain.floors import too_few_to_evaluate
from ..domain.problem import Split
from ..errors import InputError, UsageError
from ..plugins import Registry, open_store, progress_bar
from ..ports.world_model import Context, WorldModel
from ..scoring import named
from .corpus import Corpus, Sample
from .correctness import correctness_table
from .damage import Reading, damage_tables
from .left_out import LeftOut
from .methods import Comparison, Method, compared, fit_standards
from .prediction import Kept, looks_of, prediction_tables
from .probe import COUNTS, TOO_RARE, ProbeData, probe_tables
from .progress import EvaluationWatch
from .readings import Readings
from .results import Evaluation, Table
from .settings import (
    CORRECTNESS,
    DAMAGE,
    PARTS,
    PREDICTION,
    PROBE,
    EvaluateRunSettings,
    EvaluateSettings,
)
from .siblings import NoModelError, Siblings, closing
from .targets import Standards
from .world_models import (
    facts_of,
    horizons_of,
    methods_of,
    opened_world_models,
    seeds_of,
    space_of,
)

A = TypeVar("A")


def evaluate(
    settings: EvaluateRunSettings | EvaluateSettings | Mapping[str, Any],
    registry: Registry | None = None,
    watch: EvaluationWatch | None = None,
    kept: Kept | None = None,
    progress: bool | str = False,
) -> Evaluation:
    """Compare world models with their baselines: what `rjepa-cli evaluate` does.

    Memory grows with the split that is evaluated, not with the stores.

    Args:
        settings: of the evaluation; what is evaluated alone, where no LLM is needed; or sections
            and keys as in YAML.
        registry: finds the adapters.
        watch: told what goes on.
        kept: is given the predictions of the part `prediction`; they take memory.
        progress: whether a bar is shown, or the name of the adapter that shows it.

    Returns:
        Tables of figures with 95 % intervals; shown as text when printed.

    Raises:
        UsageError: anything that the user can mend: no world model, stores of another latent space,
            nothing in the split, a part that was asked for and cannot be done. Where
            `evaluate.parts` is empty such a part is skipped, and named in what is returned.
    """
    registry, watch = registry or Registry(), watch or EvaluationWatch()
    if isinstance(settings, EvaluateSettings):
        settings = EvaluateRunSettings(evaluate=settings)
    settings = settings_of(EvaluateRunSettings, settings)
    parts = _parts(settings)
    asked = settings.evaluate
    with ExitStack() as stack:
        if progress:
            watch = watch.shown_on(stack.enter_context(progress_bar(progress, registry)))
        models = stack.enter_context(opened_world_models(asked, registry))
        stores = [
            stack.enter_context(closing(open_store(path, "read", registry)))
            for path in asked.stores
        ]
        first = next(iter(models.values()))
        owner = f"the world model {first.info.location}"
        space = space_of(list(models.values()))
        corpus = Corpus(stores, space, owner, max_steps=asked.max_steps)
        return _Evaluator(settings, registry, watch, models, corpus, kept).run(parts)


def _parts(settings: EvaluateRunSettings) -> tuple[str, ...]:
    asked = settings.evaluate
    if not asked.world_models:
        raise UsageError("evaluate.world_models: none is named; name a trained run")
    if not asked.stores:
        raise UsageError("evaluate.stores: none is named; name a store")
    if CORRECTNESS in asked.parts and asked.labelled is None:
        raise UsageError(
            "evaluate.parts: correctness needs labelled solutions; "
            "name their file in evaluate.labelled"
        )
    wanted = asked.parts or PARTS
    if asked.labelled is not None and CORRECTNESS not in wanted:
        raise UsageError(
            f"evaluate.labelled: {asked.labelled} is for the part correctness, which "
            "evaluate.parts leaves out; add the part, or leave the file out"
        )
    return tuple(p for p in PARTS if p in wanted and (p != CORRECTNESS or asked.labelled))


class _Evaluator:
    def __init__(
        self,
        settings: EvaluateRunSettings,
        registry: Registry,
        watch: EvaluationWatch,
        models: Mapping[str, WorldModel],
        corpus: Corpus,
        kept: Kept | None,
    ) -> None:
        self._kept = kept
        self._settings, self._asked, self._watch = settings, settings.evaluate, watch
        self._models, self._corpus = models, corpus
        self._seeds = seeds_of(models)
        self._split = Split(self._asked.split)
        self._refused = LeftOut(models, self._asked)
        siblings = Siblings(settings, registry, watch)
        self._readings = Readings(self._asked, corpus, siblings, watch, self._refused)
        self._skipped: dict[str, UsageError] = {}

    def run(self, parts: Sequence[str]) -> Evaluation:
        """Encode what is missing, fit the baselines, then the parts one after the other."""
        # What may be refused, or takes the LLM, comes first.
        readings = self._readings
        nothing: tuple[list[Reading], tuple[str, ...]] = ([], ())
        self._damaged = nothing
        if DAMAGE in parts:
            self._damaged = self._skipping(DAMAGE, lambda: readings.damage(self._split), nothing)
        self._labelled = readings.labelled() if CORRECTNESS in parts else ([], ())
        self._tested = self._samples(self._split) if {PREDICTION, PROBE} & {*parts} else []
        # In the training part they are missing without harm.
        too_long = self._corpus.too_long(self._split, self._asked.limit)
        self._refused.add_too_long({place.key: place.entry.steps for place in too_long})
        standards = fit_standards(self._corpus, self._watch)
        models = methods_of(self._models, self._seeds)
        predicting = PREDICTION in parts
        horizons = horizons_of(self._asked, self._models) if predicting else (1,)
        looks = looks_of(sorted({1, *horizons}))
        those = models if predicting else ()
        comparisons = compared(self._corpus, standards, those, self._seeds, looks, self._watch)
        methods = [*models, *comparisons[0].baselines]
        tables: list[Table] = []
        makes: dict[str, Callable[[], list[Table]]] = {
            PREDICTION: lambda: self._predictions(comparisons, horizons),
            DAMAGE: lambda: self._damage(methods),
            CORRECTNESS: lambda: self._correctness(methods),
            PROBE: lambda: self._probe(standards),
        }
        for part in parts:
            if part not in self._skipped:
                made: list[Table] = self._skipping(part, makes[part], [])
                if not made and part == PROBE:
                    self._skipped.setdefault(part, InputError(TOO_RARE))
                tables += made
        if not tables and self._skipped:
            raise next(iter(self._skipped.values()))
        for line in named(self._refused.reasons, "left out"):
            self._watch.warn(line)
        return Evaluation(
            world_models=facts_of(self._models),
            stores=self._asked.stores,
            split=self._split.value,
            seed=self._asked.seed,
            draws=self._asked.draws,
            tables=tuple(tables),
            facts=self._facts(standards),
        )

    def _skipping(self, part: str, make: Callable[[], A], nothing: A) -> A:
        """Return what `make` makes; where the part was not asked for by name and cannot be done,
        `nothing`, and the part is named."""
        try:
            return make()
        except (InputError, NoModelError) as error:
            # Whoever names a file asks for its part.
            if self._asked.parts or part == CORRECTNESS:
                raise
            self._skipped[part] = error
            self._watch.warn(f"{part} skipped: {error}")
            return nothing

    def _correctness(self, methods: Sequence[Method]) -> list[Table]:
        samples, notes = self._labelled

        def make() -> list[Table]:
            kept = self._refused.kept(samples)
            return [
                correctness_table(
                    methods, kept, context, self._asked, self._watch, notes, self._seeds
                )
                for context in Context
            ]

        return self._refused.attempt(make, lambda: samples)

    def _damage(self, methods: Sequence[Method]) -> list[Table]:
        readings, notes = self._damaged

        def make() -> list[Table]:
            kept = self._refused.kept_readings(readings)
            return damage_tables(methods, kept, self._asked, self._watch, notes, self._seeds)

        return self._refused.attempt(make, lambda: [one.sample for one in readings])

    def _predictions(
        self, comparisons: Sequence[Comparison], horizons: Sequence[int]
    ) -> list[Table]:
        def make() -> list[Table]:
            samples = self._refused.kept(self._tested)
            return prediction_tables(
                comparisons, samples, horizons, self._asked, self._watch, self._kept
            )

        return self._refused.attempt(make, lambda: self._tested)

    def _probe(self, standards: Standards) -> list[Table]:
        data = self._probe_data()

        def make() -> list[Table]:
            kept = ProbeData(*map(self._refused.kept, data.parts()))
            return probe_tables(self._models, standards, kept, self._asked, self._watch)

        return self._refused.attempt(make, lambda: [one for part in data.parts() for one in part])

    def _facts(self, standards: Standards) -> dict[str, Any]:
        problems = len(self._corpus.statements(self._split))
        if self._asked.limit is not None:
            problems = min(problems, self._asked.limit)
        return {
            "training_traces": standards.sequences,
            "training_steps": standards.steps,
            "limit": self._asked.limit,
            "labelled": self._asked.labelled,
            "problems": problems,
            "too_little": too_few_to_evaluate(problems),
            "skipped": {part: str(error) for part, error in self._skipped.items()},
            "left_out": {str(key): reason for key, reason in self._refused.reasons.items()},
        }

    def _samples(self, split: Split, limit: int | None = None) -> list[Sample]:
        places = self._corpus.places(split, limit or self._asked.limit)
        return self._corpus.samples(
            places, self._watch.phase(f"reading the {split.value} part", len(places))
        )

    def _probe_data(self) -> ProbeData:
        test = self._tested
        # Enough traces for the most labels that are asked for, and for the rarer kind of step.
        train = self._samples(Split.TRAIN, COUNTS[-1])
        choose = test if self._split is Split.VALIDATION else self._samples(Split.VALIDATION, 1000)
        return ProbeData(train, choose, test)
