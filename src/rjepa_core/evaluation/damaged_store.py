"""The sibling store of damaged solutions, made for a verifier to learn from.

What is done to which solution follows from the part, the seed and the texts, as in an evaluation:
each finds what the other has had encoded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import attrs

from ..domain.problem import Split
from ..domain.trace import RecordKey
from ..errors import InputError, UsageError
from ..plugins import Registry, locate, open_store
from ..ports.store import KeepsGrades
from ..text import count
from .corpus import Corpus
from .corruption import KINDS
from .progress import EvaluationWatch
from .readings import planned_in
from .settings import DamageRunSettings, EvaluateRunSettings, EvaluateSettings
from .siblings import Siblings, closing, damage_location


@attrs.frozen
class Damaged:
    """What a sibling store holds.

    Attributes:
        location: of the store.
        kinds: how many solutions there are of each kind: `clean`, damaged and edited ones.
        failed: how many could not be encoded.
        others: how many it holds besides, of an earlier choice of problems, kinds or seed.
    """

    location: str
    kinds: Mapping[str, int]
    failed: int = 0
    others: int = 0


def damage_store(
    location: str,
    settings: DamageRunSettings,
    registry: Registry | None = None,
    watch: EvaluationWatch | None = None,
) -> Damaged:
    """Have solutions of a store damaged and edited, and encode them, and the unchanged ones, into a
    sibling of it. Goes on where it stopped.

    Args:
        location: of the store.
        settings: which solutions, and by which LLM.
        registry: finds the adapters.
        watch: told what goes on.

    Raises:
        UsageError: some are missing and no LLM was named, the LLM is not the store's, or no
            solution can be damaged.
    """
    registry, watch, asked = registry or Registry(), watch or EvaluationWatch(), settings.damage
    split = Split(asked.split)
    with closing(open_store(location, "read", registry)) as store:
        if store.identity is None:
            raise UsageError(f"{location}: the store is empty; extract into it first")
        space = store.identity.space
        graded = isinstance(store, KeepsGrades) and next(store.grades(), None) is not None
        if store.identity.generation.kind == "sampled" and not graded:
            watch.warn(
                f"{location}: its solutions were sampled and are not graded: wrong ones are taken "
                "for correct; grade the store first"
            )
        # Any layer will do: the texts are what is damaged.
        one_layer = attrs.evolve(space, layers=space.layers[:1])
        corpus = Corpus([store], one_layer, location, max_steps=asked.max_steps)
        _, planned = planned_in(corpus, 0, split, asked.kinds, asked.problems, asked.seed, watch)
        if not any(one.kind in KINDS for one in planned):
            raise InputError(
                f"{location}: no solution of the {split.value} part can be damaged: it takes a "
                "text of three steps that one of the kinds applies to"
            )
        siblings = Siblings(
            EvaluateRunSettings(
                evaluate=EvaluateSettings(device=asked.device),
                model=settings.model,
                backend=settings.backend,
                scheduler=settings.scheduler,
            ),
            registry,
            watch,
        )
        rows = [one.row for one in planned]
        with closing(siblings.damaged(store, location, split, rows)) as sibling:
            kinds, failed = Counter[str](), 0
            for one in planned:
                entry = sibling.entry(RecordKey(one.row.problem.id))
                if entry is None or entry.failed:
                    failed += 1
                else:
                    kinds[one.kind] += 1
            chosen = {RecordKey(one.row.problem.id) for one in planned}
            others = sum(key not in chosen for key in sibling.keys())  # noqa: SIM118
        place = damage_location(locate(location, registry).beside, split)
        if others:
            watch.warn(
                f"{place} also holds {count(others, 'solution')} of an earlier choice of problems, "
                "kinds or seed, or of a solution that has been graded since; a verifier learns "
                "from all of them. Delete that store to have it hold the chosen ones alone"
            )
        return Damaged(place, dict(kinds), failed, others)
