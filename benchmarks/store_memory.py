"""Memory of the store's tools over 200,000 records of 8 × 1,024 float16.

    python benchmarks/store_memory.py                     needs about 15 GB of disk
    python benchmarks/store_memory.py --records 2000      a short run

Each command runs in a process of its own, as a user starts it; the anonymous memory of it and of
the processes that it starts is read every 20 ms, and the largest sum is kept.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import attrs
import numpy as np

from reporting import table, write_section
from rjepa_core import LatentRecord, open_store
from rjepa_core.testing.samples import sample_identity, sample_record

STEPS, WIDTH = 8, 1024
LIMIT = 300 * 2**20


@attrs.frozen
class Ran:
    """A command that has ended: what it was, its seconds, and the most memory it had."""

    name: str
    seconds: float
    peak: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary one by default")
    parser.add_argument("--no-report", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        text = measure(Path(folder), args.records)
    if args.no_report:
        print(text)
    else:
        write_section(
            "store memory", "Memory of the store's tools", text, "python benchmarks/store_memory.py"
        )


def measure(work: Path, records: int) -> str:
    halves = [work / "first", work / "second"]
    for number, half in enumerate(halves):
        build(half, range(number * records // 2, (number + 1) * records // 2))
    whole = work / "whole"
    commands = {
        "merge": [str(whole), *map(str, halves)],
        "verify": [str(whole)],
        # Each further process takes as much again.
        "export": [str(whole), str(work / "shards"), "--workers", "1"],
        "compact": [str(whole)],
    }
    results = [command(name, arguments) for name, arguments in commands.items()]
    with open_store(str(whole)) as store:
        stats = store.stats()
    if stats.records != records:
        sys.exit(f"{stats.records} records instead of {records}")
    for result in results:
        if result.peak > LIMIT:
            sys.exit(f"{result.name} took {result.peak / 2**20:.0f} MiB")
    rows = [[f"`store {r.name}`", f"{r.peak / 2**20:.0f}", f"{r.seconds:.0f}"] for r in results]
    return (
        f"A store of {records:,} records of {STEPS} × {WIDTH:,} float16, "
        f"{stats.bytes_on_disk / 1e9:.1f} GB, merged from two halves: the most anonymous memory "
        "(RssAnon, with that of the processes that it starts) of each command.\n\n"
        + table(["command", "peak RssAnon, MiB", "seconds"], rows)
    )


def build(place: Path, numbers: range) -> None:
    identity = sample_identity(1, WIDTH)
    sample = sample_record(sample_identity(1, 8), "p-0", steps=STEPS)
    pool = np.random.default_rng(0).standard_normal(2**22, np.float32).astype(np.float16)
    size = STEPS * WIDTH
    with open_store(str(place), "write") as store:
        store.begin(identity)
        for number in numbers:
            problem = attrs.evolve(sample.trace.problem, id=f"gsm8k-train-{number:06d}")
            start = number * 7919 % (len(pool) - size - WIDTH)
            values = pool[start : start + size + WIDTH]
            record = LatentRecord(
                attrs.evolve(sample.trace, problem=problem),
                values[:size].reshape(1, STEPS, WIDTH),
                values[size:].reshape(1, WIDTH),
            )
            store.write([record])
    print(f"  built {place.name}", file=sys.stderr, flush=True)


def command(name: str, arguments: list[str]) -> Ran:
    """Run `rjepa-cli store NAME` and watch its memory."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "rjepa_cli", "store", name, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(anonymous, family(process.pid))))
        time.sleep(0.02)
    seconds = time.perf_counter() - began
    assert process.stdout is not None
    said = process.stdout.read()
    if process.returncode != 0:
        sys.exit(f"store {name} ended with {process.returncode}: {said}")
    print(f"  {name}: {peak / 2**20:.0f} MiB, {seconds:.0f} s", file=sys.stderr, flush=True)
    return Ran(name, seconds, peak)


def family(pid: int) -> list[int]:
    """The process and all that it has started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in family(int(child)))]


def anonymous(pid: int) -> int:
    """Anonymous memory of a process, 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    found = [line.split()[1] for line in lines if line.startswith("RssAnon")]
    return int(found[0]) * 1024 if found else 0


if __name__ == "__main__":
    main()
