"""Names by which the service may be asked for."""

from __future__ import annotations

from typing import Any

import pytest

from rjepa_adapters.service.edge import Hosts
from rjepa_adapters.service.problem_details import ProblemError
from rjepa_adapters.service.settings import HttpSettings


def refused(
    hosts: Hosts, *given: str, version: str = "1.1", reached: str = "127.0.0.1"
) -> int | None:
    """The status that a request with these `Host` fields gets; None if it may pass."""
    scope: dict[str, Any] = {
        "headers": [(b"host", one.encode("latin-1")) for one in given],
        "http_version": version,
        "server": (reached, 8100),
    }
    try:
        hosts.check(scope)
    except ProblemError as error:
        return error.kind.status
    return None


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8100",
        "LocalHost:1",
        "localhost.:8100",
        "127.0.0.1",
        "127.0.0.1:8100",
        "127.8.9.1",
        "[::1]",
        "[::1]:8100",
        "[::ffff:127.0.0.1]:8100",
    ],
)
def test_this_machine_s_names(host: str) -> None:
    assert refused(Hosts(HttpSettings(), open_to_all=False), host) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8100",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil-localhost",
        "0.0.0.0:8100",
        "192.0.2.1",
        "[2001:db8::1]:8100",
        "2130706433",
        "",
        ":8100",
    ],
)
def test_other_names(host: str) -> None:
    assert refused(Hosts(HttpSettings(), open_to_all=False), host) == 421
    assert refused(Hosts(HttpSettings(), open_to_all=True), host) is None


@pytest.mark.parametrize(
    "given",
    [
        (),
        ("localhost", "localhost"),
        ("localhost", "evil.example"),
        ("user@localhost",),
        ("localhost/evil.example",),
        ("localhost, evil.example",),
        ("local host",),
        ("localhost:port",),
        ("localhost\\evil.example",),
        ("[localhost]",),
    ],
)
def test_no_host_several_and_what_is_none(given: tuple[str, ...]) -> None:
    for open_to_all in (False, True):
        assert refused(Hosts(HttpSettings(), open_to_all), *given) == 400


def test_before_http_1_1_no_host_is_needed() -> None:
    hosts = Hosts(HttpSettings(), open_to_all=False)
    assert refused(hosts, version="1.0") is None
    assert refused(hosts, "evil.example", version="1.0") == 421


def test_the_names_of_the_settings() -> None:
    settings = HttpSettings(host="rjepa.example", names=("Proxy.example", "10.0.0.9"))
    hosts = Hosts(settings, open_to_all=False)
    for host in ("rjepa.example:8100", "proxy.example", "localhost", "192.0.2.7", "10.0.0.9"):
        assert refused(hosts, host, reached="192.0.2.7") is None, host
    for host in ("evil.example", "192.0.2.8", "example"):
        assert refused(hosts, host, reached="192.0.2.7") == 421, host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_what_listens_everywhere_takes_addresses_and_no_unknown_names(host: str) -> None:
    """An address cannot be made to lead elsewhere."""
    hosts = Hosts(HttpSettings(host=host, names="gpu-box"), open_to_all=False)
    for name in ("192.0.2.1:8100", "[2001:db8::1]:8100", "localhost", "gpu-box:8100"):
        assert refused(hosts, name, reached="172.17.0.2") is None, name
    assert refused(hosts, "evil.example:8100", reached="172.17.0.2") == 421
