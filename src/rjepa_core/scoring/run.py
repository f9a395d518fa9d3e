"""Score or rank the solutions of a file or store: the use case of `rjepa-cli score` and `rank`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Any

import attrs
from attrs import validators as v

from ..config import checked, settings_of
from ..domain.answer import answer_of
from ..domain.problem import GivenSolution
from ..domain.trace import DAMAGED, NOT_FINITE, NOT_SCORED, Failure, RecordKey, Trace, Work
from ..errors import DamagedRecordError, InputError, NotFiniteError, StoreError, UsageError
from ..extraction import Worklist
from ..plugins import Registry, is_store, open_sources, open_store, open_world_model
from ..ports.store import Entry, LatentStore
from ..ports.world_model import Context, Floats, LatentSequence, Verification, WorldModel
from ..settings import AdapterSettings, ModelSettings, ProblemSettings
from ..stores import layer_in
from ..text import brief, count, excerpt, shortened
from .ranking import MEASURES, RIGHT, VOTE, Vote, measure_for, order_by
from .surprise import (
    MEAN,
    Comparison,
    check_logprobs,
    comparison,
    in_batches,
    judge_each,
    percentiles,
    reason_of,
    surprise_text,
)
from .text_encoder import Solution, TextEncoder, open_text_encoder, sequence_of

_TEXTS = 64


@checked("score")
@attrs.frozen(kw_only=True)
class ScoreSettings:
    """What is scored.

    Attributes:
        world_model: a trained run, or the address of a service.
        context: which steps a step is predicted from: all `others`, or the `past` alone.
        by: order solutions by the `mean` or `max` of their steps' surprise, or with a verifier by
            the probability that their answer is `right`, or by a `vote` of the answers, weighted by
            these probabilities; by default `right` with a verifier, else `mean`.
        limit: use only the first N problems of a file, or records of a store.
        device: of the world model: `auto`, `cpu`, `cuda`, ….
        encode_tokens: most tokens of one forward pass of the LLM, padding included.
    """

    __repr__ = brief

    world_model: str = ""
    context: str = attrs.field(
        default=Context.OTHERS.value, validator=v.in_(tuple(c.value for c in Context))
    )
    by: str | None = attrs.field(default=None, validator=v.optional(v.in_(MEASURES)))
    limit: int | None = attrs.field(
        default=None, validator=v.optional(v.and_(v.instance_of(int), v.ge(1)))
    )
    device: str = "auto"
    encode_tokens: int = attrs.field(default=4096, validator=v.and_(v.instance_of(int), v.ge(1)))


@checked()
@attrs.frozen(kw_only=True)
class ScoreRunSettings:
    """All of one scoring.

    Attributes:
        score: what is scored.
        problems: how a file is read; its `traces` name the file.
        model: the LLM, needed for solutions that are texts.
        backend: the adapter that runs the LLM.
    """

    __repr__ = brief

    score: ScoreSettings = attrs.field(factory=ScoreSettings)
    problems: ProblemSettings = attrs.field(factory=ProblemSettings)
    model: ModelSettings | None = None
    backend: AdapterSettings = attrs.field(factory=lambda: AdapterSettings(name="huggingface"))


@attrs.frozen(eq=False)
class ScoredTrace:
    """A trace, its surprise, and a verifier's verdict on it.

    Attributes:
        trace: with its texts.
        surprise: float32 [S].
        percentiles, verdict: as in `Scored`.
        compared: what the percentiles are among; None if there are none.
    """

    trace: Trace
    surprise: Floats
    percentiles: tuple[float, ...] | None
    verdict: Verification | None = None
    compared: Comparison | None = None

    def __repr__(self) -> str:
        right = "" if self.verdict is None else f", right {self.verdict.right:.2f}"
        return (
            f"ScoredTrace({shortened(str(self.trace.key), 60)!r}: "
            f"{surprise_text(self.surprise)}{right}{_end(self.trace)})"
        )


@attrs.frozen(eq=False)
class Ranking:
    """The solutions of one problem, the best first.

    Attributes:
        problem_id: of the problem.
        statement: of the problem.
        solutions: in that order.
        scores: of each solution, by which they are ordered: surprise, which has no unit, or a
            probability, or a sum of them.
        failed: solutions that could not be scored.
        by: what they are ordered by.
        votes: for `vote`, the answers, the one with the largest weight first; their `solutions` are
            places in `solutions`.
    """

    problem_id: str
    statement: str
    solutions: tuple[ScoredTrace, ...]
    scores: tuple[float, ...]
    failed: tuple[Failure, ...]
    by: str = MEAN
    votes: tuple[Vote, ...] = ()

    def __repr__(self) -> str:
        best = ""
        if self.solutions:
            first = self.solutions[0].trace
            best = f", best {first.sample}{_end(first)} with {self.scores[0]:.4g}"
        failed = f", {count(len(self.failed), 'failure')}" if self.failed else ""
        return (
            f"Ranking({excerpt(self.statement)}: {count(len(self.solutions), 'solution')} by "
            f"{self.by}{best}{failed})"
        )


def _end(trace: Trace) -> str:
    return "" if trace.answer is None else f", answer {excerpt(trace.answer)}"


def score_all(
    settings: ScoreRunSettings | Mapping[str, Any],
    registry: Registry | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[ScoredTrace | Failure]:
    """Yield scores in the order of the file or store; what could not be encoded is a failure.

    Everything is checked, and the model loaded, before this function returns.

    Raises:
        UsageError: anything that the user can fix.
    """
    registry, settings = registry or Registry(), settings_of(ScoreRunSettings, settings)
    asked = settings.score
    if not asked.world_model:
        raise UsageError("score.world_model: none is named; name a trained run")
    [location] = settings.problems.traces
    stack = ExitStack()
    try:
        store = _stored(location, registry)
        work: Worklist | None = None
        if store is not None:
            stack.callback(store.close)
        else:
            problems = attrs.evolve(settings.problems, limit=asked.limit)
            work = Worklist(
                open_sources(problems, registry),
                limit=asked.limit,
                given=True,
                shard=problems.part,
            )
            work.survey()
            if settings.model is None:
                raise UsageError(
                    f"{location} holds texts; set model.name to the LLM that the world model's "
                    "latents came from, or score a store"
                )
        world_model = open_world_model(asked.world_model, asked.device, registry)
        stack.callback(world_model.close)
        measure_for(world_model.info, asked.by, "score.by")
        context = Context(asked.context)
        if store is not None:
            pairs = _records(store, world_model, asked.limit)
            return _close_after(stack, score_pairs(pairs, world_model, context))
        assert work is not None
        assert settings.model is not None
        say(f"loading {settings.model.name}")
        model = settings.model
        if model.device == "auto":
            model = attrs.evolve(model, device=asked.device)
        encoder = open_text_encoder(
            model, settings.backend, world_model.info, registry, asked.encode_tokens
        )
        stack.callback(encoder.close)
        return _close_after(stack, score_pairs(encode_work(work, encoder), world_model, context))
    except BaseException:
        stack.close()
        raise


def rank_all(scored: Iterable[ScoredTrace | Failure], by: str | None = None) -> list[Ranking]:
    """Return the solutions of each problem ranked; problems in the order of first appearance.

    Args:
        scored: of any order.
        by: as `ScoreSettings.by`; by default `right` if there are verdicts, else `mean`.

    Raises:
        ArgumentError: it needs verdicts, and there are none.
    """
    succeeded: dict[str, list[ScoredTrace]] = {}
    failed: dict[str, list[Failure]] = {}
    for item in scored:
        name = item.key.problem_id if isinstance(item, Failure) else item.trace.problem.id
        succeeded.setdefault(name, [])
        failed.setdefault(name, [])
        if isinstance(item, Failure):
            failed[name].append(item)
        else:
            succeeded[name].append(item)
    if by is None:
        every = [one for solutions in succeeded.values() for one in solutions]
        by = RIGHT if every and all(one.verdict is not None for one in every) else MEAN
    return [
        _rank(name, solutions, tuple(failed[name]), by) for name, solutions in succeeded.items()
    ]


def _rank(
    name: str, solutions: Sequence[ScoredTrace], failed: tuple[Failure, ...], by: str
) -> Ranking:
    found = order_by(
        by,
        [one.surprise for one in solutions],
        [one.verdict for one in solutions],
        [answer_of(one.trace) for one in solutions] if by == VOTE else (),
    )
    ranked = {place: rank for rank, place in enumerate(found.places)}
    votes = [
        attrs.evolve(vote, solutions=tuple(sorted(ranked[i] for i in vote.solutions)))
        for vote in found.votes
    ]
    return Ranking(
        name,
        solutions[0].trace.problem.statement if solutions else "",
        tuple(solutions[i] for i in found.places),
        tuple(found.scores[i] for i in found.places),
        failed,
        by,
        tuple(votes),
    )


def _stored(location: str, registry: Registry) -> LatentStore | None:
    """Open the store at a location, if it is one."""
    return open_store(location, "read", registry) if is_store(location, registry) else None


_Pair = tuple[Trace, LatentSequence]


def _records(
    store: LatentStore, world_model: WorldModel, limit: int | None
) -> Iterator[list[_Pair | Failure]]:
    layer = layer_in(store, world_model.info.space, world_model.info.location)
    check_logprobs(store, world_model.info)
    entries = [(key, entry) for key, entry in store.entries() if not entry.failed][:limit]
    if not entries:
        raise InputError(f"{store.location}: holds no records")
    pairs = (_pair(store, key, entry, layer) for key, entry in entries)
    return in_batches(pairs, lambda item: 0 if isinstance(item, Failure) else len(item[1].latents))


def _pair(store: LatentStore, key: RecordKey, entry: Entry, layer: int) -> _Pair | Failure:
    try:
        record = store.get(key)
    except KeyError:
        raise StoreError(f"{store.location}: {key} was removed while the store was read") from None
    except DamagedRecordError as error:
        return Failure(key, entry.statement_hash, DAMAGED, str(error))
    return record.trace, sequence_of(record, layer)


def encode_work(work: Iterable[Work], encoder: TextEncoder) -> Iterator[list[_Pair | Failure]]:
    """Yield given solutions encoded, in batches and in order, or why one could not be."""
    waiting = iter(work)
    while batch := list(islice(waiting, _TEXTS)):
        texts = []
        for item in batch:
            assert isinstance(item.given, GivenSolution)
            texts.append(Solution(item.problem.statement, item.given, item.problem.domain))
        pairs: list[_Pair | Failure] = []
        for item, record in zip(batch, encoder.encode(texts), strict=True):
            if isinstance(record, Failure):
                pairs.append(attrs.evolve(record, key=item.key))
                continue
            # The encoder uses keys of its own.
            trace = attrs.evolve(record.trace, problem=item.problem, sample=item.sample)
            given = item.given
            assert isinstance(given, GivenSolution)
            trace = attrs.evolve(trace, metadata=dict(given.metadata))
            pairs.append((trace, sequence_of(record)))
        yield pairs


def score_pairs(
    batches: Iterator[list[_Pair | Failure]],
    world_model: WorldModel,
    context: Context,
) -> Iterator[ScoredTrace | Failure]:
    """Yield the surprise and verdict of each sequence, or why it could not be scored."""
    for batch in batches:
        sequences = [item[1] for item in batch if not isinstance(item, Failure)]
        found = iter(judge_each(world_model, sequences, context))
        for item in batch:
            if isinstance(item, Failure):
                yield item
                continue
            trace, one = item[0], next(found)
            if isinstance(one, InputError):
                finite = not isinstance(one, NotFiniteError)
                yield Failure(
                    trace.key,
                    trace.problem.statement_hash,
                    NOT_SCORED if finite else NOT_FINITE,
                    reason_of(one),
                )
            else:
                places = percentiles(world_model.info, one.surprise)
                among = comparison(world_model.info, len(one.surprise))
                yield ScoredTrace(trace, one.surprise, places, one.verdict, among)


def _close_after(
    stack: ExitStack, scored: Iterator[ScoredTrace | Failure]
) -> Iterator[ScoredTrace | Failure]:
    """Yield the scores, and close the stack when they end or the caller stops."""
    with stack:
        yield from scored
