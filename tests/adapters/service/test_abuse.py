"""Callers who break, stall, flood or leave: refused in time, the others served, memory flat."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import attrs
import numpy as np
import pytest
from served_process import ServedProcess, serving
from services import client

from rjepa_adapters.remote import wire
from rjepa_adapters.remote.client import RemoteWorldModel
from rjepa_core.testing.world_model_suite import sequences

MIB = 1024**2
HEAD_SECONDS, BODY_SECONDS, CONNECTIONS = 1.0, 2.0, 40
# What a service may grow by under abuse: allocators keep some of what they once had.
GROWTH = 48 * MIB


@pytest.fixture(scope="module")
def service(trained: tuple[str, str]) -> Iterator[ServedProcess]:
    limits = {
        "header_seconds": HEAD_SECONDS,
        "body_seconds": BODY_SECONDS,
        "idle_seconds": 2,
        "connections": CONNECTIONS,
        "body_bytes": 4 * MIB,
        "pending_bytes": 16 * MIB,
    }
    words = [word for key, value in limits.items() for word in ("--set", f"service.{key}={value}")]
    with serving("--world-model", trained[1], "--device", "cpu", *words) as service:
        yield service


@pytest.fixture(autouse=True)
def others_are_served(service: ServedProcess) -> Iterator[None]:
    """All the while, a well-behaved caller gets its answers, and they are right."""
    remote = RemoteWorldModel(service.address)
    given = sequences(remote)[:1]
    wanted = remote.surprise(given)[0]
    before = service.memory()
    stop, slowest, errors = threading.Event(), [0.0], list[BaseException]()

    def ask() -> None:
        try:
            while not stop.wait(0.01):
                began = time.monotonic()
                np.testing.assert_allclose(remote.surprise(given)[0], wanted, rtol=1e-5)
                slowest[0] = max(slowest[0], time.monotonic() - began)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    yield
    time.sleep(0.1)
    stop.set()
    thread.join(30)
    remote.close()
    assert not errors, errors
    assert slowest[0] < 5
    assert service.process.poll() is None
    assert service.memory() - before < GROWTH


def connect(service: ServedProcess) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", service.port), 10)
    found.settimeout(20)
    return found


def head(length: object, media: str = "application/json") -> bytes:
    lines = f"POST /score HTTP/1.1\r\nhost: x\r\ncontent-type: {media}\r\ncontent-length: {length}"
    return lines.encode() + b"\r\n\r\n"


def answer(connection: socket.socket) -> bytes:
    """All that comes until the service closes; nothing where it was cut off."""
    found = b""
    try:
        while part := connection.recv(65536):
            found += part
    except ConnectionError:
        pass
    return found


def sent_until_cut(connection: socket.socket, part: bytes, most: int) -> int:
    """Bytes that were sent, again and again the same, when the service cut the connection."""
    sent = 0
    try:
        while sent < most:
            connection.sendall(part)
            sent += len(part)
    except ConnectionError:
        return sent
    pytest.fail(f"{sent:,} bytes were taken")


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
    lines = b"POST /score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with connect(service) as connection:
        connection.sendall(lines + b"transfer-encoding: chunked\r\n\r\n")
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
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
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
        b"POST /score HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
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
    crowd = [connect(service) for _ in range(CONNECTIONS + 10)]
    answers = []
    for connection in crowd:
        answers.append(answer(connection))
        connection.close()
    refused = [found for found in answers if found.startswith(b"HTTP/1.1 503 ")]
    assert len(refused) >= 10
    assert all(b"retry-after: " in found for found in refused)


def test_more_bytes_than_may_be_held(service: ServedProcess) -> None:
    """Five bodies of 4 MiB are announced where 16 MiB may be held."""
    crowd = [connect(service) for _ in range(5)]
    for connection in crowd:
        connection.sendall(head(4 * MIB) + b" " * 1000)
        time.sleep(0.05)
    answers = [answer(connection) for connection in crowd]
    for connection in crowd:
        connection.close()
    assert [found.split(b" ")[1] for found in answers].count(b"503") >= 1
    assert {found.split(b" ")[1] for found in answers} <= {b"503", b"408"}


def test_an_answer_that_nobody_takes(service: ServedProcess) -> None:
    """Large answers are asked for and left lying; the connection is cut."""
    remote = RemoteWorldModel(service.address)
    one = sequences(remote)[0]
    long = attrs.evolve(one, latents=np.repeat(one.latents, 40, 0))
    body = wire.pack([long] * 64, space=remote.info.space.fingerprint)
    remote.close()
    asked = b"accept: " + wire.MEDIA.encode() + b"\r\nhost"
    request = head(len(body), wire.MEDIA).replace(b"host", asked).replace(b"/score", b"/targets")
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
