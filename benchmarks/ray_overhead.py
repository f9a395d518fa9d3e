"""What Ray costs: one worker against the plain loop in this process, turn by turn.

    python benchmarks/ray_overhead.py                     SmolLM2, 64 problems, 5 rounds
    python benchmarks/ray_overhead.py --backend seeded    without a model, to see that it works

Needs rjepa-ray. Both have the same threads, batches and store; timed is each run from its first
commit to its last, with a commit after every batch. Models are loaded once, before anything is
timed. The order within a round changes from round to round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rjepa_core import open_store
from rjepa_core.domain.identity import Identity
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.trace import Failure, Work
from rjepa_core.extraction import Pending, identity_of
from rjepa_core.plugins import ExecutorAdapter, Registry
from rjepa_core.ports.executor import Executor, Watch
from rjepa_core.ports.store import LatentStore
from rjepa_core.settings import AdapterSettings, ExtractionSettings, SamplingSettings

SIDES = {"in-process": {}, "ray": {"workers": 1}}


class Timed:
    """A store that is committed after every write, and when."""

    def __init__(self, store: LatentStore) -> None:
        self._store = store
        self.times: list[float] = []

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        self._store.write(records, failures)
        if records or failures:
            self._store.commit()
            self.times.append(time.perf_counter())

    def commit(self) -> None:
        """Nothing waits."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=["smollm2", "seeded"], default="smollm2")
    parser.add_argument("--problems", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--no-report", action="store_true")
    args = parser.parse_args()
    # Before torch is loaded, here and in the worker.
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    from common import problems

    work = [Work(problem) for problem in problems(args.problems)]
    settings = of_backend(args)
    executors = {name: make(name, settings, args.threads) for name in SIDES}
    seconds: dict[str, list[float]] = {name: [] for name in SIDES}
    try:
        for name, executor in executors.items():
            once(executor, settings, work[: args.batch_size])
            print(f"  warm: {name}", file=sys.stderr)
        for number in range(args.rounds):
            order = list(SIDES) if number % 2 == 0 else list(SIDES)[::-1]
            for name in order:
                seconds[name].append(once(executors[name], settings, work))
                print(f"  round {number + 1}: {name} {seconds[name][-1]:.2f} s", file=sys.stderr)
    finally:
        for executor in executors.values():
            executor.close()
    text = report(args, seconds)
    if args.no_report:
        print(text)
        return
    from reporting import write_section

    write_section(
        "ray overhead",
        "Ray with one worker against the plain loop",
        text,
        "python benchmarks/ray_overhead.py " + " ".join(sys.argv[1:]),
    )


def of_backend(args: argparse.Namespace) -> ExtractionSettings:
    options = {"delay": 0.1} if args.backend == "seeded" else {}
    return ExtractionSettings(
        model=args.backend,
        store="lmdb:-",
        sampling=SamplingSettings(max_new_tokens=args.max_new_tokens),
        backend=AdapterSettings(
            name="seeded" if args.backend == "seeded" else "huggingface", options=options
        ),
        scheduler=AdapterSettings(name="fixed", options={"batch_size": args.batch_size}),
    )


def make(name: str, settings: ExtractionSettings, threads: int) -> Executor:
    registry = Registry()
    adapter = registry.find(ExecutorAdapter, name)
    options = {**SIDES[name], **({"cpus": threads} if name == "ray" else {})}
    return adapter.create(settings, registry, adapter.configure(options, "executor"))


def once(executor: Executor, settings: ExtractionSettings, work: list[Work]) -> float:
    """Seconds from the first commit to the last, in a new store."""
    identity: Identity = identity_of(settings, executor.info)
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "store", "write")
        try:
            store.begin(identity)
            sink = Timed(store)
            executor.run(identity.space.layers, Pending(work), len(work), sink, Watch())
            done = len(store) + sum(1 for _ in store.failures())
        finally:
            store.close()
    if done != len(work):
        sys.exit(f"{done} of {len(work)} were stored")
    return sink.times[-1] - sink.times[0]


def report(args: argparse.Namespace, seconds: dict[str, list[float]]) -> str:
    plain, ray = seconds["in-process"], seconds["ray"]
    ratios = sorted(b / a for a, b in zip(plain, ray, strict=True))
    middle = statistics.median(ratios)
    rows = "\n".join(
        f"| {name} | {statistics.median(times):.2f} | {min(times):.2f} to {max(times):.2f} |"
        for name, times in seconds.items()
    )
    return (
        f"{args.backend}, {args.problems} problems, {args.batch_size} rows, "
        f"{args.max_new_tokens} new tokens, {args.threads} threads, {args.rounds} rounds turn by "
        f"turn; seconds from the first commit to the last.\n\n"
        f"| executor | median s | range |\n| --- | --- | --- |\n{rows}\n\n"
        f"Ray takes {middle:.3f} times as long (median of the rounds' ratios; "
        f"{ratios[0]:.3f} to {ratios[-1]:.3f})."
    )


if __name__ == "__main__":
    main()
