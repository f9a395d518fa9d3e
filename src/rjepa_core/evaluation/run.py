"""The evaluation use case: trained world models and stores in, tables with intervals out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from ..domain.identity import LatentSpace, check_space, known_together
from ..domain.split import Split
from ..errors import UsageError
from ..plugins import Registry, open_store, open_world_model
from ..ports.store import LatentStore
from ..ports.world_model import Context, WorldModel
from ..scoring import named
from .baselines import Ridge
from .corpus import Corpus, Sample
from .correctness import correctness_table
from .damage import damage_tables
from .methods import WORLD_MODEL, Method, fit_baselines
from .probe import COUNTS, ProbeData, probe_tables
from .readings import Readings
from .refused import Refused
from .results import Evaluation, Table
from .retrieval import retrieval_table
from .settings import CORRECTNESS, DAMAGE, PARTS, PROBE, RETRIEVAL, EvaluateRunSettings
from .siblings import Siblings, closing
from .watching import Watch


def evaluate(
    settings: EvaluateRunSettings, registry: Registry | None = None, watch: Watch | None = None
) -> Evaluation:
    """Compare world models with their baselines.

    Memory grows with the split that is evaluated, not with the stores.

    Args:
        settings: of the evaluation.
        registry: finds the adapters.
        watch: told what goes on.

    Raises:
        UsageError: anything that the user can mend: no world model, stores of another latent space,
            nothing in the split, an LLM that is needed and was not named.
    """
    registry, watch = registry or Registry(), watch or Watch()
    parts = _parts(settings)
    with ExitStack() as stack:
        models = stack.enter_context(_world_models(settings, registry))
        stores = [
            stack.enter_context(closing(open_store(path, "read", registry)))
            for path in settings.evaluate.stores
        ]
        corpus = _corpus(models, stores, settings.evaluate.max_steps)
        return _Evaluator(settings, registry, watch, models, corpus).run(parts)


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


@contextmanager
def _world_models(
    settings: EvaluateRunSettings, registry: Registry
) -> Iterator[dict[str, WorldModel]]:
    """The world models by the names of the tables."""
    places = settings.evaluate.world_models
    if len(set(places)) < len(places):
        raise UsageError("evaluate.world_models: one is named twice")
    with ExitStack() as stack:
        models = {}
        for place in places:
            model = open_world_model(place, settings.evaluate.device, registry)
            stack.callback(model.close)
            models["world model" if len(places) == 1 else f"world model {place}"] = model
        _space_of(models)
        yield models


def _space_of(models: Mapping[str, WorldModel]) -> LatentSpace:
    """The latent space of all, with what any of them knows of it.

    Raises:
        IdentityError: there are several.
    """
    first, *others = (model.info for model in models.values())
    space = first.space
    for other in others:
        check_space(other.space, space, other.location, first.location)
        space = known_together(space, other.space)
    return space


def _corpus(
    models: Mapping[str, WorldModel], stores: Sequence[LatentStore], max_steps: int
) -> Corpus:
    owner = f"the world model {next(iter(models.values())).info.location}"
    return Corpus(stores, _space_of(models), owner, max_steps=max_steps)


class _Evaluator:
    def __init__(
        self,
        settings: EvaluateRunSettings,
        registry: Registry,
        watch: Watch,
        models: Mapping[str, WorldModel],
        corpus: Corpus,
    ) -> None:
        self._settings, self._asked, self._watch = settings, settings.evaluate, watch
        self._models, self._corpus = models, corpus
        self._split = Split(self._asked.split)
        self._refused = Refused(models, self._asked)
        siblings = Siblings(settings, registry, watch)
        self._readings = Readings(self._asked, corpus, siblings, watch, self._refused)

    def run(self, parts: Sequence[str]) -> Evaluation:
        """Encode what is missing, fit the baselines, then the parts one after the other."""
        # What may be refused, or takes the LLM, comes first.
        readings = self._readings
        self._damaged = readings.damage(self._split) if DAMAGE in parts else ([], ())
        self._labelled = readings.labelled() if CORRECTNESS in parts else ([], ())
        self._tested = self._samples(self._split) if {RETRIEVAL, PROBE} & {*parts} else []
        # In the training part they are missing without harm.
        too_long = self._corpus.too_long(self._split, self._asked.limit)
        self._refused.add_too_long({place.key: place.entry.steps for place in too_long})
        baselines = fit_baselines(self._corpus, self._watch)
        methods = [Method(name, WORLD_MODEL, m) for name, m in self._models.items()] + baselines
        ridge = baselines[0].predictor
        assert isinstance(ridge, Ridge)
        tables: list[Table] = []
        for part in parts:
            if part == PROBE:
                tables += self._probe(ridge)
                continue
            if part == DAMAGE:
                tables += self._damage(methods)
                continue
            for context in Context:
                make = partial(self._table, part, methods, context)
                tables.append(self._refused.attempt(make, partial(self._used, part)))
        for line in named(self._refused.reasons, "left out"):
            self._watch.warn(line)
        return Evaluation(
            world_models={
                name: {
                    "location": model.info.location,
                    "objective": model.info.objective,
                    "target_space": model.info.target_space.value,
                    "latent_space": model.info.space.fingerprint,
                }
                for name, model in self._models.items()
            },
            stores=self._asked.stores,
            split=self._split.value,
            seed=self._asked.seed,
            draws=self._asked.draws,
            tables=tuple(tables),
            facts=self._facts(ridge),
        )

    def _table(self, part: str, methods: Sequence[Method], context: Context) -> Table:
        asked, watch, kept = self._asked, self._watch, self._refused.kept
        if part == RETRIEVAL:
            return retrieval_table(methods, kept(self._tested), context, asked, watch)
        samples, notes = self._labelled
        return correctness_table(methods, kept(samples), context, asked, watch, notes)

    def _used(self, part: str) -> list[Sample]:
        """The samples that a part's tables are made of."""
        return self._tested if part == RETRIEVAL else self._labelled[0]

    def _damage(self, methods: Sequence[Method]) -> list[Table]:
        readings, notes = self._damaged

        def make() -> list[Table]:
            kept = self._refused.kept_readings(readings)
            return damage_tables(methods, kept, self._asked, self._watch, notes)

        return self._refused.attempt(make, lambda: [one.sample for one in readings])

    def _probe(self, ridge: Ridge) -> list[Table]:
        data = self._probe_data()

        def make() -> list[Table]:
            kept = ProbeData(*map(self._refused.kept, data.parts()))
            return probe_tables(self._models, ridge.standards, kept, self._asked, self._watch)

        return self._refused.attempt(make, lambda: [one for part in data.parts() for one in part])

    def _facts(self, ridge: Ridge) -> dict[str, Any]:
        return {
            "training_traces": ridge.standards.sequences,
            "training_steps": ridge.standards.steps,
            "ridge_strength": {c.value: s for c, s in ridge.strengths.items()},
            "limit": self._asked.limit,
            "labelled": self._asked.labelled,
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
