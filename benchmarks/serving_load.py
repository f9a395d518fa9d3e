"""Many callers at once, over real sockets: the load of `serving.py`, in a process of its own.

Reads one JSON object from stdin: address, path, bodies (a file that `numpy.savez` wrote: `body_0`,
`body_1`, …), headers, clients, seconds. Each caller keeps one connection and sends one request
after the other, of the bodies in an order of its own. Answers are kept as they came and written to
`out` with the numbers of their bodies; a line of JSON on stdout has the times.

    python benchmarks/serving_load.py < asked.json
"""

from __future__ import annotations

import asyncio
import json
import pickle
import random
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np


class Caller:
    """One connection."""

    def __init__(self, asked: dict[str, Any], requests: list[bytes], number: int) -> None:
        self._asked, self._requests = asked, requests
        self._random = random.Random(number)
        self.seconds: list[float] = []
        self.answers: list[tuple[int, int, bytes]] = []

    async def run(self, until: float) -> None:
        """Ask until that time."""
        parts = urlsplit(self._asked["address"])
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            while time.perf_counter() < until:
                number = self._random.randrange(len(self._requests))
                began = time.perf_counter()
                writer.write(self._requests[number])
                await writer.drain()
                status, body = await answer(reader)
                self.seconds.append(time.perf_counter() - began)
                self.answers.append((number, status, body))
        finally:
            writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of an answer that tells its length."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(one[15:]) for one in lines if one.startswith(b"content-length:"))
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)


def request(path: str, headers: dict[str, str], body: bytes) -> bytes:
    """The whole request, made once."""
    lines = [f"POST {path} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def load(asked: dict[str, Any]) -> dict[str, Any]:
    with np.load(asked["bodies"]) as kept:
        bodies = [kept[f"body_{i}"].tobytes() for i in range(len(kept.files))]
    requests = [request(asked["path"], asked["headers"], body) for body in bodies]
    callers = [Caller(asked, requests, i) for i in range(asked["clients"])]
    began = time.perf_counter()
    await asyncio.gather(*(one.run(began + asked["seconds"]) for one in callers))
    wall = time.perf_counter() - began
    seconds = np.array([value for one in callers for value in one.seconds])
    answers = [kept for one in callers for kept in one.answers]
    with Path(asked["out"]).open("wb") as file:
        pickle.dump(answers, file)
    return {
        "requests": len(seconds),
        "rate": len(seconds) / wall,
        "p50": float(np.quantile(seconds, 0.5)),
        "p99": float(np.quantile(seconds, 0.99)),
    }


def main() -> None:
    try:
        import uvloop
    except ModuleNotFoundError:
        run = asyncio.run
    else:
        run = uvloop.run
    print(json.dumps(run(load(json.load(sys.stdin)))))


if __name__ == "__main__":
    main()
