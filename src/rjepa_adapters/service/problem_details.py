"""Errors as RFC 9457 problem details."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import attrs
from starlette.responses import Response

MEDIA = "application/problem+json"
PAGE = "/problems"


@attrs.frozen
class ProblemKind:
    """A kind of problem.

    Attributes:
        name: fragment of the `type` URI.
        status: HTTP status code.
        title: the kind in a few words.
        advice: what the caller can do.
    """

    name: str
    status: int
    title: str
    advice: str


BAD_BODY = ProblemKind(
    "bad-body", 422, "The request cannot be read", "Correct what `pointer` names."
)
BAD_INPUT = ProblemKind(
    "bad-input",
    422,
    "The input cannot be scored",
    "Correct what `pointer` names: a width, a value that is not finite, an unknown domain.",
)
NOT_FINITE = ProblemKind(
    "not-finite",
    422,
    "The result is not finite",
    "Send latents as the LLM produces them; those that `pointer` names are too large for float32.",
)
OTHER_SPACE = ProblemKind(
    "other-space",
    409,
    "The latents are of another latent space",
    "Send latents of the space that `/info` names; others are meaningless to this model.",
)
TOO_LARGE = ProblemKind(
    "too-large", 413, "The body is too large", "Send fewer sequences per request."
)
HEAD_TOO_LARGE = ProblemKind(
    "head-too-large", 431, "The head of the request is too large", "Send fewer or shorter fields."
)
UNKNOWN_MEDIA = ProblemKind(
    "unknown-media", 415, "The content type is not supported", "Send JSON or safetensors."
)
UNAUTHORISED = ProblemKind(
    "unauthorised", 401, "A token is needed", "Send `Authorization: Bearer TOKEN`."
)
NO_HTTP = ProblemKind("no-http", 400, "This is not a valid HTTP request", "Use HTTP/1.1.")
OTHER_HOST = ProblemKind(
    "other-host",
    421,
    "The service does not have that name",
    "Use `localhost`, or start the service with that name (`service.names`), or with a token.",
)
NOT_FOUND = ProblemKind("not-found", 404, "There is nothing here", "See `/docs` for the endpoints.")
NO_MODEL = ProblemKind(
    "no-model",
    404,
    "No LLM is loaded",
    "Texts can be scored if the service is started with an LLM (`model.name`).",
)
NO_STORE = ProblemKind(
    "no-store", 404, "No store is open", "Start the service with a store (`serve.store`)."
)
NO_VERIFIER = ProblemKind(
    "no-verifier",
    404,
    "The world model is no verifier",
    "Verdicts can be asked for if the service is started with a verifier; see `/info`.",
)
BAD_METHOD = ProblemKind("bad-method", 405, "The method is not allowed", "See `/docs`.")
SLOW = ProblemKind("slow", 408, "The request came too slowly", "Send it again, faster.")
BUSY = ProblemKind("busy", 503, "The service is busy", "Try again after `Retry-After` seconds.")
STOPPING = ProblemKind(
    "stopping", 503, "The service is stopping", "Use another one, or try again later."
)
LATE = ProblemKind("late", 503, "It was not answered in time", "Send less, or try again.")
BROKEN = ProblemKind("broken", 500, "Something went wrong", "The service's log says what.")
KINDS = (
    BAD_BODY,
    BAD_INPUT,
    NOT_FINITE,
    OTHER_SPACE,
    TOO_LARGE,
    HEAD_TOO_LARGE,
    UNKNOWN_MEDIA,
    UNAUTHORISED,
    NO_HTTP,
    OTHER_HOST,
    NOT_FOUND,
    NO_MODEL,
    NO_STORE,
    NO_VERIFIER,
    BAD_METHOD,
    SLOW,
    BUSY,
    STOPPING,
    LATE,
    BROKEN,
)
RETRY_AFTER = "1"


class ProblemError(Exception):
    """The error that ends a request with a problem.

    Args:
        kind: of problem.
        detail: what is wrong in this request.
        pointer: JSON pointer to what is wrong, if that is in one place.
        close: whether the connection cannot be used for another request.
    """

    def __init__(
        self, kind: ProblemKind, detail: str, pointer: str | None = None, close: bool = False
    ) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.pointer, self.close = kind, detail, pointer, close


def body_of(error: ProblemError) -> bytes:
    """Return the problem as JSON."""
    facts: dict[str, Any] = {
        "type": f"{PAGE}#{error.kind.name}",
        "title": error.kind.title,
        "status": error.kind.status,
        "detail": error.detail,
    }
    if error.pointer is not None:
        facts["pointer"] = error.pointer
    return json.dumps(facts).encode()


def headers_of(error: ProblemError) -> dict[str, str]:
    """Return the headers of the problem's response."""
    headers = {"content-type": MEDIA}
    if error.kind.status == 503:
        headers["retry-after"] = RETRY_AFTER
    if error.kind is UNAUTHORISED:
        headers["www-authenticate"] = "Bearer"
    if error.close:
        headers["connection"] = "close"
    return headers


def response(error: ProblemError) -> Response:
    """Return the problem as a response."""
    return Response(body_of(error), error.kind.status, headers_of(error))


def raw(error: ProblemError) -> bytes:
    """Return the bytes of a complete HTTP/1.1 response that ends the connection."""
    body = body_of(error)
    status = error.kind.status
    headers = headers_of(error) | {"connection": "close", "content-length": str(len(body))}
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def page() -> str:
    """Return all kinds of problems as plain text, which `type` refers to."""
    return "".join(
        f"{kind.name} ({kind.status}): {kind.title}.\n    {kind.advice}\n\n" for kind in KINDS
    )
