"""The adaptive scheduler on four simulated machines, against the best fixed size in hindsight.

    python benchmarks/scheduler_simulation.py [--seeds 20] [--quick]

The real extraction loop, queue and scheduler; only the machine and its clock are simulated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from statistics import median

import attrs

from reporting import table, write_section
from rjepa_core.ports.scheduler import BatchScheduler
from simulated_machines import (
    CLIFF_ROWS,
    MACHINES,
    TAKEN,
    Machine,
    Run,
    ShrinkOnError,
    World,
    adaptive,
    fixed,
    load_lengths,
    make_world,
    simulate,
)

FIXED = (4, 8, 12, 16, 20, 24, 32, 48, 64)
OTHERS: dict[str, Callable[[], BatchScheduler]] = {
    "fixed 8": fixed(8),
    "fixed 16": fixed(16),
    "shrink on error, from 16": lambda: ShrinkOnError(16),
    "shrink on error, from 64": lambda: ShrinkOnError(64),
}
# A fixed size this much slower than the best over the first seeds is not run for the others.
HOPELESS, SCOUTS = 1.5, 2


@attrs.frozen
class Compared:
    """One machine and number of problems, over all seeds.

    Attributes:
        runs: the adaptive runs, one a seed.
        over: time of each beyond the best fixed size of its seed, as a share.
        best: the fixed size that is best in the median, and its seconds a problem.
        others: seconds a problem of the other methods, in the median.
    """

    machine: Machine
    problems: int
    runs: list[Run]
    over: list[float]
    best: tuple[int, float]
    others: dict[str, float]

    @property
    def seconds(self) -> float:
        return median(run.seconds for run in self.runs) / self.problems


def compare(machine: Machine, worlds: Sequence[World]) -> Compared:
    """Every method on one machine, on the same problems in the same order."""
    problems = len(worlds[0].work)
    times: dict[int, list[float]] = {size: [] for size in FIXED}
    for seed, world in enumerate(worlds):
        for size, kept in times.items():
            kept.append(simulate(machine, world, fixed(size), seed).seconds)
        if seed + 1 == SCOUTS:
            least = min(sum(kept) for kept in times.values())
            times = {s: kept for s, kept in times.items() if sum(kept) <= HOPELESS * least}
    runs = [simulate(machine, world, adaptive, seed) for seed, world in enumerate(worlds)]
    over = [
        run.seconds / min(kept[seed] for kept in times.values()) - 1
        for seed, run in enumerate(runs)
    ]
    best = min((median(kept) / problems, size) for size, kept in times.items())
    others = {
        name: median(simulate(machine, w, make, s).seconds for s, w in enumerate(worlds)) / problems
        for name, make in OTHERS.items()
    }
    print(
        f"  {machine.name}, {problems:,} problems: {median(over):+.1%}, worst {max(over):+.1%}",
        file=sys.stderr,
    )
    return Compared(machine, problems, runs, over, (best[1], best[0]), others)


def longest_above(run: Run, rows: int) -> int:
    """The most batches in a row with more than so many rows."""
    longest = streak = 0
    for batch in run.batches:
        streak = streak + 1 if batch.rows > rows else 0
        longest = max(longest, streak)
    return longest


def batches_until_back(run: Run) -> int:
    """Batches after the memory was returned until one is as large as before it was taken; the
    slower of the two times."""
    slowest = 0
    for taken, returned in TAKEN:
        before = median(
            [b.rows for b in run.batches if b.done < taken and not b.out_of_memory][-9:]
        )
        after = [batch.rows for batch in run.batches if batch.done >= returned]
        back = next((i for i, rows in enumerate(after, 1) if rows >= before), len(after))
        slowest = max(slowest, back)
    return slowest


def seconds_table(found: Sequence[Compared]) -> str:
    rows = [
        [
            one.machine.name,
            f"{one.problems:,}",
            f"{one.best[1]:.2f} ({one.best[0]} rows)",
            f"**{one.seconds:.2f}**",
            f"{median(one.over):+.1%}",
            f"{max(one.over):+.1%}",
            *(f"{seconds:.2f}" for seconds in one.others.values()),
        ]
        for one in found
    ]
    columns = ["machine", "problems", "best fixed, s/problem", "adaptive", "over the best: median"]
    return table([*columns, "worst", *OTHERS], rows)


def bars_table(found: Sequence[Compared], many: int, few: int) -> str:
    """What was asked for, what came out, and whether it holds in the median."""
    rows: list[list[str]] = []

    def bar(what: str, values: Sequence[float], limit: float, text: Callable[[float], str]) -> None:
        held = "yes" if median(values) <= limit else "**no**"
        rows.append([what, text(limit), text(median(values)), text(max(values)), held])

    for one in found:
        limit = 0.1 if one.problems == many else 0.2
        what = f"{one.machine.name}, {one.problems:,} problems: time over the best fixed size"
        bar(what, one.over, limit, lambda value: f"{value:.1%}")
    for one in (one for one in found if one.machine.name == "hard limit"):
        what = f"hard limit, {one.problems:,} problems: batches out of memory"
        bar(what, [run.out_of_memory for run in one.runs], 3, lambda value: f"{value:g}")
    for one in (one for one in found if one.machine.name == "silent cliff"):
        what = f"silent cliff, {one.problems:,} problems: batches in a row above {CLIFF_ROWS} rows"
        longest = [longest_above(run, CLIFF_ROWS) for run in one.runs]
        bar(what, longest, 3, lambda value: f"{value:g}")
    for one in (one for one in found if one.machine.moving and one.problems == many):
        what = f"moving limit, {one.problems:,} problems: batches until back up"
        back = [batches_until_back(run) for run in one.runs]
        bar(what, back, 20, lambda value: f"{value:g}")
    return table(["bar", "at most", "median", "worst", "held in the median"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="3 seeds, fewer problems, no page")
    options = parser.parse_args()
    many, few = (2_000, 500) if options.quick else (10_000, 1_000)
    seeds = 3 if options.quick else options.seeds
    lengths = load_lengths()
    worlds = {n: [make_world(lengths, n, seed) for seed in range(seeds)] for n in (many, few)}
    found = [compare(machine, worlds[n]) for machine in MACHINES for n in (many, few)]
    text = (
        "The real loop, queue and scheduler on simulated machines: decoding steps as measured for "
        "SmolLM2-135M on two cores, 20 % noise (log-normal) on every batch's time, lengths of real "
        f"GSM8K solutions, {seeds} seeds. *No limit*; *hard limit*: a batch whose padded tokens "
        "exceed 6,000 runs out of memory and costs half its time; *silent cliff*: above 8 rows "
        "everything takes 3.3 times longer, without an error; *moving limit*: 3 GiB, of which "
        "another process takes 2,000 MiB between 30 and 50 % and between 70 and 80 % of the "
        "problems, always right behind a reading of the probe. Only the last machine has a probe. "
        f'"Best fixed" is the best of {", ".join(map(str, FIXED))} rows for each seed, known in '
        'hindsight (a batch that fails is retried in halves); "shrink on error" halves at each '
        "error and never looks again. `adaptive` has its default settings.\n\n"
        f"{seconds_table(found)}\n\n{bars_table(found, many, few)}"
    )
    if options.quick:
        print(text)
        return
    write_section(
        "scheduler simulation",
        "A batch size that finds itself",
        text,
        "python benchmarks/scheduler_simulation.py",
    )


if __name__ == "__main__":
    main()
