"""What problems cost by the hundred thousand: starting, resuming and reading a store of them.

    python benchmarks/scale.py                             20,000 problems
    python benchmarks/scale.py --problems 200000 --against ../other-checkout --times 3
    python benchmarks/scale.py --problems 1000000 --only start resume

The seeded backend makes vectors of width 2 and at most two steps per trace, so that what is left is
the cost of a problem itself. Each measurement is a process of its own, the code of `--against` in
turn with that of this checkout; memory is the most anonymous memory (RssAnon) of the process and of
those that it starts. The processes take turns on the same files: a source, a copy of a store that
holds all of it, and no model.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from store_memory import anonymous, family

HERE = Path(__file__).parents[1]
Values = dict[str, float]
# What is written at once by `build`, and how many records the speed is taken over.
_CHUNK, _RATED = 500, 10_000


class EnoughError(Exception):
    """Raised to end a run whose speed is known."""


def settings(work: Path, store: str, **run: Any) -> dict[str, Any]:
    return {
        "problems": {"sources": [str(work / "problems.jsonl")]},
        "model": {"name": "seeded"},
        "backend": {"name": "seeded", "hidden_size": 2, "layers": 2, "max_steps": 2},
        "encoding": {"layers": [-1]},
        "scheduler": {"name": "fixed", "batch_size": 64},
        "store": {"path": str(work / store)},
        "run": run,
    }


def write_problems(path: Path, numbers: range) -> None:
    with path.open("a") as file:
        for i in numbers:
            text = f"Number {i}: what is {i} times {i + 1}, and what is left of it after {i % 97}?"
            file.write(json.dumps({"id": f"p-{i:08}", "question": text, "answer": str(i)}) + "\n")


def build(work: Path) -> Values:
    """Write a record for each problem, as a run would; measures the store's own path."""
    from rjepa_core import LatentRecord, RecordKey
    from rjepa_core.extraction import open_extraction
    from rjepa_core.plugins import Registry, open_sources
    from rjepa_core.settings import ProblemSettings

    asked = settings(work, "store")
    asked["problems"]["limit"] = 64
    with open_extraction(asked) as extraction:
        extraction.run()
    sources = open_sources(ProblemSettings(sources=(str(work / "problems.jsonl"),)), Registry())
    from rjepa_core import open_store

    seconds, count, batch = 0.0, 0, []
    with open_store(work / "store", "write") as store:
        known = [store.get(key) for key in list(store.keys())]
        for i, row in enumerate(sources[0].rows()):
            if i < 64:
                assert store.entry(RecordKey(row.problem.id)) is not None
                continue
            one = known[i % 64]
            trace = attrs.evolve(one.trace, problem=row.problem)
            batch.append(LatentRecord(trace, one.latents, one.prompt_latent, one.logprobs))
            if len(batch) == _CHUNK:
                began = time.perf_counter()
                store.write(batch)
                seconds, count, batch = seconds + time.perf_counter() - began, count + _CHUNK, []
        store.write(batch)
    return {"writer, records/s": count / max(seconds, 1e-9)}


def start(work: Path) -> Values:
    """To the first record of a new store, and the speed of those that follow."""
    from rjepa_core.extraction import open_extraction

    target = work / "started"
    shutil.rmtree(target, ignore_errors=True)
    began = time.perf_counter()
    first: list[tuple[float, int]] = []
    last: list[tuple[float, int]] = []
    used: list[float] = []

    def report(progress: Any) -> None:
        now = (time.perf_counter(), progress.records)
        if not first:
            first.append(now)
            used.append(time.process_time())
        last[:] = [now]
        if progress.records >= _RATED:
            raise EnoughError

    with (
        contextlib.suppress(EnoughError),
        open_extraction(settings(work, "started")) as extraction,
    ):
        extraction.run(report)
    shutil.rmtree(target)
    (since, some), (until, all_of) = first[0], last[0]
    return {
        "to the first record, s": since - began,
        "to the first record, processor s": used[0],
        "extract, records/s": (all_of - some) / max(until - since, 1e-9),
    }


def resume(work: Path) -> Values:
    from rjepa_core.extraction import open_extraction

    began = time.perf_counter()
    with open_extraction(settings(work, "store", resume=True)) as extraction:
        summary = extraction.run()
    assert summary.progress.failures == 0
    assert summary.before.stored + summary.progress.records == summary.store.records
    return {"s": time.perf_counter() - began}


def again(work: Path) -> Values:
    """Nothing to do, and a run has found that before."""
    return resume(work)


def appended(work: Path) -> Values:
    """One line more in the source."""
    lines = sum(1 for _ in (work / "problems.jsonl").open())
    write_problems(work / "problems.jsonl", range(lines, lines + 1))
    return resume(work)


def verify(work: Path) -> Values:
    return command("store", "verify", str(work / "store"))


