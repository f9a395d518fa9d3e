"""uvicorn, told where to listen, when to stop, and what a connection may take."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Generator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from rjepa_core.errors import UsageError

from .connection import guarded
from .settings import HttpSettings


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
            f"service.port: {host} port {port}: {error.strerror}; use another service.port"
        ) from None
    return listening


def address_of(listening: socket.socket) -> str:
    """The URL at which it answers."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


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
        # Callers' mistakes are told to the callers.
        "log_level": logging.ERROR,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_keep_alive": settings.idle_seconds,
        "timeout_graceful_shutdown": settings.stop_seconds,
    }
    return Server(uvicorn.Config(app, **options), started)
