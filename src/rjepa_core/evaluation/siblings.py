"""Sibling stores: solutions that the evaluation has encoded once and uses again.

Damaged solutions of the store `runs/first` lie in `runs/first.tampered-foreign-test`, labelled ones
of the file `solutions.jsonl` in `runs/first.labelled-solutions`. Both are made by an extraction
with the store's own prompt, steps, layers and pooling, go on where they stopped, and are refused
unless their latent space is the store's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs

from ..domain.identity import Identity, LatentSpace, check_space
from ..domain.problem import GivenSolution, Split
from ..domain.trace import RecordKey, Trace
from ..errors import InputError, UsageError
from ..extraction import Worklist, as_stored, open_extraction, remaining
from ..plugins import Registry, locate, open_sources
from ..ports.source import ProblemSource, SourceRow
from ..ports.store import LatentStore
from ..settings import (
    EncodingSettings,
    ExtractionSettings,
    ProblemSettings,
    RunSettings,
    StoreSettings,
)
from ..stores import check_prompts_alike
from .corpus import Corpus, Place
from .progress import EvaluationWatch
from .settings import EvaluateRunSettings
from .tampering import CHANGED, pool_of, tamper, tampered_id


def tampered_location(store: str, kind: str, split: Split) -> str:
    """Where the damaged solutions of a store's split lie."""
    return f"{store.rstrip('/')}.tampered-{kind}-{split.value}"


def labelled_location(store: str, file: str) -> str:
    """Where the solutions of a labelled file lie, encoded as the store is."""
    name = re.split(r"[/\\]", file.rstrip("/\\"))[-1].split(".")[0]
    return f"{store.rstrip('/')}.labelled-{name}"