def export(work: Path) -> Values:
    shutil.rmtree(work / "shards", ignore_errors=True)
    values = command("store", "export", str(work / "store"), str(work / "shards"))
    shutil.rmtree(work / "shards")
    return values


def command(*arguments: str) -> Values:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "rjepa_cli", *arguments], check=True, stdout=subprocess.DEVNULL
    )
    return {"s": time.perf_counter() - began}


def keys(work: Path) -> Values:
    from rjepa_core import open_store

    with open_store(work / "store") as store:
        began = time.perf_counter()
        count = sum(1 for _ in store.keys())  # noqa: SIM118
        seconds = time.perf_counter() - began
        assert count == len(store)
    return {"s": seconds}


def train(work: Path) -> Values:
    from rjepa_core.ports.world_model import TrainWatch
    from rjepa_core.training import train_world_model

    steps: list[float] = []
    asked = {"data": {"stores": [str(work / "store")]}, "training": {"device": "cpu"}}
    shutil.rmtree(work / "run", ignore_errors=True)

    def report(progress: Any) -> None:
        steps.append(time.perf_counter())
        raise EnoughError

    began = time.perf_counter()
    with contextlib.suppress(EnoughError):
        train_world_model(str(work / "run"), asked, TrainWatch(report=report))
    shutil.rmtree(work / "run", ignore_errors=True)
    return {"to the first step, s": steps[0] - began}


MEASURES: dict[str, Callable[[Path], Values]] = {
    "start": start,
    "resume": resume,
    "again": again,
    "appended": appended,
    "verify": verify,
    "export": export,
    "keys": keys,
    "train": train,
}


def child(measure: str, work: Path, checkout: Path) -> Values:
    """Run a measurement with the code of a checkout; add its memory."""
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, __file__, "--child", measure, "--folder", str(work)]
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(anonymous, family(process.pid))))
        time.sleep(0.02)
    assert process.stdout is not None
    said = process.stdout.read()
    if process.returncode != 0:
        sys.exit(f"{measure} ended with {process.returncode}: {said}")
    values = {f"{measure}: {name}": value for name, value in json.loads(said).items()}
    if measure != "build":
        values[f"{measure}: peak RssAnon, MiB"] = peak / 2**20
    print(f"  {checkout.name}: {values}", file=sys.stderr, flush=True)
    return values


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problems", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=1, help="turns of each side")
    parser.add_argument("--only", nargs="+", choices=list(MEASURES), default=list(MEASURES))
    parser.add_argument("--against", type=Path, help="another checkout, measured in turn")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary one by default")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        values = {**MEASURES, "build": build}[args.child](args.folder)
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        values["processor s"] = sum(one.ru_utime + one.ru_stime for one in used)
        print(json.dumps(values))
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        figures = measured(args, Path(folder))
    print(shown(figures))
    if args.json:
        args.json.write_text(json.dumps({"problems": args.problems, "figures": figures}, indent=1))


def measured(args: argparse.Namespace, folder: Path) -> dict[str, list[list[float]]]:
    """The values by name: one list for each side, of one value for each turn."""
    sides = [HERE] if args.against is None else [args.against.resolve(), HERE]
    places = [folder / f"side-{i}" for i in range(len(sides))]
    places[0].mkdir()
    write_problems(places[0] / "problems.jsonl", range(args.problems))
    figures: dict[str, list[list[float]]] = {}

    def take(side: int, values: Values) -> None:
        for name, value in values.items():
            figures.setdefault(name, [[] for _ in sides])[side].append(value)

    if args.only != ["start"]:
        take(0, child("build", places[0], sides[0]))
    for place in places[1:]:
        subprocess.run(["cp", "-r", "--sparse=always", str(places[0]), str(place)], check=True)
    for _ in range(args.times):
        for measure in args.only:
            for side, checkout in enumerate(sides):
                take(side, child(measure, places[side], checkout))
    return figures


def shown(figures: dict[str, list[list[float]]]) -> str:
    lines = []
    for name, sides in figures.items():
        values = [statistics.median(side) for side in sides if side]
        spread = [f"{min(side):.3g} to {max(side):.3g}" for side in sides if len(side) > 1]
        ratio = f"{values[-1] / values[0]:.2f}" if len(values) > 1 and values[0] else ""
        cells = [name, *(f"{value:,.4g}" for value in values), ratio, "; ".join(spread)]
        lines.append("| " + " | ".join(cells) + " |")
    heads = ["", "before", "after", "ratio", "spread"]
    if all(len(sides) == 1 for sides in figures.values()):
        heads = ["", "measured", "", "spread"]
    rule = "|" + " --- |" * len(heads)
    return "\n".join(["| " + " | ".join(heads) + " |", rule, *lines])


if __name__ == "__main__":
    main()
