"""The evaluation use case: trained world models and stores in, tables with intervals out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from ..errors import InputError, UsageError
from ..opening import open_store, open_world_model
from ..partition import Split
from ..plugins import Registry
from ..ports.latent_store import LatentStore
from ..ports.world_model import Context, WorldModel
from .baselines import Ridge
from .correctness import correctness_table, is_wrong
from .damage import Pair, damage_table
from .methods import WORLD_MODEL, Method, fit_baselines
from .probe import COUNTS, ProbeData, probe_tables
from .reading import Corpus, Sample, check_space, layer_in, read
from .results import Evaluation, Table
from .retrieval import retrieval_table
from .settings import CORRECTNESS, FOREIGN, PARTS, PROBE, RETRIEVAL, SLIP, EvaluateRunSettings
from .siblings import Siblings, changed_step, damaged_key
from .tampering import KINDS
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
            stack.enter_context(_closing(open_store(path, "read", registry)))
            for path in settings.evaluate.stores
        ]
        corpus = _corpus(models, stores)
        return _Evaluator(settings, registry, watch, models, corpus).run(parts)


def _parts(settings: EvaluateRunSettings) -> tuple[str, ...]:
    asked = settings.evaluate
    if not asked.world_models:
        raise UsageError("evaluate.world_models: none is named; add --world-model RUN")
    if not asked.stores:
        raise UsageError("evaluate.stores: none is named; add --store DIR")
    if CORRECTNESS in asked.parts and asked.labelled is None:
        raise UsageError(
            "evaluate.parts: correctness needs labelled solutions; add --labelled FILE"
        )
    wanted = asked.parts or PARTS
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
        first, *others = models.values()
        for other in others:
            check_space(
                other.info.space, first.info.space, other.info.location, first.info.location
            )
        yield models


@contextmanager
def _closing(store: LatentStore) -> Iterator[LatentStore]:
    try:
        yield store
    finally:
        store.close()


def _same_cut(clean: Sample, damaged: Sample, changed: int) -> bool:
    """Whether a damaged solution has the steps of the clean one, but for the changed one."""
    ours, theirs = clean.trace.step_texts, damaged.trace.step_texts
    return len(ours) == len(theirs) and all(
        a.strip() == b.strip()
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True))
        if i != changed
    )


def _corpus(models: Mapping[str, WorldModel], stores: Sequence[LatentStore]) -> Corpus:
    info = next(iter(models.values())).info
    return Corpus(stores, info.space, f"the world model {info.location}")


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
        self._siblings = Siblings(settings, registry, watch)

    def run(self, parts: Sequence[str]) -> Evaluation:
        """Encode what is missing, fit the baselines, then the parts one after the other."""
        # What may be refused, or takes the LLM, comes first.
        pairs = {kind: self._all_pairs(kind) for kind in KINDS if kind in parts}
        labelled = self._labelled() if CORRECTNESS in parts else ([], ())
        samples = self._samples(self._split) if {RETRIEVAL, PROBE} & {*parts} else []
        baselines = fit_baselines(self._corpus, self._watch)
        methods = [Method(name, WORLD_MODEL, m) for name, m in self._models.items()] + baselines
        ridge = baselines[0].predictor
        assert isinstance(ridge, Ridge)
        tables: list[Table] = []
        for part in parts:
            for context in Context if part != PROBE else ():
                if part == RETRIEVAL:
                    table = retrieval_table(methods, samples, context, self._asked, self._watch)
                elif part in (FOREIGN, SLIP):
                    asked, fitting, notes = pairs[part]
                    table = damage_table(
                        part, methods, asked, fitting, context, self._asked, self._watch, notes
                    )
                else:
                    table = correctness_table(
                        methods, labelled[0], context, self._asked, self._watch, labelled[1]
                    )
                tables.append(table)
            if part == PROBE:
                data = self._probe_data(samples)
                tables += probe_tables(
                    self._models, ridge.standards, data, self._asked, self._watch
                )
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

    def _facts(self, ridge: Ridge) -> dict[str, Any]:
        return {
            "training_traces": ridge.standards.sequences,
            "training_steps": ridge.standards.steps,
            "ridge_strength": {c.value: s for c, s in ridge.strengths.items()},
            "limit": self._asked.limit,
            "labelled": self._asked.labelled,
        }

    def _samples(self, split: Split, limit: int | None = None) -> list[Sample]:
        places = self._corpus.places(split, limit or self._asked.limit)
        return self._corpus.samples(
            places, self._watch.phase(f"reading the {split.value} part", len(places))
        )

    def _probe_data(self, test: Sequence[Sample]) -> ProbeData:
        # Enough traces for the most labels that are asked for, and for the rarer kind of step.
        train = self._samples(Split.TRAIN, COUNTS[-1])
        choose = test if self._split is Split.VALIDATION else self._samples(Split.VALIDATION, 1000)
        return ProbeData(train, choose, test)

    def _all_pairs(self, kind: str) -> tuple[list[Pair], list[Pair] | None, tuple[str, ...]]:
        """Pairs of the split asked for, those that models are fitted on, and what was left out."""
        pairs, notes = self._pairs(kind, self._split)
        if self._split is Split.VALIDATION:
            return pairs, None, (*notes, "fitted on one half of the problems, tested on the other")
        fitting, _ = self._pairs(kind, Split.VALIDATION)
        return pairs, fitting, (*notes, "fitted on validation's damaged and clean solutions")

    def _pairs(self, kind: str, split: Split) -> tuple[list[Pair], tuple[str, ...]]:
        corpus, pairs, left_out, cut_otherwise = self._corpus, [], 0, 0
        places = corpus.places(split, self._asked.limit)
        for number, store in enumerate(corpus.stores):
            own = [place for place in places if place.store == number]
            if not own:
                continue
            with _closing(self._siblings.tampered(corpus, number, kind, split)) as sibling:
                layer = layer_in(sibling, corpus.space, store.location)
                tick = self._watch.phase(f"reading the damaged solutions ({kind})", len(own))
                for done, clean in enumerate(corpus.samples(own), 1):
                    tick(done)
                    key = damaged_key(clean.trace.key)
                    entry = sibling.entry(key)
                    if entry is None or entry.failed:
                        left_out += 1
                        continue
                    damaged = read(sibling, key, layer)
                    changed = changed_step(damaged.trace)
                    if changed is None or not _same_cut(clean, damaged, changed):
                        cut_otherwise += 1
                        continue
                    pairs.append(Pair(clean, damaged, changed))
        if not pairs:
            raise InputError(
                f"{corpus.location}: no solution of the {split.value} part could be damaged "
                f"({kind}); leave the part out with --parts"
            )
        notes = [f"{len(pairs):,} solutions and their damaged copies"]
        if left_out:
            notes.append(f"{left_out:,} left out: nothing to change in them, or not encoded")
        if cut_otherwise:
            notes.append(f"{cut_otherwise:,} left out: the damaged text was cut into other steps")
        return pairs, tuple(notes)

    def _labelled(self) -> tuple[list[Sample], tuple[str, ...]]:
        """Labelled solutions of problems that the training part does not hold."""
        corpus = self._corpus
        trained = corpus.statements(Split.TRAIN)
        first = corpus.stores[0]
        samples, unlabelled, held = [], 0, 0
        with _closing(self._siblings.labelled(first, self._asked.stores[0])) as sibling:
            layer = layer_in(sibling, corpus.space, first.location)
            keys = list(sibling.keys())
            tick = self._watch.phase("reading the labelled solutions", len(keys))
            for done, key in enumerate(keys, 1):
                sample = read(sibling, key, layer)
                tick(done)
                unlabelled += is_wrong(sample) is None
                held += sample.problem in trained
                if is_wrong(sample) is not None and sample.problem not in trained:
                    samples.append(sample)
        wrong = sum(bool(is_wrong(sample)) for sample in samples)
        if not 0 < wrong < len(samples):
            raise InputError(
                f"{self._asked.labelled}: {wrong:,} of {len(samples):,} solutions that can be used "
                "are labelled wrong; both right and wrong ones are needed"
            )
        notes = ["fitted on one half of the problems, tested on the other"]
        if unlabelled:
            notes.append(f"{unlabelled:,} left out: without a label")
        if held:
            notes.append(f"{held:,} left out: their problem is in the training part")
        return samples, tuple(notes)