@attrs.frozen
class Siblings:
    """Makes and finds sibling stores.

    Attributes:
        settings: of the evaluation: the LLM, if one was named.
        registry: finds the adapters.
        watch: told what goes on.
    """

    settings: EvaluateRunSettings
    registry: Registry
    watch: EvaluationWatch

    def tampered(self, corpus: Corpus, number: int, kind: str, split: Split) -> LatentStore:
        """The damaged solutions of one of the corpus's stores, encoded; closed by the caller.

        Raises:
            UsageError: some are missing, and no LLM was named.
            IdentityError: the sibling, or the LLM, is of another latent space.
        """
        path = self.settings.evaluate.stores[number]
        location = tampered_location(path, kind, split)
        limit = self.settings.evaluate.limit
        wanted = [p for p in corpus.places(split, limit) if p.store == number]
        known = self._known(location)
        missing = [p for p in wanted if tampered_id(p.key) not in known]
        if missing:
            rows = self._rows(corpus, number, kind, split, missing)
            if rows:
                self._need_model(location, len(rows), f"damaged solutions ({kind})")
                self.watch.say(f"encoding {len(rows):,} damaged solutions into {location}")
                self._encode(corpus.stores[number], location, f"{path} ({kind})", [_Rows(rows)])
        return self._open(corpus.stores[number], location)

    def labelled(self, store: LatentStore, path: str) -> tuple[LatentStore, list[RecordKey]]:
        """The labelled solutions, encoded as that store is, and their keys; closed by the caller.

        Raises:
            UsageError, IdentityError: as `tampered`; InputError: the file cannot be read.
        """
        file = self.settings.evaluate.labelled
        assert file is not None
        location = labelled_location(path, file)
        problems = ProblemSettings(traces=(file,), limit=self.settings.evaluate.limit)
        sources = open_sources(problems, self.registry)
        work = Worklist(sources, limit=problems.limit, given=True)
        survey = work.survey()
        place = locate(location, self.registry)
        lacking = survey.work
        if place.exists:
            known = place.open("read")
            try:
                lacking = remaining(work, known, retry_failed=False, check=True).missing
            finally:
                known.close()
        if lacking:
            self._need_model(location, lacking, "labelled solutions")
            self.watch.say(f"encoding {lacking:,} labelled solutions into {location}")
            self._encode(store, location, file, sources, problems.limit)
        return self._open(store, location), [item.key for item in work]

    def _known(self, location: str) -> set[str]:
        place = locate(location, self.registry)
        if not place.exists:
            return set()
        store = place.open("read")
        try:
            failed = {failure.key.problem_id for failure in store.failures()}
            return failed | {key.problem_id for key, _ in store.entries()}
        finally:
            store.close()

    def _rows(
        self, corpus: Corpus, number: int, kind: str, split: Split, missing: Sequence[Place]
    ) -> list[SourceRow]:
        """What is to be encoded; foreign steps come from the whole split, whatever the limit."""
        places = [p for p in corpus.places(split) if p.store == number]
        samples = corpus.samples(places, self.watch.phase(f"damaging ({kind})", len(places)))
        pool = pool_of([sample.trace for sample in samples])
        keys = {place.key for place in missing}
        rows = []
        for sample in samples:
            if sample.trace.key not in keys:
                continue
            damaged = tamper(sample.trace, kind, pool, self.settings.evaluate.seed)
            if damaged is not None:
                rows.append(_row(sample.trace, damaged.solution))
        return rows

    def _need_model(self, location: str, lacking: int, what: str) -> None:
        if self.settings.model is None:
            raise UsageError(
                f"{location} lacks {lacking:,} {what}; set model.name to the LLM that made the "
                "store, to encode them once"
            )

    def _encode(
        self,
        store: LatentStore,
        location: str,
        name: str,
        sources: Sequence[ProblemSource],
        limit: int | None = None,
    ) -> None:
        identity, model = store.identity, self.settings.model
        assert identity is not None
        assert model is not None
        space = identity.space
        encoding = EncodingSettings(
            layers=space.layers,
            pooling=space.pooling,
            logprobs=identity.logprobs,
            store_dtype=space.store_dtype,
        )
        if model.dtype == "auto":
            model = attrs.evolve(model, dtype=space.compute_dtype)
        if model.device == "auto":
            model = attrs.evolve(model, device=self.settings.evaluate.device)
        extraction = ExtractionSettings(
            model=model,
            store=StoreSettings(path=location),
            problems=ProblemSettings(traces=(name,), limit=limit),
            encoding=encoding,
            backend=self.settings.backend,
            scheduler=self.settings.scheduler,
            run=RunSettings(resume=True),
        )
        extraction = as_stored(extraction, store)

        def vet(ours: Identity) -> None:
            check_space(ours.space, space, f"model.name {model.name}", store.location)

        with open_extraction(
            extraction, self.registry, self.watch.say, sources=sources, vet=vet
        ) as opened:
            self.watch.encode(opened)

    def _open(self, store: LatentStore, location: str) -> LatentStore:
        place = locate(location, self.registry)
        if not place.exists:
            raise InputError(f"{location}: there is nothing to encode: no trace could be damaged")
        sibling = place.open("read")
        try:
            theirs, ours = sibling.identity, store.identity
            assert ours is not None
            if theirs is None:
                raise UsageError(f"{location}: holds no records; delete it and try again")
            space: LatentSpace = ours.space
            check_space(theirs.space, space, location, store.location)
            check_prompts_alike([store, sibling])
        except BaseException:
            sibling.close()
            raise
        return sibling


class _Rows:
    """A source of rows that are there already."""

    def __init__(self, rows: Sequence[SourceRow]) -> None:
        self._rows = rows

    def rows(self) -> Iterator[SourceRow]:
        """See `ProblemSource`."""
        return iter(self._rows)


def _row(trace: Trace, solution: GivenSolution) -> SourceRow:
    problem = attrs.evolve(trace.problem, id=tampered_id(trace.key))
    return SourceRow(problem, (solution,), f"damaged {trace.key}")


def damaged_key(key: RecordKey) -> RecordKey:
    """Of the damaged solution of a trace."""
    return RecordKey(tampered_id(key))


def changed_step(trace: Trace) -> int | None:
    """Which step of a damaged solution was changed; None where it is none."""
    text = trace.metadata.get(CHANGED, "")
    return int(text) if text.isdigit() else None
