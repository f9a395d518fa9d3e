"""The FastAPI application: endpoints, page and description, wrapped in the edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from rjepa_adapters.remote.protocol import info_to_json
from rjepa_core.scoring import HIGH_PERCENTILE, Served

from . import answers as describing
from . import edge as metrics
from . import examples, latent_endpoints, pages, text_endpoints
from . import problem_details as problems
from .bodies import Bodies
from .edge import Edge, Hosts, Metrics
from .problem_details import ProblemError
from .records import Records
from .schemas import InfoOut, StateOut
from .scorer import GoneError, Scorer
from .settings import HttpSettings


def make_app(served: Served, limits: HttpSettings, token: str | None = None) -> ASGIApp:
    """Return the service as an ASGI application; its batchers run during its lifespan."""
    counted = Metrics()
    bodies = Bodies(limits, served.world_model.info)
    records = None if served.stored is None else Records(served.stored)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        scorer = Scorer(served.world_model, served.encoder, limits, counted)
        app.state.scorer = scorer
        app.include_router(latent_endpoints.router(scorer, bodies, limits))
        app.include_router(text_endpoints.router(scorer, records, bodies, limits))
        app.include_router(examples.router(scorer, records, limits))
        try:
            yield
        finally:
            app.state.scorer = None
            await scorer.close()

    app = FastAPI(
        title="R-JEPA",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.scorer = None
    described = cache(lambda: describing.describe(app, token is not None))
    app.openapi = described  # type: ignore[method-assign]
    _add_problems(app)
    _add_states(app, served, limits, counted)
    pages.add(app)
    return Edge(app, counted, Hosts(limits, token is not None), token)


def _add_problems(app: FastAPI) -> None:
    @app.exception_handler(ProblemError)
    async def problem(request: Request, error: ProblemError) -> Response:
        return problems.response(error)

    @app.exception_handler(GoneError)
    async def gone(request: Request, error: GoneError) -> Response:
        # Nobody reads this answer, but it is counted.
        return Response(status_code=499)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        pointer = "".join(f"/{part}" for part in first["loc"])
        return problems.response(ProblemError(problems.BAD_BODY, first["msg"], pointer))

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404 and pages.wants_html(request):
            return pages.not_found()
        kind = problems.BAD_METHOD if error.status_code == 405 else problems.NOT_FOUND
        answer = problems.response(ProblemError(kind, str(error.detail)))
        answer.headers.update(error.headers or {})
        if answer.headers.get("allow") == "GET":
            answer.headers["allow"] = "GET, HEAD"
        return answer

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        # Starlette raises the error again after this answer, and the edge logs it.
        return problems.response(
            ProblemError(problems.BROKEN, "an unexpected error; it was logged")
        )


def _add_states(app: FastAPI, served: Served, limits: HttpSettings, counted: Metrics) -> None:
    @app.get(
        "/health", response_model=StateOut, tags=["state"], summary="Whether the service is alive"
    )
    async def health() -> Response:
        return Response(StateOut(status="ok").model_dump_json(), media_type="application/json")

    @app.get(
        "/ready",
        response_model=StateOut,
        responses=describing.answers(problems.STOPPING, problems.BUSY),
        tags=["state"],
        summary="Whether the service accepts requests",
    )
    async def ready() -> Response:
        scorer: Scorer | None = app.state.scorer
        if scorer is None:
            raise ProblemError(problems.STOPPING, "no more requests are accepted")
        if len(scorer.latents) >= limits.queue:
            raise ProblemError(problems.BUSY, "the queue is full")
        return Response(StateOut(status="ready").model_dump_json(), media_type="application/json")

    @app.get(
        "/metrics",
        response_class=PlainTextResponse,
        responses=describing.answers(),
        tags=["state"],
        summary="Counts, for Prometheus",
    )
    async def count() -> Response:
        text = await asyncio.to_thread(counted.text)
        return Response(text, headers={"content-type": metrics.MEDIA})

    facts: dict[str, Any] = {
        **info_to_json(served.world_model.info),
        "limits": {
            "body_bytes": limits.body_bytes,
            "sequences": limits.sequences,
            "steps": limits.steps,
            "characters": limits.characters,
            "request_characters": limits.request_characters,
        },
        "llm": None if served.encoder is None else served.encoder.info.name,
        "store": served.stored is not None,
        "records": None if served.stored is None else served.stored.store.stats().records,
        "high_percentile": HIGH_PERCENTILE,
    }
    described = InfoOut.model_validate(facts).model_dump_json()

    @app.get(
        "/info",
        response_model=InfoOut,
        responses=describing.answers(),
        tags=["state"],
        summary="The world model, and the limits of a request",
    )
    async def info() -> Response:
        return Response(described, media_type="application/json")
