"""Results as JSON or safetensors, and their part of the OpenAPI description."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError
from starlette.requests import Request
from starlette.responses import Response

from rjepa_adapters.remote import protocol as wire
from rjepa_core import __version__
from rjepa_core.domain.answer import answer_of
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.trace import StepSpan
from rjepa_core.ports.world_model import Floats, Verification, WorldModelInfo
from rjepa_core.scoring import Judgement, comparison, percentiles, whole, wrong_step

from . import problem_details as problems
from .bodies import JSON, LatentsRequest, wants_bytes
from .problem_details import BAD_BODY, ProblemError, ProblemKind
from .schemas import NearOut, ProblemOut, ScoreOut, StepOut, TextOut, ValuesOut, VerdictOut

R = TypeVar("R")


def json_response(answer: BaseModel) -> Response:
    """Return a pydantic model as a JSON response, without the fields that were left out."""
    try:
        text = answer.model_dump_json(exclude_unset=True)
    except PydanticSerializationError:
        # A lone surrogate, which a stored text may hold and UTF-8 cannot.
        text = json.dumps(answer.model_dump(exclude_unset=True))
    return Response(text.encode(), media_type=JSON)


def scores(
    request: Request, asked: LatentsRequest, found: Sequence[Judgement], info: WorldModelInfo
) -> Response:
    """Return a response with the surprise [S] of each sequence; as JSON with the verdict."""
    if wants_bytes(request, len(asked.sequences) > 1):
        rows = [one.surprise for one in found]
        return Response(wire.pack_values(rows), media_type=wire.MEDIA)
    one = _single(asked, found)
    return json_response(
        ScoreOut(
            surprise=whole(one.surprise),
            steps=one.surprise.tolist(),
            percentiles=_listed(percentiles(info, one.surprise)),
            worst=int(one.surprise.argmax()),
            **verdict_fields(one.verdict),
        )
    )


def verdicts(request: Request, asked: LatentsRequest, found: Sequence[Verification]) -> Response:
    """Return a response with the verdict on each sequence."""
    if wants_bytes(request, len(asked.sequences) > 1):
        return Response(wire.pack_verdicts(found), media_type=wire.MEDIA)
    return json_response(VerdictOut(**verdict_fields(_single(asked, found))))


def verdict_fields(verdict: Verification | None) -> dict[str, Any]:
    """Return a verdict, if there is one, as fields of an answer."""
    if verdict is None:
        return {}
    return {
        "wrong": verdict.wrong.tolist(),
        "right": verdict.right,
        "wrong_step": wrong_step(verdict),
    }


def values(request: Request, asked: LatentsRequest, rows: Sequence[Floats], space: Any) -> Response:
    """Return a response with the vectors [S, E] of each sequence."""
    if wants_bytes(request, len(asked.sequences) > 1):
        return Response(wire.pack_values(rows, space=space), media_type=wire.MEDIA)
    return json_response(ValuesOut(space=space, values=_single(asked, rows).tolist()))


def text(
    record: LatentRecord,
    judged: Judgement,
    info: WorldModelInfo,
    expected: Sequence[NearOut] = (),
) -> TextOut:
    """Return the steps of a record with their surprise, and with the verdict if there is one."""
    trace, surprise = record.trace, judged.surprise
    count = len(surprise)
    fields = verdict_fields(judged.verdict)
    wrong = [{"wrong": value} for value in fields.pop("wrong", ())] or [{}] * count
    places = percentiles(info, surprise) or [None] * count
    compared = comparison(info, count)
    # An imported record may have vectors only.
    texts, spans = trace.step_texts or [""] * count, trace.spans or [StepSpan(0, 0)] * count
    steps = [
        StepOut(
            text=words,
            start=span.start,
            stop=span.stop,
            truncated=span.truncated,
            thinking=span.thinking,
            surprise=float(value),
            percentile=place,
            **verdict,
        )
        for words, span, value, place, verdict in zip(
            texts, spans, surprise, places, wrong, strict=True
        )
    ]
    return TextOut(
        surprise=whole(surprise),
        worst=int(np.argmax(surprise)),
        problem=trace.problem.statement,
        strategy=trace.strategy,
        answer=trace.answer,
        given=answer_of(trace),
        steps=steps,
        expected=list(expected),
        compared=None if compared is None else str(compared),
        **fields,
    )


def _single(asked: LatentsRequest, rows: Sequence[R]) -> R:
    if len(asked.sequences) > 1:
        raise ProblemError(
            BAD_BODY, f"several sequences are answered as {wire.MEDIA} only; accept that type"
        )
    return rows[0]


def _listed(values: tuple[float, ...] | None) -> list[float] | None:
    return None if values is None else list(values)


BINARY = {"type": "string", "format": "binary"}
ALWAYS = (problems.UNAUTHORISED, problems.BROKEN)
READS = (
    problems.BAD_BODY,
    problems.NOT_FINITE,
    problems.TOO_LARGE,
    problems.UNKNOWN_MEDIA,
    problems.SLOW,
    problems.BUSY,
)


def body(schema: type[BaseModel], binary: bool = True) -> dict[str, Any]:
    """Return the `openapi_extra` that describes an endpoint's request body."""
    content: dict[str, Any] = {JSON: {"schema": schema.model_json_schema()}}
    if binary:
        content[wire.MEDIA] = {"schema": BINARY}
    return {"requestBody": {"content": content, "required": True}}


def answers(*kinds: ProblemKind, binary: bool = False) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of an endpoint: its possible problems, and safetensors if `binary`."""
    found: dict[int | str, dict[str, Any]] = {}
    for kind in (*kinds, *ALWAYS):
        titles = [one.title for one in (*kinds, *ALWAYS) if one.status == kind.status]
        found[kind.status] = {
            "description": "; ".join(dict.fromkeys(titles)),
            "content": {problems.MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        if kind.status == 503:
            found[503]["headers"] = {
                "Retry-After": {"schema": {"type": "string"}, "description": "Seconds"}
            }
    if binary:
        found[200] = {"content": {wire.MEDIA: {"schema": BINARY}}}
    return found


def describe(app: FastAPI, with_token: bool) -> dict[str, Any]:
    """Return the OpenAPI description of the service."""
    found = get_openapi(
        title="R-JEPA",
        version=__version__,
        description=(
            "The surprise of reasoning steps, and with a verifier how probably they are wrong. "
            "Latents are sent as JSON, one sequence per request, "
            f"or as `{wire.MEDIA}`, in both directions: send it, and accept it. The same input "
            "gets the same score: bit for bit when run alone, within 1e-5 when batched. "
            f"Errors are RFC 9457 problem details; `{problems.PAGE}` lists them."
        ),
        routes=app.routes,
    )
    components = found.setdefault("components", {}).setdefault("schemas", {})
    components["Problem"] = ProblemOut.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        components.pop(unused, None)
    if with_token:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found
