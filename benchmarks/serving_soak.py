"""A service for ten minutes under callers of whom many hang up, and a SIGTERM at the end.

Clients in a process of their own send latents of several lengths over real sockets; at random they
close the connection in the middle of a request's head or body, or while they wait for the answer.
Some send what is poisoned. Once a second the service's memory is read. At the end the service gets
SIGTERM while the clients go on. It has to answer all that it accepted, and to exit with 0:

- no answer is cut off, wrong, or another caller's;
- a request that was sent whole before the SIGTERM is answered, always;
- one sent afterwards is answered, or its connection is refused or closed before it was read;
- resident memory does not grow after the first minute.

    python benchmarks/serving_soak.py [--minutes 10] [--clients 48] [--no-report]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import httpx2
import numpy as np
import psutil
from numpy.typing import NDArray

from reporting import table, write_section
from rjepa_adapters.remote import protocol as wire
from rjepa_adapters.world_model.inference import JepaWorldModel
from serving_load import answer, request
from serving_sides import DEFAULT, make_run, sequences

NEAR = 1e-5
# Shares of the requests: left in their head or body, left while waiting, poisoned.
LEFT_EARLY, LEFT_WAITING, POISONED = 0.05, 0.15, 0.05
# What memory may vary by after the first minute.
GROWTH = 24 * 1024**2
FLAT_AFTER = 60.0
OUTCOMES = {
    "answered": "answered, and right",
    "refused": "poisoned, and refused with 422",
    "busy": "answered 503 with Retry-After",
    "left": "left by the caller in the middle",
    "closed": "sent after SIGTERM, over a connection that was closed by then",
    "no_connection": "connections refused after SIGTERM",
}


COUNTED = (
    r'rjepa_requests_total\{path="/score",status="(\d+)"\} (\S+)',
    r'rjepa_batch_values_(sum|count)\{side="latents"\} (\S+)',
)


@attrs.define
class Tally:
    """What became of the requests of all callers."""

    counts: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(OUTCOMES, 0))
    wrong: list[str] = attrs.field(factory=list)
    largest: float = 0.0

    def add(self, outcome: str) -> None:
        self.counts[outcome] += 1


@attrs.define
class Soak:
    """The callers.

    Attributes:
        host, port: of the service.
        requests: whole requests.
        poisoned: one that is refused.
        wanted: the answers to `requests`.
        stopping: when the SIGTERM was sent, or infinity.
    """

    host: str
    port: int
    requests: list[bytes]
    poisoned: bytes
    wanted: list[NDArray[np.float32]]
    tally: Tally = attrs.field(factory=Tally)
    stopping: float = float("inf")

    async def run(self, clients: int) -> None:
        await asyncio.gather(*(self._caller(number) for number in range(clients)))

    async def _caller(self, number: int) -> None:
        """Ask until the service takes no more connections."""
        chance = random.Random(number)
        while True:
            try:
                reader, writer = await asyncio.open_connection(self.host, self.port)
            except OSError as error:
                if time.monotonic() >= self.stopping:
                    self.tally.add("no_connection")
                    return
                self.tally.wrong.append(f"no connection before SIGTERM: {error}")
                return
            try:
                while await self._once(chance, reader, writer):
                    await asyncio.sleep(chance.expovariate(20))
            finally:
                writer.transport.abort()

    async def _once(
        self, chance: random.Random, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """One request; whether the connection may be used again."""
        poisoned = chance.random() < POISONED
        number = chance.randrange(len(self.requests))
        whole = self.poisoned if poisoned else self.requests[number]
        what, sent = chance.random(), float("inf")
        try:
            if what < LEFT_EARLY:
                writer.write(whole[: chance.randrange(1, len(whole))])
                await writer.drain()
                self.tally.add("left")
                return False
            writer.write(whole)
            await writer.drain()
            sent = time.monotonic()
            if what < LEFT_EARLY + LEFT_WAITING:
                await asyncio.sleep(chance.uniform(0, 0.05))
                self.tally.add("left")
                return False
            status, body = await asyncio.wait_for(answer(reader), 60)
        except asyncio.IncompleteReadError as error:
            if error.partial or sent < self.stopping:
                self.tally.wrong.append(f"cut off after {len(error.partial)} bytes of an answer")
            else:
                self.tally.add("closed")
            return False
        except (OSError, TimeoutError) as error:
            if min(sent, time.monotonic()) < self.stopping:
                self.tally.wrong.append(f"no answer to what was sent before SIGTERM: {error!r}")
            else:
                self.tally.add("closed")
            return False
        self._judge(status, body, None if poisoned else number)
        return True

    def _judge(self, status: int, body: bytes, number: int | None) -> None:
        if status == 503:
            self.tally.add("busy")
        elif number is None:
            self.tally.add("refused")
            if status != 422:
                self.tally.wrong.append(f"a poisoned request was answered {status}")
        elif status != 200:
            self.tally.wrong.append(f"answered {status}: {body[:200]!r}")
        else:
            [found], wanted = wire.unpack_values(body)[0], self.wanted[number]
            away = float(np.abs(found - wanted).max()) if found.shape == wanted.shape else 1.0
            self.tally.largest = max(self.tally.largest, away)
            self.tally.add("answered")
            if away > NEAR:
                self.tally.wrong.append(f"an answer is {away:.3g} away, or another's")


def made_requests(model: JepaWorldModel) -> tuple[list[bytes], bytes, list[NDArray[np.float32]]]:
    """Requests, a poisoned one, and the right answers."""
    space, given = model.info.space.fingerprint, sequences(DEFAULT)
    headers = {"content-type": wire.MEDIA, "accept": wire.MEDIA}
    found = [request("/score", headers, wire.pack([one], space=space)) for one in given]
    wanted = [model.surprise([one])[0] for one in given]
    one = given[0]
    one.latents[0, 0] = np.nan
    return found, request("/score", headers, wire.pack([one], space=space)), wanted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=48)
    parser.add_argument("--no-report", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder), DEFAULT)
        model = JepaWorldModel(run, "cpu")
        words = [sys.executable, "-m", "rjepa_cli", "serve", "--world-model", run, "--port", "0"]
        process = subprocess.Popen([*words, "--device", "cpu"], stderr=subprocess.PIPE, text=True)
        try:
            text = soak(process, model, args)
        finally:
            if process.poll() is None:
                process.kill()
    if args.no_report:
        print(text)
    else:
        command = "python benchmarks/serving_soak.py"
        write_section("serving-soak", "The service for ten minutes", text, command)


def soak(process: subprocess.Popen[str], model: JepaWorldModel, args: argparse.Namespace) -> str:
    """The report; ends the benchmark where a promise is broken."""
    assert process.stderr is not None
    address = next(line for line in process.stderr if "serving http" in line).split()[-1]
    lines: list[str] = []
    reading = threading.Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True)
    reading.start()
    parts = urlsplit(address)
    assert parts.hostname is not None
    assert parts.port is not None
    callers = Soak(parts.hostname, parts.port, *made_requests(model))
    running = threading.Thread(target=lambda: asyncio.run(callers.run(args.clients)))
    running.start()
    began, watched = time.monotonic(), psutil.Process(process.pid)
    memory: list[tuple[float, int]] = []
    while (passed := time.monotonic() - began) < args.minutes * 60 and running.is_alive():
        memory.append((passed, watched.memory_info().rss))
        time.sleep(1)
    counts = metrics(address)
    callers.stopping = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code = process.wait(120)
    stopped = time.monotonic() - callers.stopping
    running.join(120)
    reading.join(10)
    if callers.tally.wrong:
        sys.exit(f"{len(callers.tally.wrong)} promises broken, first: {callers.tally.wrong[:5]}")
    if code != 0 or running.is_alive():
        sys.exit(f"the service ended with {code}; it said {lines}")
    return report(args, callers.tally, memory, counts, stopped)


def metrics(address: str) -> dict[str, float]:
    """What the service has counted, by status, and the size of its batches."""
    text = httpx2.get(f"{address}/metrics").text
    found = {}
    for line in text.splitlines():
        if (
            made := re.fullmatch(
                r'rjepa_requests_total\{path="/score",status="(\d+)"\} (\S+)', line
            )
        ) or (
            made := re.fullmatch(r'rjepa_batch_values_(sum|count)\{side="latents"\} (\S+)', line)
        ):
            found[made[1]] = float(made[2])
    return found


def report(
    args: argparse.Namespace,
    tally: Tally,
    memory: list[tuple[float, int]],
    counts: dict[str, Any],
    stopped: float,
) -> str:
    """In words; ends the benchmark where memory grew."""
    after = min(FLAT_AFTER, args.minutes * 30)
    kept = [(passed, size) for passed, size in memory if passed >= after]
    third = max(1, len(kept) // 3)
    first = float(np.median([size for _, size in kept[:third]]))
    last = float(np.median([size for _, size in kept[-third:]]))
    most = max(size for _, size in kept)
    mib = 1024**2
    if last - first > GROWTH:
        sys.exit(f"memory grew from {first / mib:.0f} to {last / mib:.0f} MiB")
    rows = [[text, f"{tally.counts[name]:,}"] for name, text in OUTCOMES.items()]
    return (
        f"{args.minutes:g} minutes, {args.clients} callers, requests of 1 to 9 steps, "
        f"{DEFAULT.text}. {LEFT_EARLY:.0%} of the requests are left in their head or "
        f"body, {LEFT_WAITING:.0%} while their caller waits, {POISONED:.0%} hold a NaN. SIGTERM "
        "comes at the end, while the callers go on.\n\n"
        + table(["requests", ""], rows)
        + f"\n\nNo answer was cut off, wrong or another caller's (largest difference to the model "
        f"called directly {tally.largest:.1e}); every request that was sent whole before the "
        f"SIGTERM was answered. The service ended {stopped:.1f} s after it, with exit code 0. It "
        f"had run {counts['sum']:,.0f} sequences in {counts['count']:,.0f} batches, and counted "
        f"{counts.get('499', 0):,.0f} callers who hung up while they waited. Resident memory after "
        f"{after:.0f} s: {first / mib:,.0f} MiB in the first third, {last / mib:,.0f} in the last, "
        f"at most {most / mib:,.0f}.\n\n"
        + json.dumps({"mib_each_minute": [round(s / mib) for p, s in memory if int(p) % 60 == 0]})
    )


if __name__ == "__main__":
    main()
