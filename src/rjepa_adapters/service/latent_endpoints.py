"""Endpoints that take latents."""

from __future__ import annotations

import numpy as np
from fastapi import APIRouter, Request, Response

from rjepa_adapters.remote import protocol as wire
from rjepa_core.errors import UnsupportedError
from rjepa_core.ports.world_model import Floats, TargetSpace

from . import answers
from . import problem_details as problems
from .answers import READS, body
from .answers import answers as may_answer
from .bodies import Bodies, LatentsRequest, wants_bytes
from .problem_details import ProblemError
from .schemas import ContextIn, MaskedIn, ScoreOut, SequenceIn, ValuesIn, ValuesOut
from .scorer import (
    EMBEDDINGS,
    MASKED,
    PREDICT,
    SURPRISE,
    TARGETS,
    Job,
    Scorer,
    results_of,
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

    async def ask(
        request: Request, kind: str, schema: type[SequenceIn]
    ) -> tuple[LatentsRequest, list[Floats]]:
        async with bodies.body(request, schema) as content:
            asked = await bodies.latents(request, content, schema)
            del content
            jobs = [
                Job(kind, one, asked.context, asked.masked[number] if asked.masked else ())
                for number, one in enumerate(asked.sequences)
            ]
            rows = await results_of(
                request,
                lambda: scorer.latents.submit(jobs),
                seconds_left(request, limits.answer_seconds),
                [asked.pointer(number) for number in range(len(jobs))],
            )
        return asked, rows

    @endpoints.post(
        "/score",
        response_model=ScoreOut,
        responses=_PROBLEMS,
        openapi_extra=body(ContextIn),
        summary="Surprise of a trace and of each of its steps",
    )
    async def score(request: Request) -> Response:
        asked, rows = await ask(request, SURPRISE, ContextIn)
        return answers.scores(request, asked, rows, info)

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
