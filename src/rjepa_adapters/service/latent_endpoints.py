"""Endpoints that take latents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from rjepa_adapters.remote import protocol as wire
from rjepa_core.errors import UnsupportedError
from rjepa_core.ports.world_model import Floats, TargetSpace
from rjepa_core.scoring import Judgement

from . import answers
from . import problem_details as problems
from .answers import READS, body
from .answers import answers as may_answer
from .bodies import Bodies, LatentsRequest, wants_bytes
from .problem_details import ProblemError
from .schemas import ContextIn, MaskedIn, ScoreOut, SequenceIn, ValuesIn, ValuesOut, VerdictOut
from .scorer import (
    EMBEDDINGS,
    MASKED,
    PREDICT,
    SURPRISE,
    TARGETS,
    VERDICT,
    Job,
    Scorer,
    judging,
    run_each,
    seconds_left,
)
from .settings import HttpSettings

_PROBLEMS = may_answer(*READS, problems.OTHER_SPACE, binary=True)


def router(scorer: Scorer, bodies: Bodies, limits: HttpSettings) -> APIRouter:
    """Return the endpoints that take latents."""
    endpoints = APIRouter(tags=["latents"])
    world_model = scorer.world_model
    info = world_model.info
    target = "llm-standardised" if info.target_space is TargetSpace.LLM else "model"

    async def run(
        request: Request,
        schema: type[SequenceIn],
        jobs_of: Callable[[LatentsRequest, int], list[Job]],
    ) -> tuple[LatentsRequest, list[list[Any]]]:
        """Return the request, and for each of its sequences the results of its jobs."""
        async with bodies.body(request, schema) as content:
            asked = await bodies.latents(request, content, schema)
            del content
            numbers = range(len(asked.sequences))
            found = await run_each(
                request,
                scorer,
                [jobs_of(asked, number) for number in numbers],
                seconds_left(request, limits.answer_seconds),
                [asked.pointer(number) for number in numbers],
            )
        return asked, found

    async def ask(
        request: Request, kind: str, schema: type[SequenceIn]
    ) -> tuple[LatentsRequest, list[Any]]:
        def jobs_of(asked: LatentsRequest, number: int) -> list[Job]:
            masked = asked.masked[number] if asked.masked else ()
            return [Job(kind, asked.sequences[number], asked.context, masked)]

        asked, found = await run(request, schema, jobs_of)
        return asked, [result for [result] in found]

    @endpoints.post(
        "/score",
        response_model=ScoreOut,
        responses=_PROBLEMS,
        openapi_extra=body(ContextIn),
        summary="Surprise of a trace and of each of its steps",
    )
    async def score(request: Request) -> Response:
        def jobs_of(asked: LatentsRequest, number: int) -> list[Job]:
            sequence = asked.sequences[number]
            if wants_bytes(request, len(asked.sequences) > 1):
                # Verdicts are asked for by themselves.
                return [Job(SURPRISE, sequence, asked.context)]
            return judging(info, sequence, asked.context)

        asked, found = await run(request, ContextIn, jobs_of)
        return answers.scores(request, asked, [Judgement(*one) for one in found], info)

    @endpoints.post(
        "/verify",
        response_model=VerdictOut,
        responses=may_answer(*READS, problems.OTHER_SPACE, problems.NO_VERIFIER, binary=True),
        openapi_extra=body(SequenceIn),
        summary="How probably each step is wrong, and the answer is right",
    )
    async def verify(request: Request) -> Response:
        def jobs_of(asked: LatentsRequest, number: int) -> list[Job]:
            if not info.verifies:
                raise ProblemError(problems.NO_VERIFIER, f"its objective is {info.objective}")
            return [Job(VERDICT, asked.sequences[number])]

        asked, found = await run(request, SequenceIn, jobs_of)
        return answers.verdicts(request, asked, [verdict for [verdict] in found])

    @endpoints.post(
        "/predict",
        response_model=ValuesOut,
        responses=_PROBLEMS,
        openapi_extra=body(ContextIn),
        summary="Each step predicted from its context, in target space",
    )
    async def predict(request: Request) -> Response:
        asked, rows = await ask(request, PREDICT, ContextIn)
        return answers.values(request, asked, rows, target)

    @endpoints.post(
        "/predict_masked",
        response_model=ValuesOut,
        responses=_PROBLEMS,
        openapi_extra=body(MaskedIn),
        summary="Masked steps predicted from all others; says in which space",
    )
    async def predict_masked(request: Request) -> Response:
        asked, rows = await ask(request, MASKED, MaskedIn)
        if asked.form == "llm" and info.target_space is TargetSpace.LLM:
            rows = [world_model.unstandardise(one) for one in rows]
            for number, row in enumerate(rows):
                refuse_infinite(row, asked.pointer(number))
            return answers.values(request, asked, rows, "llm")
        return answers.values(request, asked, rows, target)

    @endpoints.post(
        "/targets",
        response_model=ValuesOut,
        responses=_PROBLEMS,
        openapi_extra=body(SequenceIn),
        summary="What a prediction of each step is compared with",
    )
    async def targets(request: Request) -> Response:
        asked, rows = await ask(request, TARGETS, SequenceIn)
        return answers.values(request, asked, rows, target)

    @endpoints.post(
        "/embeddings",
        response_model=ValuesOut,
        responses=_PROBLEMS,
        openapi_extra=body(SequenceIn),
        summary="The context encoder's output with every step visible",
    )
    async def embeddings(request: Request) -> Response:
        asked, rows = await ask(request, EMBEDDINGS, SequenceIn)
        return answers.values(request, asked, rows, "embedding")

    @endpoints.post(
        "/unstandardise",
        response_model=ValuesOut,
        responses=_PROBLEMS,
        openapi_extra=body(ValuesIn),
        summary="Predictions in the LLM's own latent space",
    )
    async def unstandardise(request: Request) -> Response:
        async with bodies.body(request, ValuesIn) as content:
            values = await bodies.values(request, content)
        try:
            rows = world_model.unstandardise(values)
        except UnsupportedError as error:
            raise ProblemError(problems.BAD_INPUT, str(error)) from None
        refuse_infinite(rows, "/values")
        if wants_bytes(request):
            packed = wire.pack_values([rows], space="llm")
            return Response(packed, media_type=wire.MEDIA)
        return answers.json_response(ValuesOut(space="llm", values=rows.tolist()))

    return endpoints


def refuse_infinite(rows: Floats, pointer: str) -> None:
    """Refuse to answer with values that float32 cannot hold.

    Raises:
        ProblemError: a value is not finite.
    """
    if not np.isfinite(rows).all():
        raise ProblemError(
            problems.NOT_FINITE, "the result is not finite; the values are too large", pointer
        )
