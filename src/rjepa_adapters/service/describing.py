"""The parts of the OpenAPI description that FastAPI does not make by itself."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from rjepa_adapters.remote import protocol as wire
from rjepa_core import __version__

from . import problems
from .bodies import JSON
from .problems import Kind
from .schemas import Problem

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
    """A request body, as `openapi_extra`."""
    content: dict[str, Any] = {JSON: {"schema": schema.model_json_schema()}}
    if binary:
        content[wire.MEDIA] = {"schema": BINARY}
    return {"requestBody": {"content": content, "required": True}}


def answers(*kinds: Kind, binary: bool = False) -> dict[int | str, dict[str, Any]]:
    """`responses` of an endpoint: the problems that it may answer with, and its own in bytes."""
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
    """The whole description."""
    found = get_openapi(
        title="R-JEPA",
        version=__version__,
        description=(
            "Surprise of the steps of a reasoning. Latents travel as JSON, one sequence a request, "
            f"or as `{wire.MEDIA}`, in both directions: send it, and accept it. The same input "
            "gets the same score: to the bit when it runs alone, within 1e-5 among others. "
            f"Errors are RFC 9457 problem details; `{problems.PAGE}` lists them."
        ),
        routes=app.routes,
    )
    components = found.setdefault("components", {}).setdefault("schemas", {})
    components["Problem"] = Problem.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        components.pop(unused, None)
    if with_token:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found
