"""Anonymous memory of the training loader, by the number of records.

    python benchmarks/loader_memory.py [--records 10000 50000 200000]

Each size is read in a process of its own: the index is made, then batches are read for a whole
epoch, shuffled; its anonymous memory (RssAnon) is read before the first import of the project's
data side, behind the index, and as the largest value over the epoch. With `--workers N` the
workers' memory is read as well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs
import numpy as np
import psutil

from reporting import table, write_section
from rjepa_core import open_store
from rjepa_core.testing.samples import sample_identity, sample_record

WIDTH = 64


def build(place: Path, records: int) -> None:
    """A store of traces of 2 to 6 steps; every problem has a statement of its own."""
    identity = sample_identity()
    space = attrs.evolve(identity.space, hidden_size=WIDTH, layers=(1,))
    identity = attrs.evolve(identity, space=space)
    kinds = {steps: sample_record(identity, "p", steps=steps) for steps in range(2, 7)}
    with open_store(str(place), "write", options={"sync": "none"}) as store:
        store.begin(identity)
        for begin in range(0, records, 1000):
            batch = []
            for number in range(begin, min(begin + 1000, records)):
                one = kinds[2 + number % 5]
                problem = attrs.evolve(
                    one.trace.problem, id=f"problem-{number:06d}", statement=f"problem {number}?"
                )
                batch.append(attrs.evolve(one, trace=attrs.evolve(one.trace, problem=problem)))
            store.write(batch)


def rss_anon(pid: int) -> int:
    """Bytes of a process's anonymous resident memory."""
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        return next(int(one.split()[1]) * 1024 for one in lines if one.startswith("RssAnon"))


def read(place: str, workers: int) -> None:
    """In a process of its own: one epoch, and what it took."""
    from rjepa_adapters.world_model.batches import LengthBatches
    from rjepa_adapters.world_model.dataset import LatentDataset
    from rjepa_adapters.world_model.index import open_index
    from rjepa_adapters.world_model.workers import Loader
    from rjepa_core.settings import DataSettings

    me = psutil.Process()
    before = rss_anon(me.pid)
    index = open_index(DataSettings(stores=(place,)), None)
    indexed = rss_anon(me.pid)
    data = LatentDataset(index)
    sampler = LengthBatches(index.steps, 64)
    most, seen = 0, 0
    for number, batch in enumerate(Loader(data, sampler, workers)):
        seen += len(batch)
        if number % 20 == 0:
            pids = [me.pid, *(child.pid for child in me.children(recursive=True))]
            most = max(most, sum(rss_anon(pid) for pid in pids))
    print(
        json.dumps(
            {
                "records": seen,
                "index_arrays": index.nbytes,
                "before": before,
                "indexed": indexed,
                "most": most,
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, nargs="+", default=[10_000, 50_000, 200_000])
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    parser.add_argument("--no-report", action="store_true")
    args = parser.parse_args()
    if args.read:
        read(args.read, args.workers)
        return
    rows = []
    for records in args.records:
        with tempfile.TemporaryDirectory() as folder:
            build(Path(folder) / "s", records)
            words = [sys.executable, __file__, "--read", f"{folder}/s", "--workers"]
            found = json.loads(subprocess.check_output([*words, str(args.workers)], text=True))
        if found["records"] != records:
            sys.exit(f"{found['records']} records instead of {records}")
        mib = {key: value / 2**20 for key, value in found.items()}
        rows.append(
            [
                f"{records:,}",
                f"{mib['index_arrays']:.1f}",
                f"{mib['before']:.0f}",
                f"{mib['most']:.0f}",
                f"{mib['most'] - mib['before']:.0f}",
            ]
        )
        print(rows[-1], file=sys.stderr)
    added = np.array([float(row[-1]) for row in rows])
    text = (
        "One shuffled epoch of batches of 64, each size in a process of its own "
        f"({args.workers} workers). The index keeps each record's key, steps and problem; "
        "vectors are read batch by batch.\n\n"
        + table(
            [
                "records",
                "index, MiB",
                "RssAnon before, MiB",
                "most while reading, MiB",
                "added, MiB",
            ],
            rows,
        )
        + f"\n\nFrom {args.records[0]:,} to {args.records[-1]:,} records it grew by "
        f"{added[-1] - added[0]:.0f} MiB."
    )
    if args.no_report:
        print(text)
    else:
        write_section(
            "loader memory",
            "Memory of the training loader",
            text,
            "python benchmarks/loader_memory.py",
        )


if __name__ == "__main__":
    main()
