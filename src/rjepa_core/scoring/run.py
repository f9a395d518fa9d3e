"""Score or rank what a file or a store holds: the use case of `rjepa-cli score` and `rank`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice

import attrs
from attrs import validators as v

from ..domain.problem import GivenSolution
from ..domain.trace import DAMAGED, NOT_FINITE, NOT_SCORED, Failure, RecordKey, Trace, Work
from ..errors import DamagedRecordError, InputError, NotFiniteError, StoreError, UsageError
from ..extraction import Worklist
from ..plugins import Registry, is_store, open_sources, open_store, open_world_model
from ..ports.store import Entry, LatentStore
from ..ports.world_model import Context, Floats, LatentSequence, WorldModel
from ..settings import AdapterSettings, ModelSettings, ProblemSettings
from ..stores import layer_in
from .surprise import (
    MEAN,
    MEASURES,
    in_batches,
    order,
    percentiles,
    reason_of,
    surprise_each,
    whole,
)
from .text_encoder import Solution, TextEncoder, open_text_encoder, sequence_of

_TEXTS = 64


@attrs.frozen(kw_only=True)
class ScoreSettings:
    """What is scored.

    Attributes:
        world_model: a trained run, or the address of a service.
        context: which steps a step is predicted from: all `others`, or the `past` alone.
        by: what orders solutions: `mean` or `max` of their steps' surprise.
        limit: use only the first so many problems of a file, or records of a store.
        device: that the world model runs on: `auto`, `cpu`, `cuda`, ….
        encode_tokens: most tokens of one forward pass of the LLM, padding included.
    """

    world_model: str = ""
    context: str = attrs.field(
        default=Context.OTHERS.value, validator=v.in_(tuple(c.value for c in Context))
    )
    by: str = attrs.field(default=MEAN, validator=v.in_(MEASURES))
    limit: int | None = attrs.field(
        default=None, validator=v.optional(v.and_(v.instance_of(int), v.ge(1)))
    )
    device: str = "auto"
    encode_tokens: int = attrs.field(default=4096, validator=v.and_(v.instance_of(int), v.ge(1)))


@attrs.frozen(kw_only=True)
class ScoreRunSettings:
    """All of one scoring.

    Attributes:
        score: what is scored.
        problems: how a file is read; its `traces` name the file.
        model: the LLM, needed for solutions that are texts.
        backend: that runs the LLM.
    """

    score: ScoreSettings = attrs.field(factory=ScoreSettings)
    problems: ProblemSettings = attrs.field(factory=ProblemSettings)
    model: ModelSettings | None = None
    backend: AdapterSettings = attrs.field(factory=lambda: AdapterSettings(name="huggingface"))


@attrs.frozen(eq=False)
class ScoredTrace:
    """A trace and its surprise.

    Attributes:
        trace: with its texts.
        surprise: float32 [S].
        percentiles: as in `Scored`.
    """

    trace: Trace
    surprise: Floats
    percentiles: tuple[float, ...] | None


@attrs.frozen(eq=False)
class Ranking:
    """The solutions of one problem from the least surprising to the most.

    Attributes:
        problem_id: of the problem.
        statement: of the problem.
        solutions: in that order.
        scores: of each, by which they are ordered.
        failed: solutions that could not be scored.
    """

    problem_id: str
    statement: str
    solutions: tuple[ScoredTrace, ...]
    scores: tuple[float, ...]
    failed: tuple[Failure, ...]


def score_all(
    settings: ScoreRunSettings,
    registry: Registry | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[ScoredTrace | Failure]:
    """Scores in the order of the file or store; what could not be encoded is a failure.

    Everything is checked before the first is given; the model is loaded then, too.

    Raises:
        UsageError: anything that the user can mend.
    """
    registry, asked = registry or Registry(), settings.score
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
            work = Worklist(open_sources(problems, registry), limit=asked.limit, given=True)
            work.survey()
            if settings.model is None:
                raise UsageError(
                    f"{location} holds texts; set model.name to the LLM that the world model's "
                    "latents came from, or score a store"
                )
        world_model = open_world_model(asked.world_model, asked.device, registry)
        stack.callback(world_model.close)
        context = Context(asked.context)
        if store is not None:
            pairs = _records(store, world_model, asked.limit)
            return _closing(stack, _scored(pairs, world_model, context))
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
        return _closing(stack, _scored(_encoded(work, encoder), world_model, context))
    except BaseException:
        stack.close()
        raise


def rank_all(scored: Iterable[ScoredTrace | Failure], by: str = MEAN) -> list[Ranking]:
    """The solutions of each problem in order; problems as they came first."""
    good: dict[str, list[ScoredTrace]] = {}
    failed: dict[str, list[Failure]] = {}
    for one in scored:
        name = one.key.problem_id if isinstance(one, Failure) else one.trace.problem.id
        good.setdefault(name, [])
        failed.setdefault(name, [])
        if isinstance(one, Failure):
            failed[name].append(one)
        else:
            good[name].append(one)
    found = []
    for name, solutions in good.items():
        scores = [whole(one.surprise, by) for one in solutions]
        places = order(scores)
        found.append(
            Ranking(
                name,
                solutions[0].trace.problem.statement if solutions else "",
                tuple(solutions[i] for i in places),
                tuple(scores[i] for i in places),
                tuple(failed[name]),
            )
        )
    return found


def _stored(location: str, registry: Registry) -> LatentStore | None:
    """The store at a place, if it is one."""
    return open_store(location, "read", registry) if is_store(location, registry) else None


_Pair = tuple[Trace, LatentSequence]


def _records(
    store: LatentStore, world_model: WorldModel, limit: int | None
) -> Iterator[list[_Pair | Failure]]:
    layer = layer_in(store, world_model.info.space, world_model.info.location)
    entries = [(key, entry) for key, entry in store.entries() if not entry.failed][:limit]
    if not entries:
        raise InputError(f"{store.location}: holds no records")
    pairs = (_pair(store, key, entry, layer) for key, entry in entries)
    return in_batches(pairs, lambda one: 0 if isinstance(one, Failure) else len(one[1].latents))


def _pair(store: LatentStore, key: RecordKey, entry: Entry, layer: int) -> _Pair | Failure:
    try:
        record = store.get(key)
    except KeyError:
        raise StoreError(f"{store.location}: {key} has gone while it was read") from None
    except DamagedRecordError as error:
        return Failure(key, entry.statement_hash, DAMAGED, str(error))
    return record.trace, sequence_of(record, layer)


def _encoded(work: Iterable[Work], encoder: TextEncoder) -> Iterator[list[_Pair | Failure]]:
    waiting = iter(work)
    while batch := list(islice(waiting, _TEXTS)):
        texts = []
        for one in batch:
            assert isinstance(one.given, GivenSolution)
            texts.append(Solution(one.problem.statement, one.given, one.problem.domain))
        found: list[_Pair | Failure] = []
        for one, made in zip(batch, encoder.encode(texts), strict=True):
            if isinstance(made, Failure):
                found.append(attrs.evolve(made, key=one.key))
                continue
            # The encoder's own names for what it was given are of no use to anyone else.
            trace = attrs.evolve(made.trace, problem=one.problem, sample=one.sample)
            given = one.given
            assert isinstance(given, GivenSolution)
            found.append((attrs.evolve(trace, metadata=dict(given.metadata)), sequence_of(made)))
        yield found


def _scored(
    batches: Iterator[list[_Pair | Failure]],
    world_model: WorldModel,
    context: Context,
) -> Iterator[ScoredTrace | Failure]:
    for batch in batches:
        sequences = [one[1] for one in batch if not isinstance(one, Failure)]
        rows = iter(surprise_each(world_model, sequences, context))
        for one in batch:
            if isinstance(one, Failure):
                yield one
            else:
                trace, surprise = one[0], next(rows)
                if isinstance(surprise, InputError):
                    finite = not isinstance(surprise, NotFiniteError)
                    yield Failure(
                        trace.key,
                        trace.problem.statement_hash,
                        NOT_SCORED if finite else NOT_FINITE,
                        reason_of(surprise),
                    )
                else:
                    yield ScoredTrace(trace, surprise, percentiles(world_model.info, surprise))


def _closing(
    stack: ExitStack, found: Iterator[ScoredTrace | Failure]
) -> Iterator[ScoredTrace | Failure]:
    """What was opened is closed once all is given, or nobody wants more."""
    with stack:
        yield from found
