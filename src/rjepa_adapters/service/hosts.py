"""The names by which the service may be asked for.

A page elsewhere can have its own name lead to this machine, and would then read a service without a
token as its own (DNS rebinding). The browser names that name in `Host`.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.types import Scope

from . import problems
from .problems import ProblemError
from .settings import HttpSettings

_HOST = re.compile(r"(\[[\da-fA-F:.]+\]|[^\s:/?#@\[\],\\]*)(?::\d{0,5})?")


class Hosts:
    """Refuses requests that name another host.

    Args:
        settings: the service's names, and the address that it listens on.
        open_to_all: any name will do, as a token is asked for.
    """

    def __init__(self, settings: HttpSettings, open_to_all: bool) -> None:
        self._open = open_to_all
        self._names = {"localhost", _plain(settings.host), *map(_plain, settings.names)}
        bound = _address(_plain(settings.host))
        # What listens everywhere is reached by addresses that it does not know, behind a router or
        # in a container. An address cannot be made to lead elsewhere, as a name can.
        self._any_address = not settings.host or (bound is not None and bound.is_unspecified)

    def check(self, scope: Scope) -> None:
        """Raises:
        ProblemError: no host, several, or another one.
        """
        given = [value for name, value in scope["headers"] if name == b"host"]
        if not given and scope["http_version"] == "1.0":
            return
        found = _HOST.fullmatch(given[0].decode("latin-1")) if len(given) == 1 else None
        if found is None:
            raise ProblemError(problems.NO_HTTP, "one `Host` is needed, and a valid one")
        if not self._open and not self._ours(_plain(found[1]), scope):
            raise ProblemError(
                problems.OTHER_HOST, f"{found[1][:80]!r} is not among the names of this service"
            )

    def _ours(self, name: str, scope: Scope) -> bool:
        address = _address(name)
        if address is None or name in self._names:
            return name in self._names
        reached = _address((scope.get("server") or ("",))[0])
        return self._any_address or address.is_loopback or address == reached


def _plain(name: str) -> str:
    return name.lower().removeprefix("[").removesuffix("]").removesuffix(".")


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(name)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
