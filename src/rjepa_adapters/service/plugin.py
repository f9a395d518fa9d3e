"""Register the HTTP service; its libraries are imported only when it serves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from rjepa_core.errors import UsageError
from rjepa_core.plugins import ServiceAdapter, hookimpl
from rjepa_core.scoring import Served

from ..optional import install_extra
from .settings import HttpSettings

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _check_start(settings: HttpSettings) -> None:
    """Check, before the models are loaded, what serving needs: libraries, token, port."""
    try:
        from .server import listen
    except ModuleNotFoundError as error:
        raise _missing_package(error) from None
    _read_token(settings)
    listen(settings).close()


def _missing_package(error: ModuleNotFoundError) -> UsageError:
    return UsageError(f"serving needs the package {error.name!r}: {install_extra('serve')}")


def _serve(served: Served, settings: HttpSettings, say: Callable[[str], None]) -> None:
    try:
        from .app import make_app
        from .server import run
    except ModuleNotFoundError as error:
        raise _missing_package(error) from None
    token = _read_token(settings)
    if token is None and settings.host not in _LOOPBACK:
        say(
            f"warning: anyone who can reach {settings.host} can use this service; "
            "set RJEPA_TOKEN or service.token_file to require a token"
        )
    run(make_app(served, settings, token), settings, say)


def _read_token(settings: HttpSettings) -> str | None:
    """Return the token in the file, else in the environment, else None.

    Raises:
        UsageError: the file cannot be read, or holds no token.
    """
    if settings.token_file is None:
        return os.environ.get("RJEPA_TOKEN") or None
    try:
        found = Path(settings.token_file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text in UTF-8"
        raise UsageError(f"service.token_file: {settings.token_file}: {reason}") from None
    if not found or not found.isascii() or len(found.split()) != 1:
        raise UsageError(
            f"service.token_file: {settings.token_file}: holds no token: one word in ASCII"
        )
    return found


@hookimpl
def rjepa_services() -> Iterable[ServiceAdapter]:
    return [
        ServiceAdapter(
            name="http",
            summary="HTTP on FastAPI and uvicorn, with a page",
            settings=HttpSettings,
            serve=_serve,
            check=_check_start,
        )
    ]
