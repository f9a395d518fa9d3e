"""uvicorn with limits for those who send slowly, endlessly, or never take their answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rjepa_core.errors import UsageError

from . import problems
from .problems import ProblemError
from .settings import HttpSettings

_HEAD_BYTES = 65_536
# Between SIGTERM and the end of a connection on which nothing is going on.
_LAST_MOMENT = 0.5


class GuardedProtocol(HttpToolsProtocol):
    """A connection that may not take for ever; subclassed with the limits by `guarded`."""

    limits: HttpSettings
    _timer: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None
    _in_head = True
    _head_bytes = 0
    _stopping = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it, and begin to wait for the head of a request."""
        super().connection_made(transport)
        # Whatever lies unsent is noticed, so that nobody holds an answer for ever.
        transport.set_write_buffer_limits(high=0)
        if len(self.connections) > self.limits.connections:
            self._refuse(ProblemError(problems.BUSY, "too many connections are open"))
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; a head that has not ended may only be so long."""
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._timer is None:
                self._await_head()
        super().data_received(data)
        if self._in_head and self._head_bytes > _HEAD_BYTES:
            self._refuse(ProblemError(problems.TOO_LARGE, "the request's head is too long"))

    def on_headers_complete(self) -> None:
        """The head has come in time."""
        self._in_head, self._head_bytes = False, 0
        self._stop_timer()
        super().on_headers_complete()
        if self._stopping:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """What follows is the next request's head."""
        self._in_head = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets a problem, too."""
        self._refuse(ProblemError(_NO_HTTP, msg))

    def shutdown(self) -> None:
        """An idle connection may have a request on its way: it is given a moment to be read."""
        self._stopping = True
        if self._idle():
            self.loop.call_later(_LAST_MOMENT, self._close_if_idle)
        else:
            self.cycle.keep_alive = False

    def pause_writing(self) -> None:
        """An answer waits to be taken."""
        super().pause_writing()
        if self._taking is None:
            self._taking = self.loop.call_later(self.limits.body_seconds, self._cut_off)

    def resume_writing(self) -> None:
        """It was taken."""
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
        super().resume_writing()

    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _close_if_idle(self) -> None:
        if self._idle() and not self.transport.is_closing():
            self.transport.close()

    def _cut_off(self) -> None:
        """Whoever is still answering notices before writing to a connection that is gone."""
        if self.cycle is not None:
            self.cycle.disconnected = True
        self.transport.abort()

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(self.limits.header_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        self._refuse(ProblemError(problems.SLOW, "the request's head did not come in time"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, error: ProblemError) -> None:
        self._stop_timer()
        if not self.transport.is_closing():
            self.transport.write(problems.raw(error))
            self.transport.close()


_NO_HTTP = problems.Kind("no-http", 400, "This is no HTTP request", "Speak HTTP/1.1.")


class Server(uvicorn.Server):
    """Ends with exit code 0 when it is told to stop, and says where it listens."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell."""
        await super().startup(sockets)
        if self.started:
            self._tell()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """A signal that was obeyed is not raised again, as uvicorn does."""
        with super().capture_signals():
            try:
                yield
            finally:
                self._captured_signals.clear()


def listen(settings: HttpSettings) -> socket.socket:
    """A bound socket.

    Raises:
        UsageError: the address cannot be had.
    """
    host, port = settings.host, settings.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"service.host: {host}: {error.strerror}; name an address") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise UsageError(
            f"service.port: {host} port {port}: {error.strerror}; take another --port"
        ) from None
    return listening


def address_of(listening: socket.socket) -> str:
    """The URL at which it answers."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def guarded(settings: HttpSettings) -> type[GuardedProtocol]:
    """The protocol with these limits."""
    return type("Guarded", (GuardedProtocol,), {"limits": settings})


def run(app: ASGIApp, settings: HttpSettings, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; returns once what was accepted is answered.

    Raises:
        UsageError: the address cannot be had.
    """
    listening = listen(settings)
    try:
        server_of(app, settings, lambda: say(f"serving {address_of(listening)}")).run([listening])
    finally:
        listening.close()


def server_of(app: ASGIApp, settings: HttpSettings, started: Callable[[], None]) -> Server:
    """A server that is not running yet."""
    options: dict[str, Any] = {
        "http": guarded(settings),
        "ws": "none",
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_keep_alive": settings.idle_seconds,
        "timeout_graceful_shutdown": settings.stop_seconds,
    }
    return Server(uvicorn.Config(app, **options), started)
