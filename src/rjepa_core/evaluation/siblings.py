"""Sibling stores: solutions that the evaluation has the LLM read once, and uses again.

The damaged and edited solutions of the store `runs/first` lie in `runs/first.damage-test`, the
labelled ones of the file `solutions.jsonl` in `runs/first.labelled-solutions`. Both are made by an
extraction with the store's own prompt, steps, layers and pooling, go on where they stopped, and are
refused unless their latent space is the store's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import attrs

from ..domain.identity import Identity, check_space
from ..domain.problem import Split
from ..domain.trace import RecordKey
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
from .progress import EvaluationWatch
from .settings import EvaluateRunSettings


def damage_location(store: str, split: Split) -> str:
    """Where the damaged and edited solutions of a store's split lie."""
    return f"{store.rstrip('/')}.damage-{split.value}"


def labelled_location(store: str, file: str) -> str:
    """Where the solutions of a labelled file lie, encoded as the store is."""
    name = re.split(r"[/\\]", file.rstrip("/\\"))[-1].split(".")[0]
    return f"{store.rstrip('/')}.labelled-{name}"


@contextmanager
def closing(store: LatentStore) -> Iterator[LatentStore]:
    """The store, closed in the end."""
    try:
        yield store
    finally:
        store.close()


class NoModelError(UsageError):
    """Solutions are to be encoded, and no LLM was named."""


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

    def damaged(
        self, store: LatentStore, path: str, split: Split, rows: Sequence[SourceRow]
    ) -> LatentStore:
        """A store that holds these solutions, read as that store's were; closed by the caller.

        Raises:
            UsageError: some are missing, and no LLM was named.
            IdentityError: the sibling, or the LLM, is of another latent space.
        """
        location = damage_location(locate(path, self.registry).beside, split)
        lacking = self._lacking(location, Worklist([Rows(rows)], given=True), check=False)
        if lacking:
            self._encode(
                store, location, lacking, "damaged and edited solutions", [Rows(rows)], None, True
            )
        return self._open(store, location)

    def labelled(self, store: LatentStore, path: str) -> tuple[LatentStore, list[RecordKey]]:
        """The labelled solutions, read as that store's were, and their keys; closed by the caller.

        Raises:
            UsageError, IdentityError: as `damaged`; InputError: the file cannot be read.
        """
        file, limit = self.settings.evaluate.labelled, self.settings.evaluate.limit
        assert file is not None
        location = labelled_location(locate(path, self.registry).beside, file)
        sources = open_sources(ProblemSettings(traces=(file,), limit=limit), self.registry)
        work = Worklist(sources, limit=limit, given=True)
        work.survey()
        lacking = self._lacking(location, work, check=True)
        if lacking:
            keeps = self._keeps_logprobs(location)
            self._encode(store, location, lacking, "labelled solutions", sources, limit, keeps)
        return self._open(store, location), [item.key for item in work]

    def _lacking(self, location: str, work: Worklist, check: bool) -> int:
        place = locate(location, self.registry)
        if not place.exists:
            return sum(1 for _ in work)
        with closing(place.open("read")) as known:
            return remaining(work, known, retry_failed=False, check=check).missing

    def _keeps_logprobs(self, location: str) -> bool:
        """One of an older version may have none, and goes on without."""
        place = locate(location, self.registry)
        if not place.exists:
            return True
        with closing(place.open("read")) as known:
            return known.identity is None or known.identity.logprobs

    def _encode(
        self,
        store: LatentStore,
        location: str,
        lacking: int,
        what: str,
        sources: Sequence[ProblemSource],
        limit: int | None,
        logprobs: bool,
    ) -> None:
        identity, model = store.identity, self.settings.model
        assert identity is not None
        if model is None:
            raise NoModelError(
                f"{location} lacks {lacking:,} {what}; set model.name to the LLM that made the "
                "store, to encode them once"
            )
        self.watch.say(f"encoding {lacking:,} {what} into {location}")
        space = identity.space
        if model.dtype == "auto":
            model = attrs.evolve(model, dtype=space.compute_dtype)
        if model.device == "auto":
            model = attrs.evolve(model, device=self.settings.evaluate.device)
        extraction = ExtractionSettings(
            model=model,
            store=StoreSettings(path=location),
            problems=ProblemSettings(traces=(what,), limit=limit),
            encoding=EncodingSettings(
                layers=space.layers,
                pooling=space.pooling,
                logprobs=logprobs,
                store_dtype=space.store_dtype,
            ),
            backend=self.settings.backend,
            scheduler=self.settings.scheduler,
            run=RunSettings(resume=True),
        )

        def vet(ours: Identity) -> None:
            check_space(ours.space, space, f"model.name {model.name}", store.location)

        with open_extraction(
            as_stored(extraction, store), self.registry, self.watch.say, sources=sources, vet=vet
        ) as opened:
            self.watch.encode(opened)

    def _open(self, store: LatentStore, location: str) -> LatentStore:
        place = locate(location, self.registry)
        if not place.exists:
            raise InputError(f"{location}: there is nothing to encode: no solution can be edited")
        sibling = place.open("read")
        try:
            theirs, ours = sibling.identity, store.identity
            assert ours is not None
            if theirs is None:
                raise UsageError(f"{location}: holds no records; delete it and try again")
            check_space(theirs.space, ours.space, location, store.location)
            check_prompts_alike([store, sibling])
        except BaseException:
            sibling.close()
            raise
        return sibling


@attrs.frozen
class Rows:
    """A source of rows that are there already."""

    kept: Sequence[SourceRow]

    def rows(self) -> Iterator[SourceRow]:
        """See `ProblemSource`."""
        return iter(self.kept)
