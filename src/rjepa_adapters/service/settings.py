"""Settings of the HTTP service: its address, its batching and its limits."""

from __future__ import annotations

import re
from typing import Any

import attrs
from attrs import validators as v

MIB = 1024**2


def _to_tuple(value: Any) -> Any:
    """Return a tuple; a single name becomes a tuple of one."""
    return (value,) if isinstance(value, str) else tuple(value)


def _check_names(_: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for name in value:
        if not isinstance(name, str) or not re.fullmatch(r"[^\s/:@]+|\[?[\da-fA-F:.]+\]?", name):
            raise ValueError(f"{attribute.name} must be names without http:// and port, got {name}")


def _integer(least: int) -> Any:
    return v.and_(v.instance_of(int), v.ge(least))


@attrs.frozen(kw_only=True)
class HttpSettings:
    """Settings of the HTTP service.

    Attributes:
        host: address to listen on; the default is reachable from this machine only.
        port: to listen on; 0 chooses a free one.
        names: further host names that callers may use if no token is set, such as those of a proxy
            or DNS; localhost and `host` are always allowed.
        token_file: file with a token that callers must send as `Authorization: Bearer …`; the
            environment variable RJEPA_TOKEN serves too.
        batch_tokens: most tokens per forward pass of the world model: S × (S + 1) for a trace of S
            steps if each is left out once, S + 1 otherwise.
        batch_wait_ms: longest time that the first request of a batch waits for more, if the last
            batch held several; a lone request never waits.
        queue: most sequences that may wait; more are answered with 503.
        text_queue: most texts that may wait for the LLM; more are answered with 503.
        batch_texts: most texts that the LLM is given at once.
        body_bytes: largest body of a request.
        pending_bytes: most bytes held at a time, over all callers, of request bodies and, counted
            apart, of answers that are not yet received; more are answered with 503.
        steps: most steps of a sequence.
        sequences: most sequences, or solutions of `/rank`, in a request.
        characters: most characters of a problem, and of a solution.
        request_characters: most characters of all texts in a request, the problem counted with
            each solution.
        header_seconds: time limit for receiving a request's head.
        body_seconds: time limit for receiving a request's body, and for sending an answer.
        answer_seconds: time limit for answering a request once it is read.
        idle_seconds: time after which an idle connection is closed.
        connections: most open connections. For one more, the one whose caller has been silent
            longest is closed; if all are being answered, the new one gets 503.
        client_share: share of connections and bytes that one address may take; use 1.0 if all
            callers come through one proxy.
        stop_seconds: time to finish accepted requests after SIGTERM.
    """

    host: str = "127.0.0.1"
    port: int = attrs.field(default=8100, validator=v.and_(_integer(0), v.le(65535)))
    names: tuple[str, ...] = attrs.field(default=(), converter=_to_tuple, validator=_check_names)
    token_file: str | None = None
    batch_tokens: int = attrs.field(default=4096, validator=_integer(1))
    batch_wait_ms: float = attrs.field(default=2.0, validator=v.ge(0.0))
    queue: int = attrs.field(default=1024, validator=_integer(1))
    text_queue: int = attrs.field(default=128, validator=_integer(1))
    batch_texts: int = attrs.field(default=16, validator=_integer(1))
    body_bytes: int = attrs.field(default=16 * MIB, validator=_integer(1024))
    pending_bytes: int = attrs.field(default=256 * MIB, validator=_integer(1024))
    steps: int = attrs.field(default=128, validator=_integer(1))
    sequences: int = attrs.field(default=64, validator=_integer(1))
    characters: int = attrs.field(default=20_000, validator=_integer(1))
    request_characters: int = attrs.field(default=100_000, validator=_integer(1))
    header_seconds: float = attrs.field(default=10.0, validator=v.gt(0.0))
    body_seconds: float = attrs.field(default=30.0, validator=v.gt(0.0))
    answer_seconds: float = attrs.field(default=60.0, validator=v.gt(0.0))
    idle_seconds: float = attrs.field(default=30.0, validator=v.gt(0.0))
    connections: int = attrs.field(default=512, validator=_integer(1))
    client_share: float = attrs.field(default=0.5, validator=v.and_(v.gt(0.0), v.le(1.0)))
    stop_seconds: float = attrs.field(default=60.0, validator=v.gt(0.0))
