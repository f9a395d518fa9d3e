"""What the parts on whole solutions need: clean and damaged pairs, and labelled solutions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import numpy as np

from ..domain.problem import Split
from ..errors import InputError
from ..ports.store import LatentStore
from ..stores import layer_in
from .corpus import Corpus, Sample, read
from .correctness import is_wrong
from .damage import Pair
from .progress import EvaluationWatch
from .refused import Refused
from .settings import EvaluateSettings
from .siblings import Siblings, changed_step, damaged_key

# Steps before the changed one see nothing of it: their latents must be the store's own, but for
# what rounding in another batch does.
_NEAR, _FAR_SHARE = 0.02, 0.01


@contextmanager
def closing(store: LatentStore) -> Iterator[LatentStore]:
    """The store, closed in the end."""
    try:
        yield store
    finally:
        store.close()


@attrs.frozen
class Gathering:
    """Reads what is evaluated, and has encoded what is missing.

    Attributes:
        asked: what is evaluated.
        corpus: the stores.
        siblings: finds and makes their siblings.
        watch: told what goes on.
        refused: told what is too long.
    """

    asked: EvaluateSettings
    corpus: Corpus
    siblings: Siblings
    watch: EvaluationWatch
    refused: Refused

    def pairs(
        self, kind: str, split: Split
    ) -> tuple[list[Pair], list[Pair] | None, tuple[str, ...]]:
        """Pairs of the split asked for, those that models are fitted on, and what was left out."""
        pairs, notes = self._pairs(kind, split)
        if split is Split.VALIDATION:
            return pairs, None, (*notes, "fitted on one half of the problems, tested on the other")
        fitting, _ = self._pairs(kind, Split.VALIDATION)
        return pairs, fitting, (*notes, "fitted on validation's damaged and clean solutions")

    def _pairs(self, kind: str, split: Split) -> tuple[list[Pair], tuple[str, ...]]:
        corpus, pairs, left_out, cut_otherwise = self.corpus, [], 0, 0
        places = corpus.places(split, self.asked.limit)
        for number, store in enumerate(corpus.stores):
            own = [place for place in places if place.store == number]
            if not own:
                continue
            with closing(self.siblings.tampered(corpus, number, kind, split)) as sibling:
                layer = layer_in(sibling, corpus.space, store.location)
                tick = self.watch.phase(f"reading the damaged solutions ({kind})", len(own))
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
                f"({kind}); leave the part out of evaluate.parts"
            )
        self._check_agreement(kind, pairs)
        notes = [f"{len(pairs):,} solutions and their damaged copies"]
        if left_out:
            notes.append(f"{left_out:,} left out: nothing to change in them, or not encoded")
        if cut_otherwise:
            notes.append(f"{cut_otherwise:,} left out: the damaged text was cut into other steps")
        return pairs, tuple(notes)

    def _check_agreement(self, kind: str, pairs: list[Pair]) -> None:
        away = np.array([value for pair in pairs for value in _deviations(pair)])
        if len(away) and (away > _NEAR).mean() > _FAR_SHARE:
            self.watch.warn(
                f"{kind}: {(away > _NEAR).mean():.0%} of the steps before the damaged one have "
                "other latents than in the store, though their text is the same: the damaged "
                "solutions were not encoded as the store was"
            )

    def labelled(self) -> tuple[list[Sample], tuple[str, ...]]:
        """Labelled solutions of problems that the training part does not hold."""
        corpus = self.corpus
        trained = corpus.statements(Split.TRAIN)
        first = corpus.stores[0]
        samples, unlabelled, held = [], 0, 0
        opened, wanted = self.siblings.labelled(first, self.asked.stores[0])
        with closing(opened) as sibling:
            layer = layer_in(sibling, corpus.space, first.location)
            entries = {key: sibling.entry(key) for key in wanted}
            good = {key: entry for key, entry in entries.items() if entry and not entry.failed}
            too_long = {key: e.steps for key, e in good.items() if corpus.is_too_long(e)}
            keys = [key for key in good if key not in too_long]
            tick = self.watch.phase("reading the labelled solutions", len(keys))
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
                f"{self.asked.labelled}: {wrong:,} of {len(samples):,} solutions that can be used "
                "are labelled wrong; both right and wrong ones are needed"
            )
        notes = ["fitted on one half of the problems, tested on the other"]
        if len(good) < len(wanted):
            notes.append(f"{len(wanted) - len(good):,} left out: they could not be encoded")
        if too_long:
            notes.append(f"{len(too_long):,} left out: too many steps")
            self.refused.add_too_long(too_long)
        if unlabelled:
            notes.append(f"{unlabelled:,} left out: without a label")
        if held:
            notes.append(f"{held:,} left out: their problem is in the training part")
        return samples, tuple(notes)


def _same_cut(clean: Sample, damaged: Sample, changed: int) -> bool:
    """Whether a damaged solution has the steps of the clean one, but for the changed one."""
    ours, theirs = clean.trace.step_texts, damaged.trace.step_texts
    return len(ours) == len(theirs) and all(
        a.strip() == b.strip()
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True))
        if i != changed
    )


def _deviations(pair: Pair) -> list[float]:
    """How far the latents before the change are from the store's, relative to their size."""
    clean, damaged = pair.clean.sequence.latents, pair.damaged.sequence.latents
    before = slice(0, pair.changed)
    away = np.linalg.norm(clean[before] - damaged[before], axis=1)
    return [float(d) for d in away / np.maximum(np.linalg.norm(clean[before], axis=1), 1e-9)]
