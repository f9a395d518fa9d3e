"""What every request passes: host, token, counts, headers; and no exception gets out."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import traceback
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import problems
from .hosts import Hosts
from .metrics import Metrics
from .problems import ProblemError

_LOG = logging.getLogger(__name__)
# Open without a token: they tell nothing of the model.
OPEN_PATHS = ("/", "/health", "/ready", problems.PAGE)
OPEN_FOLDERS = ("/page/",)
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The documentation's page starts itself with a script of its own.
_DOCS_POLICY = _POLICY.replace("script-src 'self'", "script-src 'self' 'unsafe-inline'").replace(
    "style-src 'self'", "style-src 'self' 'unsafe-inline'"
)


class Edge:
    """Wraps the application.

    Args:
        app: that answers.
        metrics: that count.
        hosts: that may be asked for.
        token: that callers must send, or None.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, hosts: Hosts, token: str | None) -> None:
        self._app, self._metrics, self._hosts = app, metrics, hosts
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # What answers GET answers HEAD; the server leaves the body out.
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        answering = _Answering(scope, receive, send)
        began = time.perf_counter()
        self._metrics.in_flight.inc()
        try:
            await answering.give(await self._problem(asked, answering))
        except Exception as error:
            _log(scope, error)
        finally:
            path = getattr(asked.get("route"), "path", "other")
            self._metrics.in_flight.dec()
            self._metrics.requests.labels(path, str(answering.status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - began)

    async def _problem(self, scope: Scope, answering: _Answering) -> ProblemError | None:
        """Have the application answer; why it did not."""
        try:
            self._hosts.check(scope)
            if not self._may(scope):
                return ProblemError(problems.UNAUTHORISED, "the token is missing or another one")
            await self._app(scope, answering.receive, answering.send)
        except ProblemError as error:
            return error
        except asyncio.CancelledError:
            return ProblemError(problems.STOPPING, "it was not done in time")
        except Exception as error:
            _log(scope, error)
            return ProblemError(problems.BROKEN, "an unexpected error; it was logged")
        return None

    def _may(self, scope: Scope) -> bool:
        path = scope["path"]
        if self._token is None or path in OPEN_PATHS or path.startswith(OPEN_FOLDERS):
            return True
        given = Request(scope).headers.get("authorization", "")
        kind, _, token = given.partition(" ")
        same = secrets.compare_digest(token.strip().encode(), self._token)
        return same and kind.lower() == "bearer"


class _Answering:
    """One request's messages, as they pass."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        headers = dict(scope["headers"])
        self._body_left = (
            headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
        )
        self.status = 0

    async def receive(self) -> Message:
        """As ASGI's."""
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            self._body_left = False
        return message

    async def send(self, message: Message) -> None:
        """As ASGI's, with headers added."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers: list[Any] = list(message.get("headers", []))
            docs = self._scope["path"].startswith("/docs")
            headers += [
                (b"x-content-type-options", b"nosniff"),
                (b"content-security-policy", (_DOCS_POLICY if docs else _POLICY).encode()),
            ]
            if self._body_left:
                # What is still to come is not worth reading.
                headers = [(k, v) for k, v in headers if k != b"connection"]
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        await self._send(message)

    async def give(self, error: ProblemError | None) -> None:
        """A problem in place of the application's answer, unless that has begun."""
        if error is not None and not self.status:
            await problems.response(error)(self._scope, self.receive, self.send)


def _log(scope: Scope, error: Exception) -> None:
    """In one line, whatever stands in the path."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    _LOG.error(
        "%s %r: %s: %s (%s, line %s)",
        scope["method"],
        scope["path"],
        type(error).__name__,
        error,
        where.filename,
        where.lineno,
    )
