"""Endpoints that take texts, or records of the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar, cast

from fastapi import APIRouter, Query, Request, Response

from rjepa_adapters.sources.solutions import drop_notes
from rjepa_core.domain.answer import answer_of, reference_answer
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.problem import GivenSolution, split_of
from rjepa_core.domain.trace import Failure, RecordKey
from rjepa_core.errors import StoreError, UsageError
from rjepa_core.ports.world_model import Context, LatentSequence
from rjepa_core.scoring import (
    MAX,
    VOTE,
    Judgement,
    Solution,
    measure_for,
    order_by,
    sequence_of,
    whole,
)

from . import answers
from . import problem_details as problems
from .answers import READS, body
from .answers import answers as may_answer
from .bodies import Bodies
from .problem_details import ProblemError
from .records import MOST_SKIPPED, ForeignStep, Records
from .schemas import (
    By,
    NearOut,
    RankedOut,
    RankIn,
    RankOut,
    RecordIn,
    RecordsOut,
    TextIn,
    TextOut,
    VoteOut,
)
from .scorer import (
    MASKED,
    Job,
    Scorer,
    characters_of,
    in_thread,
    judging,
    results_of,
    run_each,
    seconds_left,
)
from .settings import HttpSettings

R = TypeVar("R")
# In code, `1<<n>>2` is no calculator note.
_CODE = "code"


def router(
    scorer: Scorer, records: Records | None, bodies: Bodies, limits: HttpSettings
) -> APIRouter:
    """Return the endpoints that take texts or records."""
    endpoints = APIRouter(tags=["texts"])
    info = scorer.world_model.info

    async def encode(
        request: Request, texts: Sequence[Solution], pointers: Sequence[str]
    ) -> list[LatentRecord]:
        side = scorer.texts
        if side is None:
            raise ProblemError(
                problems.NO_MODEL, "the service was started without an LLM (model.name)"
            )
        length = sum(characters_of(one) for one in texts)
        if length > limits.request_characters:
            raise ProblemError(
                problems.BAD_INPUT,
                f"{length:,} characters, problem and solution of each, at most "
                f"{limits.request_characters:,} are taken",
                pointers[0].rpartition("/")[0] or pointers[0],
            )
        encoded = await results_of(
            request,
            lambda: side.submit(texts),
            seconds_left(request, limits.answer_seconds),
            pointers,
        )
        good = []
        for where, one in zip(pointers, encoded, strict=True):
            if isinstance(one, Failure):
                raise ProblemError(problems.BAD_INPUT, f"{one.reason}: {one.detail}", where)
            if len(one.trace.spans) > limits.steps:
                raise ProblemError(
                    problems.BAD_INPUT,
                    f"{len(one.trace.spans)} steps, at most {limits.steps} are taken",
                    where,
                )
            good.append(one)
        return good

    async def judge(
        request: Request,
        sequences: Sequence[LatentSequence],
        context: Context,
        pointers: Sequence[str],
    ) -> list[Judgement]:
        jobs = [judging(info, one, context) for one in sequences]
        seconds = seconds_left(request, limits.answer_seconds)
        return [Judgement(*one) for one in await run_each(request, scorer, jobs, seconds, pointers)]

    async def look_up(request: Request, call: Callable[[Records], R]) -> R:
        if records is None:
            raise ProblemError(
                problems.NO_STORE, "the service was started without a store (serve.store)"
            )
        seconds = seconds_left(request, limits.answer_seconds)
        try:
            return await in_thread(request, lambda: call(records), seconds, records.threads)
        except StoreError as error:
            raise ProblemError(problems.BROKEN, str(error)) from None

    async def explain(
        request: Request,
        record: LatentRecord,
        sequence: LatentSequence,
        context: Context,
        expected: int,
        pointer: str,
    ) -> TextOut:
        [judged] = await judge(request, [sequence], context, [pointer])
        near: list[NearOut] = []
        if expected:
            if records is None:
                raise ProblemError(
                    problems.NO_STORE,
                    "the service was started without a store (serve.store)",
                    "/expected",
                )
            worst = (int(judged.surprise.argmax()),)
            masked = [[Job(MASKED, sequence, masked=worst)]]
            seconds = seconds_left(request, limits.answer_seconds)
            [[predicted]] = await run_each(request, scorer, masked, seconds, [pointer])
            near = await look_up(
                request,
                lambda store: store.nearest(predicted[0], expected, record.trace, worst[0]),
            )
        return answers.text(record, judged, info, near)

    @endpoints.post(
        "/score_text",
        response_model=TextOut,
        responses=may_answer(*READS, problems.NO_MODEL),
        openapi_extra=body(TextIn, binary=False),
        summary="Steps of a solution, their spans, surprise and verdict",
    )
    async def score_text(request: Request) -> Response:
        async with bodies.body(request, TextIn) as content:
            asked = await bodies.model(request, content, TextIn)
        text = solution_of(asked, asked.solution, "/solution", limits)
        [record] = await encode(request, [text], ["/solution"])
        answer = await explain(
            request,
            record,
            sequence_of(record),
            Context(asked.context),
            asked.expected,
            "/solution",
        )
        return answers.json_response(answer)

    @endpoints.post(
        "/rank",
        response_model=RankOut,
        responses=may_answer(*READS, problems.NO_MODEL, problems.NO_VERIFIER),
        openapi_extra=body(RankIn, binary=False),
        summary="Solutions of a problem from the best to the worst",
    )
    async def rank(request: Request) -> Response:
        async with bodies.body(request, RankIn) as content:
            asked = await bodies.model(request, content, RankIn)
        try:
            by = measure_for(info, asked.by)
        except UsageError:
            detail = f"{asked.by} needs a verifier; its objective is {info.objective}"
            raise ProblemError(problems.NO_VERIFIER, detail, "/by") from None
        if len(asked.solutions) > limits.sequences:
            raise ProblemError(
                problems.BAD_INPUT,
                f"{len(asked.solutions)} solutions, at most {limits.sequences} are taken",
                "/solutions",
            )
        pointers = [f"/solutions/{number}" for number in range(len(asked.solutions))]
        texts = [
            solution_of(asked, one, where, limits)
            for where, one in zip(pointers, asked.solutions, strict=True)
        ]
        encoded = await encode(request, texts, pointers)
        sequences = [sequence_of(one) for one in encoded]
        found = await judge(request, sequences, Context(asked.context), pointers)
        given = [answer_of(one.trace) for one in encoded]
        ranking = order_by(
            by, [one.surprise for one in found], [one.verdict for one in found], given
        )
        ranked = [
            RankedOut(
                solution=i,
                score=ranking.scores[i],
                surprise=whole(found[i].surprise),
                largest=whole(found[i].surprise, MAX),
                steps=found[i].surprise.tolist(),
                worst=int(found[i].surprise.argmax()),
                **_verdict(found[i], given[i]),
            )
            for i in ranking.places
        ]
        voted = {}
        if by == VOTE:
            voted["votes"] = [
                VoteOut(answer=one.answer, weight=one.weight, solutions=list(one.solutions))
                for one in ranking.votes
            ]
        order = list(ranking.places)
        return answers.json_response(RankOut(by=cast(By, by), order=order, ranked=ranked, **voted))

    @endpoints.get(
        "/records",
        response_model=RecordsOut,
        responses=may_answer(problems.NO_STORE, problems.BAD_BODY, problems.BUSY),
        summary="Records of the store, to choose from",
    )
    async def some(
        request: Request,
        count: Annotated[int, Query(ge=1, le=100)] = 20,
        first: Annotated[
            int, Query(ge=0, le=2**31 - 1, description=f"Records to skip, at most {MOST_SKIPPED:,}")
        ] = 0,
        after: Annotated[
            str | None, Query(max_length=5000, description="Start after this `problem_id`…")
        ] = None,
        sample: Annotated[int, Query(ge=0, le=2**31 - 1, description="… and `sample`")] = 0,
        search: Annotated[
            str | None,
            Query(
                max_length=1000,
                description="Only records that hold all these words in id, problem or solution; "
                "`after` is not used then",
            ),
        ] = None,
    ) -> Response:
        last_seen = None if after is None else RecordKey(after, sample)
        if search is not None and search.strip():
            page = await look_up(request, lambda store: store.search(search, count, first))
        else:
            page = await look_up(request, lambda store: store.page(count, first, last_seen))
        return answers.json_response(page)

    @endpoints.post(
        "/score_record",
        response_model=TextOut,
        responses=may_answer(*READS, problems.NO_STORE),
        openapi_extra=body(RecordIn, binary=False),
        summary="Steps of a stored record, their surprise and verdict",
    )
    async def score_record(request: Request) -> Response:
        async with bodies.body(request, RecordIn) as content:
            asked = await bodies.model(request, content, RecordIn)
        foreign = _foreign(asked)
        record, sequence = await look_up(
            request, lambda store: store.get(asked.problem_id, asked.sample, limits.steps, foreign)
        )
        answer = await explain(
            request, record, sequence, Context(asked.context), asked.expected, "/problem_id"
        )
        problem = record.trace.problem
        answer.reference = reference_answer(problem.answer)
        answer.split = split_of(problem.statement_hash).value
        return answers.json_response(answer)

    return endpoints


def _foreign(asked: RecordIn) -> ForeignStep | None:
    if asked.foreign_at is None:
        return None
    if asked.foreign_problem_id is None:
        raise ProblemError(
            problems.BAD_BODY, "is missing: where the step is from", "/foreign_problem_id"
        )
    key = RecordKey(asked.foreign_problem_id, asked.foreign_sample)
    return ForeignStep(key, asked.foreign_step, asked.foreign_at)


def _verdict(judged: Judgement, answer: str | None) -> dict[str, Any]:
    fields = answers.verdict_fields(judged.verdict)
    return fields and {**fields, "answer": answer}


def solution_of(
    asked: TextIn | RankIn, given: str | list[str], pointer: str, limits: HttpSettings
) -> Solution:
    """Return a solution as the LLM's batcher takes it.

    Raises:
        ProblemError: it is empty or too long.
    """
    _check(asked.problem, "/problem", limits)
    _check(given if isinstance(given, str) else "".join(given), pointer, limits)
    parts = [given] if isinstance(given, str) else given
    if len(parts) > limits.steps:
        raise ProblemError(
            problems.BAD_INPUT, f"{len(parts)} steps, at most {limits.steps} are taken", pointer
        )
    if not isinstance(given, str):
        for number, part in enumerate(given):
            if not part.strip():
                raise ProblemError(problems.BAD_INPUT, "is empty", f"{pointer}/{number}")
    if not asked.keep_notes and asked.domain != _CODE:
        parts = [drop_notes(part) for part in parts]
    if isinstance(given, str):
        return Solution(asked.problem, GivenSolution(parts[0]), asked.domain)
    for number, part in enumerate(parts):
        if not part.strip():
            raise ProblemError(
                problems.BAD_INPUT,
                "holds nothing but calculator notes; add text, or keep_notes",
                f"{pointer}/{number}",
            )
    return Solution(asked.problem, GivenSolution(steps=tuple(parts)), asked.domain)


def _check(text: str, pointer: str, limits: HttpSettings) -> None:
    if len(text) > limits.characters:
        raise ProblemError(
            problems.BAD_INPUT,
            f"{len(text):,} characters, at most {limits.characters:,} are taken",
            pointer,
        )
    if not text.strip():
        raise ProblemError(problems.BAD_INPUT, "holds no text", pointer)
