"""The losses of one process and of several, side by side.

Trains the default model on the same store, alone and under torchrun with gloo on the CPU, one
thread a process, and compares the loss of each step of the optimiser. One process with two threads
is the control: it adds in another order, too, and shows how far training carries a rounding error.

    python benchmarks/several_processes.py --store DIR [--processes 2] [--epochs 1]
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from reporting import table, write_section

CASES = (("frozen", None), ("frozen", 3e-4), ("sigreg", None), ("ema", None))


def train(
    store: str, out: Path, processes: int, threads: int, epochs: int, settings: Sequence[str]
) -> None:
    words = [
        *("-m", "rjepa_cli", "train", "--store", store, "--out", str(out), "--device", "cpu"),
        *("--epochs", str(epochs), *settings),
    ]
    if processes > 1:
        several = ["--standalone", f"--nproc-per-node={processes}"]
        words = ["-m", "torch.distributed.run", *several, *words]
    subprocess.run(
        [sys.executable, *words],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
    )


def apart(one: Sequence[Mapping[str, float]], other: Sequence[Mapping[str, float]]) -> list[float]:
    """Relative differences of the losses, step by step."""
    assert [row["step"] for row in one] == [row["step"] for row in other]
    return [abs(a["loss"] - b["loss"]) / abs(a["loss"]) for a, b in zip(one, other, strict=True)]


def steps_of(run: Path) -> list[dict[str, float]]:
    with (run / "steps.csv").open(newline="") as file:
        return [
            {"step": int(row["step"]), "loss": float(row["loss"])} for row in csv.DictReader(file)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=1)
    args = parser.parse_args()
    sides, worst = [], []
    for objective, lr in CASES:
        name = f"`{objective}`" + (f", `training.lr={lr:g}`" if lr else "")
        settings = ["--objective", objective, *(("--lr", str(lr)) if lr else ())]
        with tempfile.TemporaryDirectory() as folder:
            runs = {"one": (1, 1), "control": (1, 2), "several": (args.processes, 1)}
            rows = {}
            for key, (processes, threads) in runs.items():
                out = Path(folder) / key
                train(args.store, out, processes, threads, args.epochs, settings)
                rows[key] = steps_of(out)
        several, control = (apart(rows["one"], rows[key]) for key in ("several", "control"))
        first = len(several) // 4
        worst.append(
            [
                name,
                f"{len(several):,}",
                f"{max(several[:first]):.1e}",
                f"{max(several):.1e}",
                f"{max(control[:first]):.1e}",
                f"{max(control):.1e}",
            ]
        )
        for i in (int(n * (len(several) - 1) / 4) for n in range(5)):
            losses = (f"{rows[key][i]['loss']:.7f}" for key in ("one", "several", "control"))
            sides.append([name, rows["one"][i]["step"], *losses])
    text = (
        f"The default model and global batch, one process against {args.processes} (torchrun, "
        "gloo, one thread each), and against one process with two threads. Largest relative "
        "difference of the loss in the first quarter of the steps, and in all of them:\n\n"
        + table(
            [
                "",
                "steps",
                "several: first quarter",
                "all",
                "two threads: first quarter",
                "all",
            ],
            worst,
        )
        + "\n\nWhere all of a line are rounding errors, the losses are the same. Where they "
        "grow, they grow with two threads as well: that training amplifies the order of "
        "additions.\n\n"
        + table(["", "step", "1 process", f"{args.processes} processes", "2 threads"], sides)
    )
    write_section(
        "several-processes",
        "One process against several",
        text,
        f"python benchmarks/several_processes.py --store DIR --processes {args.processes}",
    )


if __name__ == "__main__":
    main()
