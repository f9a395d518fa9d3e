"""DataLoaders over a store for as long as a writer adds to it.

    python benchmarks/store_readers.py                   a minute
    python benchmarks/store_readers.py --seconds 5       a short run

One process writes records whose content follows from their keys. A DataLoader with four `fork`
workers and one with four `spawn` workers read what is there, shuffled, pass after pass, each
pass over 200 of all keys of the moment. Every record is compared with what its key says. The
workers tell their anonymous memory with each record.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler

from reporting import table, write_section
from rjepa_core import LatentRecord, RecordKey, open_store
from rjepa_core.ports.store import LatentStore
from rjepa_core.testing.samples import record_differences, sample_identity, sample_record

IDENTITY = sample_identity(1, 1024)
STEPS = 8
WORKERS = 4
MOST_A_PASS = 200
MOST_GROWTH = 8 * 2**20
Told = tuple[int, float, int, str]


def record(number: int) -> LatentRecord:
    return sample_record(IDENTITY, f"p-{number}", steps=STEPS)


class StoredRecords(Dataset[Told]):
    """Records by number: worker, time, anonymous memory, and what is wrong with the record."""

    def __init__(self, store: LatentStore) -> None:
        self._store = store

    def __len__(self) -> int:
        return len(self._store)

    def __getitem__(self, number: int) -> Told:
        key = RecordKey(f"p-{number}")
        wrong = record_differences(self._store.get(key), record(number))
        buffer = np.empty((1, 1, STEPS, 1024), np.float16)
        self._store.read_latents([key], buffer)
        if buffer[0].tobytes() != record(number).latents.tobytes():
            wrong.append("read_latents")
        return os.getpid(), time.monotonic(), anonymous(), " ".join(wrong)


class Shuffled(Sampler[int]):
    """All that is there, in any order, until the time is up."""

    def __init__(self, store: LatentStore, until: float) -> None:
        self._store = store
        self._until = until
        self.lengths: list[int] = []

    def __iter__(self) -> Iterator[int]:
        chance = random.Random(0)
        while time.monotonic() < self._until:
            count = len(self._store)
            self.lengths.append(count)
            for number in chance.sample(range(count), min(count, MOST_A_PASS)):
                yield number
                if time.monotonic() >= self._until:
                    return


@attrs.define
class Reader:
    """What one worker told: times, memory."""

    times: list[float] = attrs.field(factory=list)
    memory: list[int] = attrs.field(factory=list)

    def thirds(self) -> tuple[float, float]:
        """Mean memory in the first and last third of its time."""
        begin, end = self.times[0], self.times[-1]
        low, high = begin + (end - begin) / 3, end - (end - begin) / 3
        pairs = list(zip(self.times, self.memory, strict=True))
        return (
            statistics.mean(m for t, m in pairs if t <= low),
            statistics.mean(m for t, m in pairs if t >= high),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--no-report", action="store_true")
    parser.add_argument("--write", help=argparse.SUPPRESS)
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write:
        write(args.write)
    elif args.read:
        print(json.dumps(read(args.read[0], args.read[1], args.seconds)))
    else:
        with tempfile.TemporaryDirectory() as folder:
            text = together(str(Path(folder) / "store"), args.seconds)
        if args.no_report:
            print(text)
        else:
            write_section(
                "store readers",
                "Readers beside a writer",
                text,
                "python benchmarks/store_readers.py",
            )


def write(place: str) -> None:
    """Add records until nobody listens any more."""
    with open_store(place, "write", options={"checkpoint_every": 50}) as store:
        store.begin(IDENTITY)
        for number in range(10_000_000):
            store.write([record(number)])
            if number % 50 == 49:
                print(number + 1, flush=True)
                time.sleep(0.1)


def read(place: str, method: str, seconds: float) -> dict[str, object]:
    """Read through a DataLoader; what its workers told."""
    warnings.filterwarnings("ignore", "This DataLoader will create")
    store = open_store(place)
    sampler = Shuffled(store, time.monotonic() + seconds)
    loader = DataLoader(
        StoredRecords(store),
        batch_size=8,
        sampler=sampler,
        num_workers=WORKERS,
        multiprocessing_context=method,
        collate_fn=list,
    )
    readers: dict[int, Reader] = {}
    wrong: list[str] = []
    count = 0
    for batch in loader:
        for worker, when, memory, trouble in batch:
            reader = readers.setdefault(worker, Reader())
            reader.times.append(when)
            reader.memory.append(memory)
            count += 1
            if trouble:
                wrong.append(trouble)
    return {
        "method": method,
        "records": count,
        "wrong": wrong,
        "first": sampler.lengths[0],
        "last": sampler.lengths[-1],
        "epochs": len(sampler.lengths),
        "thirds": [reader.thirds() for reader in readers.values()],
    }


def together(place: str, seconds: float) -> str:
    writer = subprocess.Popen(
        [sys.executable, __file__, "--write", place], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    try:
        writer.stdout.readline()
        command = [sys.executable, __file__, "--seconds", str(seconds), "--read", place]
        readers = [
            subprocess.Popen([*command, method], stdout=subprocess.PIPE, text=True)
            for method in ("fork", "spawn")
        ]
        told = [json.loads(reader.communicate()[0] or "{}") for reader in readers]
        if writer.poll() is not None or any(reader.returncode for reader in readers):
            sys.exit("the writer or a reader ended with an error")
    finally:
        writer.terminate()
        written = [int(line) for line in writer.communicate()[0].split()]
    return describe(told, written[-1], seconds)


def describe(told: list[dict[str, object]], written: int, seconds: float) -> str:
    rows = []
    for one in told:
        if one["wrong"]:
            sys.exit(f"{one['method']}: wrong records: {one['wrong']}")
        thirds = one["thirds"]
        assert isinstance(thirds, list)
        if len(thirds) != WORKERS:
            sys.exit(f"{one['method']}: {len(thirds)} workers read")
        growth = max(last - first for first, last in thirds)
        if growth > MOST_GROWTH:
            sys.exit(f"{one['method']}: a reader grew by {growth / 2**20:.1f} MiB")
        rows.append(
            [
                f"`{one['method']}`",
                f"{one['records']:,}",
                f"{one['epochs']}, over {one['first']:,} to {one['last']:,} records",
                ", ".join(f"{a / 2**20:.1f} → {b / 2**20:.1f}" for a, b in thirds),
            ]
        )
    return (
        f"A writer added {written:,} records of {STEPS} × 1,024 float16 for {seconds:.0f} s while "
        f"two DataLoaders with {WORKERS} workers each read what was there, shuffled, pass after "
        "pass. No error; every record was what its key says, bit for bit.\n\n"
        + table(
            ["workers", "records read", "passes", "RssAnon of each, first → last third, MiB"], rows
        )
    )


def anonymous() -> int:
    """Anonymous memory of this process."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    main()
