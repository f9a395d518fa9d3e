"""HTTP by hand, for callers that no client library would be."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from served_process import ServedProcess

# Limits of the service that is abused.
HEAD_SECONDS, BODY_SECONDS, CONNECTIONS = 1.0, 2.0, 40
HOST = b"host: localhost\r\n"


def connect(service: ServedProcess, source: str = "") -> socket.socket:
    found = socket.create_connection(("127.0.0.1", service.port), 10, (source, 0))
    found.settimeout(20)
    return found


def get(path: str, fields: bytes = b"", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\n".encode() + HOST + fields + b"\r\n"


def head(length: object, media: str = "application/json", path: str = "/score") -> bytes:
    fields = f"content-type: {media}\r\ncontent-length: {length}\r\n"
    return get(path, fields.encode(), "POST")


def chunked(path: str = "/score") -> bytes:
    fields = b"content-type: application/json\r\ntransfer-encoding: chunked\r\n"
    return get(path, fields, "POST")


def answer(connection: socket.socket) -> bytes:
    """All that comes until the service closes; nothing where it was cut off."""
    found = b""
    with suppress(ConnectionError):
        while part := connection.recv(65536):
            found += part
    return found


def one_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of the next answer, while the connection stays open."""
    found = b""
    while b"\r\n\r\n" not in found:
        part = connection.recv(1)
        if not part:
            raise ConnectionError("closed")
        found += part
    length = re.search(rb"content-length: (\d+)", found)
    left = int(length[1]) if length else 0
    body = b""
    while len(body) < left:
        body += connection.recv(left - len(body))
    return int(found[9:12]), body


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


@contextmanager
def ordinary(service: ServedProcess, request: bytes, most: float = 2.0) -> Iterator[list[float]]:
    """A caller with a new connection for every request, all of them answered with 200, and in time.

    Args:
        service: that is asked, all the while.
        request: to be asked.
        most: seconds for all but one in a hundred; seconds, as a test's machine may be busy.
    """
    stop, seconds, errors = threading.Event(), list[float](), list[object]()

    def ask() -> None:
        while not stop.wait(0.01):
            began = time.monotonic()
            try:
                with connect(service) as connection:
                    connection.sendall(request)
                    status, body = one_answer(connection)
            except OSError as error:
                errors.append(error)
                continue
            seconds.append(time.monotonic() - began)
            if status != 200:
                errors.append((status, body))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seconds
    finally:
        time.sleep(0.3)
        stop.set()
        thread.join(30)
    assert not errors, errors[:3]
    assert sorted(seconds)[int(len(seconds) * 0.99)] < most, sorted(seconds)[-5:]
