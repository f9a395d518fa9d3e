"""One request of a connection at a time, however they come; and connections that make room."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_http import (
    BODY_SECONDS,
    CONNECTIONS,
    HEAD_SECONDS,
    answer,
    chunked,
    connect,
    get,
    head,
    one_answer,
    ordinary,
    sent_until_cut,
)
from served_process import ServedProcess
from uvicorn.server import ServerState

from rjepa_adapters.service.connection import limited_protocol
from rjepa_adapters.service.settings import HttpSettings

MIB = 1024**2


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.closed, self.paused = b"", False, False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what was asked, after a while."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    await asyncio.sleep(0)
    told = json.dumps([scope["method"], scope["path"], body.decode()]).encode()
    fields = [(b"content-length", str(len(told)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": told})


MESSAGES = {
    get("/a"): ["GET", "/a", ""],
    b"\r\n\r\n" + get("/b", b"upgrade: h2c\r\nconnection: upgrade\r\n"): ["GET", "/b", ""],
    head(9, path="/c") + b"1\r\n\r\n2\r\n\r": ["POST", "/c", "1\r\n\r\n2\r\n\r"],
    chunked("/d") + b"5\r\na\r\n\r\n\r\n1\r\nb\r\n0\r\n\r\n": ["POST", "/d", "a\r\n\r\nb"],
    chunked("/e") + b"1\r\nb\r\n0\r\nx: y\r\n\r\n": ["POST", "/e", "b"],
    head(0, path="/f"): ["POST", "/f", ""],
    get("/h", b"x: " + b"y" * 5000 + b"\r\n"): ["GET", "/h", ""],
}


async def answers(sent: bytes, cuts: list[int], count: int) -> list[Any]:
    """What the protocol answers to bytes that come in pieces of those sizes."""
    config = uvicorn.Config(echo, log_config=None)
    config.load()
    protocol = limited_protocol(HttpSettings())(
        config, ServerState(), {}, asyncio.get_running_loop()
    )
    wire, place, turn = Wire(), 0, 0
    protocol.connection_made(wire)
    while wire.written.count(b"HTTP/1.1 200") < count or place < len(sent):
        if not wire.paused:
            size = cuts[turn % len(cuts)]
            protocol.data_received(sent[place : place + size])
            place, turn = place + size, turn + 1
        assert not protocol.pipeline
        await asyncio.sleep(0)
    protocol.connection_lost(None)
    return [json.loads(body) for body in re.findall(rb"\r\n\r\n(\[.*?\])(?=HTTP|$)", wire.written)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(list(MESSAGES)), min_size=1, max_size=6),
    st.lists(st.integers(1, 60) | st.integers(1, 9000), min_size=1, max_size=20),
)
def test_requests_are_answered_in_order_however_they_are_cut(
    messages: list[bytes], cuts: list[int]
) -> None:
    found = asyncio.run(answers(b"".join(messages), cuts, len(messages)))
    assert found == [MESSAGES[message] for message in messages]


@pytest.mark.parametrize("cut", [70_000, 256_000, 1_000_000])
def test_a_long_body_is_read_as_it_is_wanted(cut: int) -> None:
    body = "x\r\n\r\n" * 60_000
    asked = head(len(body), path="/g") + body.encode() + get("/a")
    assert asyncio.run(answers(asked, [cut], 2)) == [["POST", "/g", body], ["GET", "/a", ""]]


@pytest.mark.usefixtures("others_are_served")
class TestAbuse:
    """Of a service in a process of its own."""

    def test_thousands_of_requests_at_once_and_no_answer_is_taken(
        self, service: ServedProcess
    ) -> None:
        with ordinary(service, get("/health")), connect(service) as connection:
            began = time.monotonic()
            asked = get("/page/app.js") * 14_000
            assert sent_until_cut(connection, asked, 512 * MIB) < 32 * MIB
            assert time.monotonic() - began > BODY_SECONDS * 0.9

    def test_many_requests_sent_ahead_are_all_answered(self, service: ServedProcess) -> None:
        with connect(service) as connection:
            asked = (get("/health") + head(2) + b"{}" + get("/nothing")) * 300
            threading.Thread(target=connection.sendall, args=(asked,)).start()
            for _ in range(300):
                assert [one_answer(connection)[0] for _ in range(3)] == [200, 422, 404]

    def test_a_crowd_of_idle_connections_makes_room(self, service: ServedProcess) -> None:
        crowd = []
        with ordinary(service, get("/health")):
            for _ in range(2 * CONNECTIONS):
                crowd.append(connect(service))
                crowd[-1].sendall(get("/health"))
                assert one_answer(crowd[-1])[0] == 200
        ended = [answer(connection) for connection in crowd]
        # An answer that nobody asked for would be taken for that to the next request.
        assert set(ended) == {b""}

    @pytest.mark.parametrize("begun", [b"GET / HTTP/1.1\r\nx: ", head(1000) + b"{", head(9)])
    def test_a_crowd_that_is_waited_for_makes_room(
        self, service: ServedProcess, begun: bytes
    ) -> None:
        """A client's share is half of the connections; the last ones are open, the first ended."""
        crowd = []
        with ordinary(service, get("/health")):
            for _ in range(2 * CONNECTIONS):
                crowd.append(connect(service))
                crowd[-1].sendall(begun)
            time.sleep(0.1)
        assert answer(crowd[0]).startswith(b"HTTP/1.1 503 ")
        for connection in crowd:
            connection.close()

    def test_one_client_s_crowd_does_not_end_another_s_connection(
        self, service: ServedProcess
    ) -> None:
        with connect(service) as connection:
            connection.sendall(get("/health"))
            assert one_answer(connection)[0] == 200
            crowd = [connect(service, "127.0.0.2") for _ in range(2 * CONNECTIONS)]
            time.sleep(0.1)
            connection.sendall(get("/health"))
            assert one_answer(connection)[0] == 200
            for other in crowd:
                other.close()

    def test_large_bodies_that_do_not_end_make_room(self, service: ServedProcess) -> None:
        """They hold a client's whole share; a smaller body comes through."""
        crowd = [connect(service) for _ in range(3)]
        for connection in crowd:
            connection.sendall(head(4 * MIB) + b" " * (5 * MIB // 2))
        time.sleep(0.2)
        with connect(service) as connection:
            connection.sendall(head(MIB) + b" " * MIB)
            assert one_answer(connection)[0] == 422
        found = [answer(connection)[:13] for connection in crowd]
        assert sorted(found) == [b"HTTP/1.1 408 "] * 2 + [b"HTTP/1.1 503 "]
        for connection in crowd:
            connection.close()

    def test_an_answer_that_is_taken_too_slowly(self, service: ServedProcess) -> None:
        """A bit of it now and then does not count."""
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", service.port))
            connection.sendall(get("/page/app.js") * 1000)
            began = time.monotonic()
            while time.monotonic() - began < BODY_SECONDS + 10:
                time.sleep(0.1)
                try:
                    assert connection.recv(100)
                    connection.send(b"G")
                except ConnectionError:
                    break
            assert BODY_SECONDS * 0.9 < time.monotonic() - began < BODY_SECONDS + 8

    @pytest.mark.parametrize(
        ("path", "fields"), [("/health", b"a: b\r\n" * 200), ("/score", b"a:b\r\n" * 12_000)]
    )
    def test_too_many_fields(self, service: ServedProcess, path: str, fields: bytes) -> None:
        with connect(service) as connection:
            connection.sendall(get(path, fields))
            assert answer(connection).startswith(b"HTTP/1.1 431 ")

    @pytest.mark.parametrize("begun", [b"1;", b"1\r\n{\r\n0\r\nx: ", b"1\r\n{\r\n0\r\nx"])
    def test_what_stands_beside_a_body_without_end(
        self, service: ServedProcess, begun: bytes
    ) -> None:
        with connect(service) as connection:
            connection.sendall(chunked() + begun)
            assert sent_until_cut(connection, b"y" * 60_000, 64 * MIB) < 16 * MIB

    def test_a_body_in_tiny_chunks(self, service: ServedProcess) -> None:
        with ordinary(service, get("/health")):
            with connect(service) as connection:
                connection.sendall(chunked() + b"1\r\n \r\n" * 5000 + b"0\r\n\r\n")
                assert one_answer(connection)[0] == 422
            crowd = [connect(service) for _ in range(8)]
            for connection in crowd:
                connection.sendall(chunked())
                assert sent_until_cut(connection, b"1\r\n \r\n" * 1000, 64 * MIB) < 16 * MIB
                connection.close()

    def test_no_other_protocol_is_spoken(self, service: ServedProcess) -> None:
        """Who asks for one goes on in HTTP/1.1, with its body; a tunnel is refused."""
        h2c = b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: \r\n"
        with connect(service) as connection:
            asked = head(2).replace(b"content-type", h2c + b"content-type")
            connection.sendall(asked + b"{}" + get("/health", h2c))
            status, body = one_answer(connection)
            assert status == 422
            assert b"Field required" in body
            assert one_answer(connection)[0] == 200
            connection.sendall(get("/health", b"upgrade: websocket\r\nconnection: upgrade\r\n"))
            assert one_answer(connection)[0] == 200
            connection.sendall(get("example.org:80", method="CONNECT"))
            assert answer(connection).startswith(b"HTTP/1.1 400 ")

    def test_an_old_client_and_one_that_waits_to_send(self, service: ServedProcess) -> None:
        with connect(service) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            found = answer(connection)
            assert found.startswith(b"HTTP/1.1 200 ")
            assert b"connection: close" in found
        expect = b"expect: 100-continue\r\ncontent-type"
        with connect(service) as connection:
            connection.sendall(head(2).replace(b"content-type", expect))
            assert one_answer(connection) == (100, b"")
            connection.sendall(b"{}")
            assert one_answer(connection)[0] == 422
        for refused, status in ((head(2, "text/plain"), b"415"), (head(1024 * MIB), b"413")):
            with connect(service) as connection:
                connection.sendall(refused.replace(b"content-type", expect))
                assert answer(connection).startswith(b"HTTP/1.1 " + status)

    def test_a_flood_of_connections(self, service: ServedProcess) -> None:
        with ordinary(service, get("/health")):
            until = time.monotonic() + HEAD_SECONDS
            while time.monotonic() < until:
                connect(service).close()
