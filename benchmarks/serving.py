"""The service under load: batching against one request, one forward; bytes against JSON.

Two services run in processes of their own, the same but for the batching: one runs what comes
together in one forward, the other each request alone, which is the original's way. A third process
is the load: 64 callers, each with a connection of its own. The four sides (batched or alone, bytes
or JSON) take turns, in an order that rotates from round to round. Every answer is compared with the
model called directly, so that none may be wrong, or another caller's.

    python benchmarks/serving.py [--shape small|large] [--rounds 5] [--seconds 8] [--no-report]
"""

from __future__ import annotations

import argparse
import json
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reporting import table, write_section
from rjepa_adapters.remote import protocol as wire
from rjepa_adapters.world_model.inference import JepaWorldModel
from rjepa_core.ports.world_model import Context, LatentSequence
from serving_sides import (
    ALONE,
    BATCHED,
    BODIES,
    BYTES,
    JSON,
    SHAPES,
    bodies,
    make_run,
    sequences,
    service,
)

LOAD = Path(__file__).with_name("serving_load.py")
NEAR = 1e-5
SIDES = [(BATCHED, BYTES), (ALONE, BYTES), (BATCHED, JSON), (ALONE, JSON)]


def ask(address: str, kept: Path, body: str, clients: int, seconds: float) -> dict[str, Any]:
    """One turn of the load; its figures and its answers."""
    media = wire.MEDIA if body == BYTES else "application/json"
    out = kept.with_name("answers")
    asked = {
        "address": address,
        "path": "/score",
        "bodies": str(kept),
        "headers": {"content-type": media, "accept": media},
        "clients": clients,
        "seconds": seconds,
        "out": str(out),
    }
    done = subprocess.run(
        [sys.executable, str(LOAD)], input=json.dumps(asked), capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"the load broke:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    with out.open("rb") as file:
        found["answers"] = pickle.load(file)
    return found


def check(
    answers: list[tuple[int, int, bytes]], body: str, wanted: list[NDArray[np.float32]]
) -> float:
    """Ends the benchmark where an answer is an error, wrong, or of another body; the largest
    difference."""
    largest = 0.0
    for number, status, content in answers:
        if status != 200:
            sys.exit(f"an answer with status {status}: {content[:200]!r}")
        if body == BYTES:
            [found] = wire.unpack_values(content)[0]
        else:
            found = np.array(json.loads(content)["steps"], np.float32)
        if found.shape != wanted[number].shape:
            sys.exit(f"an answer of {len(found)} steps to {len(wanted[number])}: swapped")
        away = float(np.abs(found - wanted[number]).max())
        if away > NEAR:
            sys.exit(f"an answer is {away:.3g} away from the model called directly")
        if (np.argsort(found) != np.argsort(wanted[number])).any():
            sys.exit("an answer has its steps in another order than the model called directly")
        largest = max(largest, away)
    return largest


def arithmetic(
    model: JepaWorldModel, given: list[LatentSequence], context: Context, seconds: float
) -> tuple[float, float]:
    """Sequences a second of the model itself, without any service: alone, and 64 at once."""
    rates = []
    for size in (1, 64):
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            first = count % len(given)
            count += len(model.surprise(given[first : first + size], context))
        rates.append(count / (time.perf_counter() - began))
    return rates[0], rates[1]


def apart(wanted: list[NDArray[np.float32]]) -> float:
    """How far the answers to different bodies of one length are from each other, at least."""
    pairs = [
        float(np.abs(a - b).max())
        for i, a in enumerate(wanted)
        for b in wanted[:i]
        if a.shape == b.shape
    ]
    return min(pairs)


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    low, high = format(min(values), form), format(max(values), form)
    return f"{format(statistics.median(values), form)} ({low}–{high})"


def ratio(a: Sequence[float], b: Sequence[float]) -> str:
    return spread([x / y for x, y in zip(a, b, strict=True)], ".2f")


def measure(name: str, args: argparse.Namespace) -> str:
    shape = SHAPES[name]
    given = sequences(shape)
    rounds: dict[tuple[str, str], list[dict[str, Any]]] = {side: [] for side in SIDES}
    largest = 0.0
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder)
        run = make_run(home, shape)
        model = JepaWorldModel(run, "cpu")
        wanted = [model.surprise([one], shape.context)[0] for one in given]
        if apart(wanted) < 10 * NEAR:
            sys.exit("two bodies have the same answer; a swapped one would not be seen")
        alone, together = arithmetic(model, given, shape.context, min(5.0, args.seconds))
        kept = {}
        for body in (BYTES, JSON):
            made = bodies(given, model.info.space.fingerprint, shape, body)
            kept[body] = home / body / "bodies.npz"
            kept[body].parent.mkdir()
            arrays = {f"body_{i}": np.frombuffer(one, np.uint8) for i, one in enumerate(made)}
            np.savez(kept[body], **arrays)
        sizes = {b: sum(len(one) for one in bodies(given, "", shape, b)) for b in (BYTES, JSON)}
        addresses = {
            batching: stack.enter_context(service(run, "cpu", batching))
            for batching in (BATCHED, ALONE)
        }
        for side in SIDES:
            ask(addresses[side[0]], kept[side[1]], side[1], args.clients, 1.0)
        for round_ in range(args.rounds):
            for turn in range(len(SIDES)):
                side = SIDES[(turn + round_) % len(SIDES)]
                found = ask(addresses[side[0]], kept[side[1]], side[1], args.clients, args.seconds)
                largest = max(largest, check(found.pop("answers"), side[1], wanted))
                rounds[side].append(found)
                print(
                    f"{name}, round {round_ + 1}: {side[0]}, {side[1]}: {found['rate']:.0f}/s, "
                    f"p50 {1000 * found['p50']:.0f} ms, p99 {1000 * found['p99']:.0f} ms",
                    file=sys.stderr,
                )
    rows = []
    for side in SIDES:
        found = rounds[side]
        rows.append(
            [
                ", ".join(side),
                spread([one["rate"] for one in found]),
                spread([1000 * one["p50"] for one in found]),
                spread([1000 * one["p99"] for one in found]),
            ]
        )

    def rate(*side: str) -> list[float]:
        return [one["rate"] for one in rounds[side]]  # type: ignore[index]

    def late(*side: str) -> list[float]:
        return [one["p99"] for one in rounds[side]]  # type: ignore[index]

    compared = [
        ("batching, bodies in bytes", (BATCHED, BYTES), (ALONE, BYTES)),
        ("batching, bodies in JSON", (BATCHED, JSON), (ALONE, JSON)),
        ("bytes against JSON, batched", (BATCHED, BYTES), (BATCHED, JSON)),
        ("bytes against JSON, alone", (ALONE, BYTES), (ALONE, JSON)),
        ("both", (BATCHED, BYTES), (ALONE, JSON)),
    ]
    ratios = [
        [text, ratio(rate(*a), rate(*b)), ratio(late(*a), late(*b))] for text, a, b in compared
    ]
    total = sum(one["requests"] for found in rounds.values() for one in found)
    best = statistics.median(rate(BATCHED, BYTES))
    return (
        f"**{name.capitalize()}**: {shape.text}. {args.clients} callers over loopback, "
        f"{args.rounds} rounds of {args.seconds:g} s a side in turn; median (smallest–largest). A "
        f"body is {sizes[BYTES] / BODIES / 1024:,.0f} KiB in bytes and "
        f"{sizes[JSON] / BODIES / 1024:,.0f} KiB in JSON on average.\n\n"
        + table(["side", "requests/s", "p50, ms", "p99, ms"], rows)
        + "\n\n"
        + table(["ratio", "requests/s", "p99"], ratios)
        + f"\n\nAll {total:,} answers are the model's own, called directly with the one sequence: "
        f"largest difference {largest:.1e}, steps in the same order, no error. The model itself, "
        f"without any service, does {alone:,.0f} sequences/s one by one and {together:,.0f} in "
        f"batches of 64; batched and in bytes the service reaches {best / together:.0%} of the "
        f"latter, and the callers need processor time, too."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=[*SHAPES, "both"], default="both")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--no-report", action="store_true")
    args = parser.parse_args()
    names = list(SHAPES) if args.shape == "both" else [args.shape]
    text = "\n\n".join(measure(name, args) for name in names)
    if args.no_report:
        print(text)
        return
    write_section("serving", "The service under load", text, "python benchmarks/serving.py")


if __name__ == "__main__":
    main()
