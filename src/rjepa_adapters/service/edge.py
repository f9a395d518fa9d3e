"""The outermost layer of the service: host and token, counts, headers, unexpected errors."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
import traceback
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import problem_details as problems
from .problem_details import ProblemError
from .settings import HttpSettings

_LOG = logging.getLogger(__name__)
# Open without a token: they reveal nothing about the model.
OPEN_PATHS = ("/", "/favicon.ico", "/health", "/ready", problems.PAGE)
OPEN_FOLDERS = ("/page/",)
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The documentation's page needs its own inline script.
_DOCS_POLICY = _POLICY.replace("script-src 'self'", "script-src 'self' 'unsafe-inline'").replace(
    "style-src 'self'", "style-src 'self' 'unsafe-inline'"
)


class Edge:
    """The outermost ASGI layer around the application.

    Args:
        app: the application that answers.
        metrics: counts requests.
        hosts: checks the `Host` of a request.
        token: that callers must send, or None.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, hosts: Hosts, token: str | None) -> None:
        self._app, self._metrics, self._hosts = app, metrics, hosts
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # A HEAD request is handled as a GET; the server leaves out the body.
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        exchange = _Exchange(scope, receive, send)
        began = time.perf_counter()
        self._metrics.in_flight.inc()
        try:
            await exchange.send_problem(await self._problem(asked, exchange))
        except Exception as error:
            _log(scope, error)
        finally:
            path = getattr(asked.get("route"), "path", "other")
            self._metrics.in_flight.dec()
            self._metrics.requests.labels(path, str(exchange.status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - began)

    async def _problem(self, scope: Scope, exchange: _Exchange) -> ProblemError | None:
        """Let the application answer; return the problem that kept it from doing so."""
        try:
            self._hosts.check(scope)
            if not self._authorised(scope):
                return ProblemError(problems.UNAUTHORISED, "the token is missing or wrong")
            await self._app(scope, exchange.receive, exchange.send)
        except ProblemError as error:
            return error
        except asyncio.CancelledError:
            return ProblemError(problems.STOPPING, "it was not answered in time")
        except Exception as error:
            _log(scope, error)
            return ProblemError(problems.BROKEN, "an unexpected error; it was logged")
        return None

    def _authorised(self, scope: Scope) -> bool:
        path = scope["path"]
        if self._token is None or path in OPEN_PATHS or path.startswith(OPEN_FOLDERS):
            return True
        given = Request(scope).headers.get("authorization", "")
        kind, _, token = given.partition(" ")
        same = secrets.compare_digest(token.strip().encode(), self._token)
        return same and kind.lower() == "bearer"


class _Exchange:
    """The messages of one request and its answer, as they pass."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        headers = dict(scope["headers"])
        self._body_left = (
            headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
        )
        self.status = 0

    async def receive(self) -> Message:
        """Receive an ASGI message."""
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            self._body_left = False
        return message

    async def send(self, message: Message) -> None:
        """Send an ASGI message, with headers added."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers: list[Any] = list(message.get("headers", []))
            docs = self._scope["path"].startswith("/docs")
            headers += [
                (b"x-content-type-options", b"nosniff"),
                (b"content-security-policy", (_DOCS_POLICY if docs else _POLICY).encode()),
            ]
            if self._body_left:
                # Do not read the rest of the body: close instead.
                headers = [(k, v) for k, v in headers if k != b"connection"]
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        await self._send(message)

    async def send_problem(self, error: ProblemError | None) -> None:
        """Send a problem instead of the application's answer, unless that has begun."""
        if error is not None and not self.status:
            await problems.response(error)(self._scope, self.receive, self.send)


def _log(scope: Scope, error: Exception) -> None:
    """Log an error in one line, whatever the path contains."""
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


_HOST = re.compile(r"(\[[\da-fA-F:.]+\]|[^\s:/?#@\[\],\\]*)(?::\d{0,5})?")


class Hosts:
    """Refuses requests whose `Host` is not one of the service's names.

    Args:
        settings: with the service's names, and the address that it listens on.
        open_to_all: allow any name, because a token is required.
    """

    def __init__(self, settings: HttpSettings, open_to_all: bool) -> None:
        self._open = open_to_all
        self._names = {"localhost", _normalise(settings.host), *map(_normalise, settings.names)}
        bound = _address(_normalise(settings.host))
        # A service that listens on all addresses may be reached by ones it does not know, behind a
        # router or in a container. DNS rebinding works with names, not with addresses.
        self._any_address = not settings.host or (bound is not None and bound.is_unspecified)

    def check(self, scope: Scope) -> None:
        """Check the `Host` of a request.

        Raises:
            ProblemError: it is missing, repeated, invalid or another host's.
        """
        given = [value for name, value in scope["headers"] if name == b"host"]
        if not given and scope["http_version"] == "1.0":
            return
        found = _HOST.fullmatch(given[0].decode("latin-1")) if len(given) == 1 else None
        if found is None:
            raise ProblemError(problems.NO_HTTP, "exactly one valid `Host` is needed")
        if not self._open and not self._ours(_normalise(found[1]), scope):
            raise ProblemError(
                problems.OTHER_HOST, f"{found[1][:80]!r} is not among the names of this service"
            )

    def _ours(self, name: str, scope: Scope) -> bool:
        address = _address(name)
        if address is None or name in self._names:
            return name in self._names
        reached = _address((scope.get("server") or ("",))[0])
        return self._any_address or address.is_loopback or address == reached


def _normalise(name: str) -> str:
    return name.lower().removeprefix("[").removesuffix("]").removesuffix(".")


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(name)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


MEDIA = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The Prometheus metrics of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "rjepa_requests",
            "Requests answered; 499 stands for callers who hung up",
            ["path", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "rjepa_request_seconds",
            "From a request's head to its answer",
            ["path"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "rjepa_requests_in_flight", "Requests begun and not answered", registry=self.registry
        )
        self.waiting = Gauge(
            "rjepa_waiting", "Values that wait for a batch", ["side"], registry=self.registry
        )
        self.batches = Histogram(
            "rjepa_batch_values",
            "Values per batch",
            ["side"],
            buckets=_SIZES,
            registry=self.registry,
        )
        self.steps = Counter(
            "rjepa_batch_cost",
            "Tokens (world model) and texts (LLM) run",
            ["side"],
            registry=self.registry,
        )

    def ran(self, side: str, values: int, cost: int) -> None:
        """Count a batch that was run."""
        self.batches.labels(side).observe(values)
        self.steps.labels(side).inc(cost)

    def text(self) -> bytes:
        """Return all metrics, as `/metrics` answers them."""
        return generate_latest(self.registry)
