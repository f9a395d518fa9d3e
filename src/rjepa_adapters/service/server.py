"""The uvicorn server: its socket, its options and how it stops."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Generator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from rjepa_core.errors import UsageError

from .connection import limited_protocol
from .settings import HttpSettings


class Server(uvicorn.Server):
    """A server that exits with code 0 on a signal, and calls `started` once it listens."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._report_start = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and call `started`."""
        await super().startup(sockets)
        if self.started:
            self._report_start()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle signals as uvicorn does, but do not raise a handled one again."""
        with super().capture_signals():
            try:
                yield
            finally:
                self._captured_signals.clear()


def listen(settings: HttpSettings) -> socket.socket:
    """Return a socket bound to the settings' host and port.

    Raises:
        UsageError: the address is invalid or in use.
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
            f"service.port: {host} port {port}: {error.strerror}; use another service.port"
        ) from None
    return listening


def address_of(listening: socket.socket) -> str:
    """Return the URL of a bound socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(app: ASGIApp, settings: HttpSettings, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then finish accepted requests and return.

    Raises:
        UsageError: the address is invalid or in use.
    """
    listening = listen(settings)
    try:
        server_of(app, settings, lambda: say(f"serving {address_of(listening)}")).run([listening])
    finally:
        listening.close()


def server_of(app: ASGIApp, settings: HttpSettings, started: Callable[[], None]) -> Server:
    """Return a server that is not yet running."""
    options: dict[str, Any] = {
        "http": limited_protocol(settings),
        "ws": "none",
        "lifespan": "on",
        "log_config": None,
        # Callers' mistakes are reported to the callers, not in the log.
        "log_level": logging.ERROR,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_keep_alive": settings.idle_seconds,
        "timeout_graceful_shutdown": settings.stop_seconds,
    }
    return Server(uvicorn.Config(app, **options), started)
