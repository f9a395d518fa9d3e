"""Settings of the HTTP service: where it listens, how it batches, what it takes."""

from __future__ import annotations

import re
from typing import Any

import attrs
from attrs import validators as v

MIB = 1024**2


def _several(value: Any) -> Any:
    """One name alone stands for a tuple of one."""
    return (value,) if isinstance(value, str) else tuple(value)


def _names(_: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for name in value:
        if not isinstance(name, str) or not re.fullmatch(r"[^\s/:@]+|\[?[\da-fA-F:.]+\]?", name):
            raise ValueError(f"{attribute.name} must be names without http:// and port, got {name}")


def _whole(least: int) -> Any:
    return v.and_(v.instance_of(int), v.ge(least))


@attrs.frozen(kw_only=True)
class HttpSettings:
    """The HTTP service.

    Attributes:
        host: address to listen on; only this machine reaches the default.
        port: to listen on; 0 takes a free one.
        names: further names by which callers may ask for it where no token is set, as a proxy or
            DNS has them; localhost and `host` always serve.
        token_file: file with a token that callers must send as `Authorization: Bearer …`; the
            environment variable RJEPA_TOKEN serves, too.
        batch_tokens: most tokens of one forward pass of the world model: S × (S + 1) for a trace of
            S steps of which each is left out once, S + 1 otherwise.
        batch_wait_ms: longest that the first request of a batch waits for company, where the batch
            before it had any; who comes alone never waits.
        queue: most sequences that wait; more are answered 503.
        text_queue: most texts that wait for the LLM; more are answered 503.
        batch_texts: most texts that the LLM is given at once.
        body_bytes: largest body of a request.
        pending_bytes: of bodies held at a time, all callers' together, and of answers that wait to
            be taken; more are answered 503.
        steps: most steps of a sequence.
        sequences: most sequences of a request, solutions of `/rank` among them.
        characters: longest problem, and longest solution.
        request_characters: of all texts that a request has the LLM read, the problem counted with
            each solution.
        header_seconds: in which a request's head must have come.
        body_seconds: in which a request's body must have come, and an answer been taken.
        answer_seconds: in which a request must be answered once it is read.
        idle_seconds: after which an idle connection is closed.
        connections: open at a time. For one more, whoever has been waited for longest is cut off;
            where all are being answered, it gets 503.
        client_share: of connections and bytes, what one address may take; 1.0 where all callers
            come through one proxy.
        stop_seconds: for which what was accepted is finished after SIGTERM.
    """

    host: str = "127.0.0.1"
    port: int = attrs.field(default=8100, validator=v.and_(_whole(0), v.le(65535)))
    names: tuple[str, ...] = attrs.field(default=(), converter=_several, validator=_names)
    token_file: str | None = None
    batch_tokens: int = attrs.field(default=4096, validator=_whole(1))
    batch_wait_ms: float = attrs.field(default=2.0, validator=v.ge(0.0))
    queue: int = attrs.field(default=1024, validator=_whole(1))
    text_queue: int = attrs.field(default=128, validator=_whole(1))
    batch_texts: int = attrs.field(default=16, validator=_whole(1))
    body_bytes: int = attrs.field(default=16 * MIB, validator=_whole(1024))
    pending_bytes: int = attrs.field(default=256 * MIB, validator=_whole(1024))
    steps: int = attrs.field(default=128, validator=_whole(1))
    sequences: int = attrs.field(default=64, validator=_whole(1))
    characters: int = attrs.field(default=20_000, validator=_whole(1))
    request_characters: int = attrs.field(default=100_000, validator=_whole(1))
    header_seconds: float = attrs.field(default=10.0, validator=v.gt(0.0))
    body_seconds: float = attrs.field(default=30.0, validator=v.gt(0.0))
    answer_seconds: float = attrs.field(default=60.0, validator=v.gt(0.0))
    idle_seconds: float = attrs.field(default=30.0, validator=v.gt(0.0))
    connections: int = attrs.field(default=512, validator=_whole(1))
    client_share: float = attrs.field(default=0.5, validator=v.and_(v.gt(0.0), v.le(1.0)))
    stop_seconds: float = attrs.field(default=60.0, validator=v.gt(0.0))
