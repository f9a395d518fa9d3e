"""Which solutions the LLM reads again, and what it read: damaged, edited and labelled ones."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import attrs
import numpy as np

from ..domain.grade import RIGHT
from ..domain.problem import Split
from ..domain.provenance import CLEAN, DONOR, KIND, OF, OF_PROBLEM, WRONG_STEP
from ..domain.trace import RecordKey, Trace
from ..errors import InputError
from ..ports.source import SourceRow
from ..ports.store import KeepsGrades, LatentStore
from ..stores import layer_in
from ..text import count
from .corpus import Corpus, Sample, read
from .correctness import is_wrong
from .corruption import EDITS, KINDS, Clean, Donors, Edit, steps_of
from .damage import Reading
from .left_out import LeftOut
from .progress import EvaluationWatch
from .settings import EvaluateSettings
from .siblings import Siblings, closing

# A solution with fewer steps is not damaged.
_LEAST_STEPS = 3
# The latents of an unchanged solution must be the store's own, but for what rounding in another
# batch does.
_NEAR, _FAR_SHARE = 0.02, 0.01


@attrs.frozen
class Planned:
    """A solution to be read.

    Attributes:
        kind: `clean`, an edit or a kind of damage.
        clean: what it was made from.
        key: of that trace.
        edit: what became of it.
        row: the solution as a source gives it.
    """

    kind: str
    clean: Clean
    key: RecordKey
    edit: Edit
    row: SourceRow


def plan(traces: Sequence[Trace], kinds: Sequence[str], count: int, seed: int) -> list[Planned]:
    """The solutions that are read: of each kind the first so many that can be made, and the clean
    ones of the damaged.

    They are chosen by a hash of the statement before anybody has looked at one; what is done to a
    solution depends on the seed, the kind, its text, and, where steps of others are put in, on
    theirs.

    Args:
        traces: of one part of the split.
        kinds: of damage; the edits and the clean solutions come along.
        count: problems a kind.
        seed: of all that is drawn.
    """
    of_problem: dict[str, Trace] = {}
    for trace in sorted(traces, key=lambda one: (one.sample, one.problem.id)):
        if trace.step_texts:
            of_problem.setdefault(trace.problem.statement_hash, trace)
    everyone = [_Readable.of(trace) for trace in of_problem.values()]
    everyone.sort(key=lambda one: _digest("damage:" + one.clean.problem))
    donors = Donors([one.clean for one in everyone])
    longer = [one for one in everyone if len(one.clean.bodies) >= _LEAST_STEPS]
    planned: list[Planned] = []
    for kind, make in {**{kind: KINDS[kind] for kind in kinds}, **EDITS}.items():
        made = 0
        for one in longer:
            if made == count:
                break
            drawn = _digest(f"{seed}:{kind}:{one.clean.problem}")
            edit = make(one.clean, donors, np.random.default_rng(int(drawn[:32], 16)))
            found = None if edit is None else one.planned(kind, edit)
            if found is not None:
                planned.append(found)
                made += 1
    used = {one.clean.problem for one in planned if one.kind in KINDS}
    whole = [one.planned(CLEAN, Edit(one.clean.bodies, None)) for one in longer]
    return [one for one in whole if one is not None and one.clean.problem in used] + planned


def planned_in(
    corpus: Corpus,
    number: int,
    split: Split,
    kinds: Sequence[str],
    count: int,
    seed: int,
    watch: EvaluationWatch,
) -> tuple[dict[RecordKey, Sample], list[Planned]]:
    """Read the traces of one store's part, by key, and plan what is made of those that are not
    known to be wrong; see `plan`.

    Args:
        corpus: of stores.
        number: which of them.
        split: the part.
        kinds: of damage; empty for all.
        count: problems a kind.
        seed: of all that is drawn.
        watch: told what goes on.

    Raises:
        InputError: the stores hold nothing of the part.
    """
    places = [place for place in corpus.places(split) if place.store == number]
    tick = watch.phase("choosing what to damage", len(places))
    own = {sample.trace.key: sample for sample in corpus.samples(places, tick)}
    store = corpus.stores[number]
    traces = [sample.trace for sample in own.values() if not _known_wrong(store, sample)]
    return own, plan(traces, kinds or tuple(KINDS), count, seed)


def _known_wrong(store: LatentStore, sample: Sample) -> bool:
    """Whether its label says that a solution is wrong, or, without one, its grade does not say that
    it is right."""
    labelled = is_wrong(sample)
    if labelled is not None or not isinstance(store, KeepsGrades):
        return bool(labelled)
    grade = store.grade(sample.trace.key)
    return grade is not None and grade.mark != RIGHT


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@attrs.frozen
class _Readable:
    """A trace, and its solution as it is edited."""

    trace: Trace
    clean: Clean

    @classmethod
    def of(cls, trace: Trace) -> _Readable:
        statement, bodies = trace.problem.statement, steps_of(trace).bodies
        name = str(trace.key)
        return cls(trace, Clean.of(name, trace.problem.statement_hash, statement, bodies))

    def planned(self, kind: str, edit: Edit) -> Planned | None:
        own = self.trace.problem
        labels = {KIND: kind, OF: str(self.trace.key), OF_PROBLEM: own.statement_hash}
        if edit.wrong is not None:
            labels[WRONG_STEP] = str(edit.wrong)
        if edit.donor:
            labels[DONOR] = edit.donor
        answer = edit.answer(self.trace.answer)
        solution = steps_of(self.trace).solution(edit.bodies, labels, answer)
        if solution is None:
            return None
        problem = attrs.evolve(
            own,
            # With the digest a solution that was made otherwise is another one.
            id=f"{self.trace.key}~{kind}~{solution.digest[:8]}",
            statement=edit.statement or own.statement,
        )
        row = SourceRow(problem, (solution,), f"{kind} of {self.trace.key}")
        return Planned(kind, self.clean, self.trace.key, edit, row)


@attrs.frozen
class Readings:
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
    refused: LeftOut

    def damage(self, split: Split) -> tuple[list[Reading], tuple[str, ...]]:
        """Clean, edited and damaged solutions of a part, and what was left out.

        Raises:
            InputError: no solution can be damaged.
        """
        corpus, found, left_out = self.corpus, [], Counter[str]()
        for number, store in enumerate(corpus.stores):
            asked = self.asked
            own, planned = planned_in(
                corpus, number, split, asked.damage, asked.damaged, asked.seed, self.watch
            )
            kept = all(sample.logprobs is not None for sample in own.values())
            if kept:
                # The store has read the clean ones itself.
                found += [
                    Reading(own[one.key], CLEAN, one.clean.problem)
                    for one in planned
                    if one.kind == CLEAN
                ]
                planned = [one for one in planned if one.kind != CLEAN]
            if not planned:
                continue
            path, rows = self.asked.stores[number], [one.row for one in planned]
            with closing(self.siblings.damaged(store, path, split, rows)) as sibling:
                layer = layer_in(sibling, corpus.space, store.location)
                tick = self.watch.phase("reading the damaged solutions", len(planned))
                for done, one in enumerate(planned, 1):
                    tick(done)
                    key = RecordKey(one.row.problem.id)
                    entry = sibling.entry(key)
                    if entry is None or entry.failed:
                        left_out["could not be encoded"] += 1
                        continue
                    sample = read(sibling, key, layer)
                    if steps_of(sample.trace).bodies != one.edit.bodies:
                        left_out["were cut into other steps"] += 1
                        continue
                    found.append(Reading(sample, one.kind, one.clean.problem, one.edit.wrong))
            self._check_agreement(found, {c.problem: own[k] for c, k in _cleans(planned)})
        if not any(reading.kind in KINDS for reading in found):
            what_to_do = "; leave the part out of evaluate.parts" if self.asked.parts else ""
            raise InputError(
                f"{corpus.location}: no solution of the {split.value} part can be damaged: it "
                "takes a text of three steps that one of the kinds applies to" + what_to_do
            )
        notes = [f"{number:,} left out: they {why}" for why, number in left_out.items()]
        return found, tuple(notes)

    def _check_agreement(self, readings: Sequence[Reading], own: Mapping[str, Sample]) -> None:
        """Whether the clean solutions were read again as the store had read them."""
        away = [
            value
            for reading in readings
            if reading.kind == CLEAN and reading.problem in own
            for value in _deviations(reading.sample, own[reading.problem])
        ]
        if away and np.mean(np.array(away) > _NEAR) > _FAR_SHARE:
            self.watch.warn(
                f"{np.mean(np.array(away) > _NEAR):.0%} of the unchanged steps have other latents "
                "than in the store: the damaged solutions were not encoded as the store was"
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
                f"{self.asked.labelled}: {wrong:,} of {count(len(samples), 'solution')} that can "
                "be used are labelled wrong; both right and wrong ones are needed"
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


def _cleans(planned: Sequence[Planned]) -> Iterator[tuple[Clean, RecordKey]]:
    return ((one.clean, one.key) for one in planned if one.kind == CLEAN)


def _deviations(one: Sample, other: Sample) -> list[float]:
    """How far the latents of the same steps are apart, relative to their size."""
    ours, theirs = one.sequence.latents, other.sequence.latents
    if len(ours) != len(theirs):
        return [1.0]
    away = np.linalg.norm(ours - theirs, axis=1)
    return [float(d) for d in away / np.maximum(np.linalg.norm(theirs, axis=1), 1e-9)]
