"""Callers who break, stall, flood or leave: refused in time, the others served, memory flat."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

import attrs
import numpy as np
import pytest
from raw_http import (
    BODY_SECONDS,
    CONNECTIONS,
    HEAD_SECONDS,
    answer,
    chunked,
    connect,
    head,
    sent_until_cut,
)
from served_process import ServedProcess
from services import client

from rjepa_adapters.remote import protocol as wire
from rjepa_adapters.remote.client import RemoteWorldModel
from rjepa_core.testing.world_model_suite import sequences

pytestmark = pytest.mark.usefixtures("others_are_served")
MIB = 1024**2


def test_a_gigabyte_announced_is_refused_before_it_is_sent(service: ServedProcess) -> None:
    with connect(service) as connection:
        began = time.monotonic()
        connection.sendall(head(1024 * MIB))
        found = answer(connection)
        assert found.startswith(b"HTTP/1.1 413 ")
        assert b"application/problem+json" in found
        assert b"connection: close" in found
        assert time.monotonic() - began < 1


def test_a_gigabyte_in_chunks_is_cut_off(service: ServedProcess) -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with connect(service) as connection:
        connection.sendall(chunked())
        # The limit, and what lies in the sockets' buffers.
        assert sent_until_cut(connection, chunk, 1024 * MIB) < 32 * MIB


def test_a_billion_steps_are_announced(service: ServedProcess) -> None:
    header = b'{"latents":{"dtype":"F32","shape":[1000000000,32],"data_offsets":[0,128000000000]}}'
    with client(service.address) as caller:
        body = len(header).to_bytes(8, "little") + header + b"\0" * 100
        refused = caller.post("/score", content=body, headers={"content-type": wire.MEDIA})
        assert refused.status_code == 422
        header = header.replace(b"32],", b"0],").replace(b"128000000000", b"0")
        body = len(header).to_bytes(8, "little") + header
        refused = caller.post("/score", content=body, headers={"content-type": wire.MEDIA})
        assert refused.status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        b'{"space":"x",' + b",".join(b'"%d":1' % i for i in range(300_000)) + b"}",
        b'{"latents":[' + b"[]," * 1_300_000 + b"[]]}",
        b'{"latents":[' + b'"",' * 1_300_000 + b'""]}',
        b'{"latents":[[' + b"1," * 2_000_000 + b"1]]}",
        b'{"space":"' + b'\\"' * 2_000_000 + b'"}',
        b'{"latents":' + b"[" * 4_000_000,
        b'{"latents":[[1' + b"1" * 4_000_000 + b"]]}",
    ],
)
def test_bodies_that_would_take_long_to_parse(service: ServedProcess, body: bytes) -> None:
    """Each is refused in the time that it takes to arrive."""
    with client(service.address) as caller:
        for media in ("application/json", wire.MEDIA):
            prefix = b"" if media != wire.MEDIA else len(body).to_bytes(8, "little")
            began = time.monotonic()
            for _ in range(3):
                headers = {"content-type": media}
                refused = caller.post("/score", content=prefix + body, headers=headers)
                assert refused.status_code == 422, refused.text
            assert time.monotonic() - began < 3


def test_solutions_that_would_take_long_to_parse(service: ServedProcess) -> None:
    for part in (b'"",', b'"a",', b"1,", b'["",""],'):
        body = b'{"problem":"p","solutions":[' + part * (1_000_000 // len(part)) + b'""]}'
        with client(service.address) as caller:
            began = time.monotonic()
            headers = {"content-type": "application/json"}
            assert caller.post("/rank", content=body, headers=headers).status_code == 422
            assert time.monotonic() - began < 2


def test_a_head_that_does_not_end(service: ServedProcess) -> None:
    """Slowly, byte after byte; and fast, for ever."""
    slow = [connect(service) for _ in range(8)]
    began = time.monotonic()
    for connection in slow:
        connection.sendall(b"POST /score HTTP/1.1\r\nx: ")
    while time.monotonic() - began < HEAD_SECONDS * 0.8:
        for connection in slow:
            connection.sendall(b"y")
        time.sleep(0.1)
    for connection in slow:
        assert answer(connection).startswith(b"HTTP/1.1 408 ")
        connection.close()
    assert time.monotonic() - began < HEAD_SECONDS + 3
    with connect(service) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        line = b"x-header: " + b"z" * 50_000 + b"\r\n"
        assert sent_until_cut(connection, line, 64 * MIB) < 16 * MIB


def test_a_body_that_does_not_come(service: ServedProcess) -> None:
    slow = [connect(service) for _ in range(8)]
    began = time.monotonic()
    for connection in slow:
        connection.sendall(head(1000) + b"{")
    for connection in slow:
        found = answer(connection)
        assert found.startswith(b"HTTP/1.1 408 ")
        assert b"the body did not come in time" in found
        connection.close()
    assert BODY_SECONDS * 0.9 < time.monotonic() - began < BODY_SECONDS + 3


def test_silence_after_connecting_and_between_requests(service: ServedProcess) -> None:
    with connect(service) as connection:
        began = time.monotonic()
        assert answer(connection).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - began < HEAD_SECONDS + 3
    with connect(service) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        began = time.monotonic()
        assert answer(connection).startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() - began < 6


def test_half_closed_and_reset_connections(service: ServedProcess) -> None:
    for sent in (b"", b"GE", head(10), head(10) + b"{}", head(2) + b"{}"):
        with connect(service) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            began = time.monotonic()
            answer(connection)
            assert time.monotonic() - began < 3
        with connect(service) as connection:
            connection.sendall(sent)
            # A reset in place of an orderly end.
            linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
        b"HELO\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /score HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /score HTTP/1.1\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"POST /score HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /score HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /score HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ],
)
def test_what_is_no_request(service: ServedProcess, sent: bytes) -> None:
    with connect(service) as connection:
        connection.sendall(sent)
        began = time.monotonic()
        found = answer(connection)
        assert time.monotonic() - began < max(HEAD_SECONDS, BODY_SECONDS) + 3
        assert not found or found.split(b" ")[1][:1] == b"4", found[:200]


def test_more_connections_than_may_be(service: ServedProcess) -> None:
    """Those that were silent longest had to go."""
    crowd = [connect(service) for _ in range(CONNECTIONS + 10)]
    answers = []
    for connection in crowd:
        answers.append(answer(connection))
        connection.close()
    refused = [found for found in answers if found.startswith(b"HTTP/1.1 503 ")]
    assert len(refused) >= 10
    assert all(b"retry-after: " in found for found in refused)


def test_more_bytes_than_may_be_held(service: ServedProcess) -> None:
    """Five bodies of 4 MiB come, but for an end, where a client may have 8 MiB held."""
    crowd = [connect(service) for _ in range(5)]
    for connection in crowd:
        connection.sendall(head(4 * MIB))
        with suppress(ConnectionError):
            connection.sendall(b" " * (4 * MIB - 1))
        time.sleep(0.05)
    answers = [answer(connection) for connection in crowd]
    for connection in crowd:
        connection.close()
    # One that is refused while it sends may be reset before it reads why.
    assert sum(not found or found.startswith(b"HTTP/1.1 503 ") for found in answers) >= 2
    assert sum(found.startswith(b"HTTP/1.1 408 ") for found in answers) >= 1
    assert all(not found or found.split(b" ")[1] in (b"503", b"408") for found in answers)


def test_an_answer_that_nobody_takes(service: ServedProcess) -> None:
    """Large answers are asked for and left lying; the connection is cut."""
    remote = RemoteWorldModel(service.address)
    one = sequences(remote)[0]
    long = attrs.evolve(one, latents=np.repeat(one.latents, 40, 0))
    body = wire.pack([long] * 64, space=remote.info.space.fingerprint)
    remote.close()
    asked = b"accept: " + wire.MEDIA.encode() + b"\r\nhost:"
    request = head(len(body), wire.MEDIA).replace(b"host:", asked).replace(b"/score", b"/targets")
    with connect(service) as connection:
        began = time.monotonic()
        assert sent_until_cut(connection, request + body, 1024 * MIB) < 64 * MIB
        assert BODY_SECONDS * 0.9 < time.monotonic() - began < BODY_SECONDS + 15


def test_it_ends_well_after_all_that(service: ServedProcess) -> None:
    with client(service.address) as caller:
        counts = caller.get("/metrics").text
        assert 'status="500"' not in counts, service.lines
        in_flight = [
            line for line in counts.splitlines() if "in_flight " in line and "#" not in line
        ]
        # This request, and perhaps the well-behaved caller's.
        assert float(in_flight[0].split(" ")[1]) <= 2
