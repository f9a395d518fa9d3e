"""The losses of one process and of several, side by side.

Trains the default model twice on the same store, alone and under torchrun with gloo on the CPU, one
thread a process, and compares the loss of each step of the optimiser.

    python benchmarks/several_processes.py --store DIR [--processes 2] [--epochs 1]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reporting import table, write_section
from rjepa_adapters.world_model.logs import read_rows


def train(store: str, out: Path, processes: int, epochs: int, objective: str) -> float:
    """Seconds that it took, start to end."""
    words = [
        *("-m", "rjepa_cli", "train", "--store", store, "--out", str(out)),
        *("--epochs", str(epochs), "--objective", objective, "--device", "cpu"),
    ]
    if processes > 1:
        several = ["--standalone", f"--nproc-per-node={processes}"]
        words = ["-m", "torch.distributed.run", *several, *words]
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, *words],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--objectives", nargs="*", default=["frozen", "sigreg", "ema"])
    args = parser.parse_args()
    sides, worst = [], []
    for objective in args.objectives:
        with tempfile.TemporaryDirectory() as folder:
            places = {n: Path(folder) / str(n) for n in (1, args.processes)}
            seconds = {
                n: train(args.store, place, n, args.epochs, objective)
                for n, place in places.items()
            }
            one, more = (read_rows(place / "steps.csv") for place in places.values())
        assert [row["step"] for row in one] == [row["step"] for row in more]
        differences = [
            abs(a["loss"] - b["loss"]) / abs(a["loss"]) for a, b in zip(one, more, strict=True)
        ]
        shown = [int(i * (len(one) - 1) / 4) for i in range(5)]
        sides += [
            [
                f"`{objective}`",
                one[i]["step"],
                f"{one[i]['loss']:.7f}",
                f"{more[i]['loss']:.7f}",
                f"{differences[i]:.1e}",
            ]
            for i in shown
        ]
        worst.append(
            f"`{objective}`: {len(one):,} steps, largest relative difference "
            f"{max(differences):.1e}, {seconds[1]:.0f} s alone, "
            f"{seconds[args.processes]:.0f} s with {args.processes}."
        )
    text = (
        f"The default model and global batch, one process against {args.processes} (torchrun, "
        "gloo, one thread each).\n\n"
        + "\n".join(f"- {line}" for line in worst)
        + "\n\n"
        + table(["", "step", "loss, 1 process", f"loss, {args.processes}", "relative"], sides)
        + "\n\nWhat is left is the order of additions, which grows with the steps that follow one "
        "another."
    )
    write_section(
        "several-processes",
        "One process against several",
        text,
        f"python benchmarks/several_processes.py --store DIR --processes {args.processes}",
    )


if __name__ == "__main__":
    main()
