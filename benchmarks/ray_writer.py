"""Where the one writer of a Ray extraction becomes the limit, from what a record costs it.

    python benchmarks/ray_writer.py

Needs rjepa-ray. The seeded backend makes records of the shape of an 8-billion-parameter model's
(one layer, hidden size 4,096, some 8 steps, float16) as fast as it can. What counts is the driver:
its processor time for taking a record in, and the time in which it writes and commits. Both
together are the least time between two records, however many workers there are.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from reporting import table, write_section
from rjepa_core import open_store
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.problem import Problem
from rjepa_core.domain.trace import Failure, Work
from rjepa_core.extraction import Pending, identity_of
from rjepa_core.plugins import ExecutorAdapter, Registry
from rjepa_core.ports.executor import Executor, Watch
from rjepa_core.ports.store import LatentStore
from rjepa_core.settings import AdapterSettings, ExtractionSettings

WIDTH, MOST_STEPS = 4096, 15
# Problems a second of one worker, and where the figure is from.
SPEEDS = (
    (1 / 5.67, "Qwen3-8B AWQ, RTX 4090, batches of 8: the original project's audit"),
    (1.0, "SmolLM2-135M on two cores, roughly"),
    (10.0, "assumed: an engine that keeps 64 rows busy at 3,000 token/s"),
    (100.0, "assumed: given solutions, only encoded"),
)


class Timed:
    """A store, and the time that goes into it."""

    def __init__(self, store: LatentStore) -> None:
        self._store = store
        self.wall = self.cpu = 0.0

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        self._store.write(records, failures)
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu

    def commit(self) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        self._store.commit()
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-report", action="store_true")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    settings = ExtractionSettings(
        model="writer",
        store="lmdb:-",
        backend=AdapterSettings(
            name="seeded", options={"hidden_size": WIDTH, "max_steps": MOST_STEPS}
        ),
        scheduler=AdapterSettings(name="fixed", options={"batch_size": 32}),
    )
    registry = Registry()
    adapter = registry.find(ExecutorAdapter, "ray")
    options = adapter.configure({"workers": args.workers, "cpus": 1}, "executor")
    executor = adapter.create(settings, registry, options)
    work = [
        Work(Problem(f"w{i:05}", f"How much is {i} times {i + 1}?")) for i in range(args.problems)
    ]
    try:
        once(executor, settings, work[:64])
        rounds = [once(executor, settings, work) for _ in range(args.rounds)]
    finally:
        executor.close()
    text = report(args, rounds)
    if args.no_report:
        print(text)
        return
    write_section(
        "ray writer",
        "Ray: where the one writer is the limit",
        text,
        "python benchmarks/ray_writer.py",
    )


def once(
    executor: Executor, settings: ExtractionSettings, work: list[Work]
) -> tuple[float, float, float, float]:
    """Seconds a record of taking in (processor) and of writing (wall), bytes and steps a record."""
    identity = identity_of(settings, executor.info)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "store", "write")
        try:
            store.begin(identity)
            sink, began = Timed(store), time.process_time()
            executor.run(identity.space.layers, Pending(work), len(work), sink, Watch())
            taking = time.process_time() - began - sink.cpu
            stats = store.stats()
        finally:
            store.close()
    n = stats.records
    return taking / n, sink.wall / n, stats.bytes_on_disk / n, stats.steps / n


def report(args: argparse.Namespace, rounds: list[tuple[float, float, float, float]]) -> str:
    taking, writing, size, steps = (
        statistics.median(column) for column in zip(*rounds, strict=True)
    )
    limits = sorted(1 / (one[0] + one[1]) for one in rounds)
    limit = 1 / (taking + writing)
    vectors = (steps + 1) * limit
    rows = [
        (f"{round(speed, 2):g}", f"{math.floor(limit / speed):,}", source)
        for speed, source in SPEEDS
    ]
    return (
        f"A record of {steps:.1f} steps and its prompt, {WIDTH:,} wide in float16, is "
        f"{size / 1000:.0f} kB in the store. The driver spends {taking * 1e3:.2f} ms of processor "
        f"time on taking it in and {writing * 1e3:.2f} ms on writing and committing it: the one "
        f"writer is the limit at {limit:,.0f} records/s ({limits[0]:,.0f} to {limits[-1]:,.0f} in "
        f"{args.rounds} rounds of {args.problems:,}), which is {vectors:,.0f} vectors/s × "
        f"{2 * WIDTH:,} bytes, {limit * size / 1e6:,.0f} MB/s with texts and ids. So many workers "
        "reach it:\n\n"
        + table(("problems/s of a worker", "workers at the limit", "such a worker is"), rows)
        + "\n\nWith several layers the vectors, and the time that they take, are as many times as "
        "much. Until then workers wait for nobody; beyond it they wait for the writer, and none "
        "of them holds more than twice its rows."
    )


if __name__ == "__main__":
    main()
