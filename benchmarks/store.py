"""Reading step latents: this store, the original's shards, an Arrow dataset, one file a record.

    python benchmarks/store.py                       100,000 records of 8 × 4,096 float16
    python benchmarks/store.py --records 5000        a short run

Needs about 80 KB of disk a record and side. Sides are read turn by turn, in several rounds, each
turn in a process of its own. Cold: the files' pages are dropped from the system's cache before the
turn. Warm: the same records again, in the same process.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from reporting import table, write_section
from store_sides import KINDS, STEPS, VALUES, WIDTH, WRITERS, Kind, Side, block

BATCH = 32
MEASURES = ("cold_single", "cold_batch", "warm_single", "warm_batch")
Turn = dict[str, Any]
EVERYTHING = "with the system's caches dropped, those of folders and file names among them"
PAGES = "with the files' pages dropped from the cache"
WHY = {
    "whole": "Shards that are all loaded have been read from the disk, and their files mapped, "
    "before the first record is asked for: see the time of opening, which a run pays each time.",
    "lazy": "`safe_open` hands out what is mapped, unchecked, by an offset that its open file "
    "knows; this store looks each key up in an index on the disk and compares what it reads with "
    "a checksum, in Python.",
    "arrow": "Arrow hands out what is mapped, unchecked, by the row's number.",
    "npy": "A single cold record is one read where a file holds just that; this store reads a page "
    "of the index and one of the table of vectors before it. In batches it asks for all at once.",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--singles", type=int, default=400, help="single records a turn")
    parser.add_argument("--batches", type=int, default=20, help="batches of 32 a turn")
    parser.add_argument("--folder", type=Path, help="where to write, and to leave what is written")
    parser.add_argument("--no-report", action="store_true")
    parser.add_argument("--turn", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--write", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.turn:
        side, folder, seed = args.turn
        print(json.dumps(turn(KINDS[side], Path(folder), int(seed), args)))
    elif args.write:
        began = time.perf_counter()
        WRITERS[args.write[0]](Path(args.write[1]), args.records)
        print(time.perf_counter() - began)
    elif args.folder:
        args.folder.mkdir(parents=True, exist_ok=True)
        compare(args.folder, args)
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), args)


def compare(folder: Path, args: argparse.Namespace) -> None:
    writing = write_all(folder, args.records)
    turns: dict[str, list[Turn]] = {side: [] for side in KINDS}
    for number in range(args.rounds):
        order = list(KINDS)
        random.Random(number).shuffle(order)
        for side in order:
            place = folder / KINDS[side].folder
            limits = ["--singles", str(args.singles), "--batches", str(args.batches)]
            limits += ["--records", str(args.records)]
            said = child(["--turn", side, str(place), str(number), *limits])
            turns[side].append(json.loads(said))
            shown = " ".join(f"{key} {turns[side][-1][key]:,.0f}" for key in MEASURES)
            print(f"  round {number + 1}, {side}: {shown}", file=sys.stderr)
    text = describe(turns, writing, folder, args)
    small, large = grown(folder, args)
    text += (
        f"\n\nReading {small[0] // 2:,} records, half of them one by one, added "
        f"{small[1]:.1f} MiB of anonymous memory with {small[0]:,} records in the store, "
        f"{large[1]:.1f} MiB with {large[0]:,}."
    )
    if args.no_report:
        print(text)
    else:
        write_section(
            "store", "Reading from the store", text, f"python benchmarks/store.py{options(args)}"
        )


def options(args: argparse.Namespace) -> str:
    return "" if args.records == 100_000 else f" --records {args.records}"


def child(arguments: list[str]) -> str:
    run = subprocess.run(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return run.stdout


def grown(folder: Path, args: argparse.Namespace) -> list[tuple[int, float]]:
    """Anonymous memory in MiB that reading adds, by the number of records in the store."""
    found = []
    small = max(1000, args.records // 20)
    reads = ["--singles", str(small // 4), "--batches", str(small // 4 // BATCH)]
    for records in (small, args.records):
        place = folder / "store"
        if records < args.records:
            place = folder / f"store-{records}"
            if not place.exists():
                child(["--write", "store", str(place), "--records", str(records)])
        said = child(["--turn", "store", str(place), "0", "--records", str(records), *reads])
        found.append((records, json.loads(said)["anonymous"]))
    return found


def write_all(folder: Path, records: int) -> dict[str, float]:
    """MB/s of each writer, over all records; what is there already is left as it is."""
    speeds: dict[str, float] = {}
    known = folder / "writing.json"
    if known.exists():
        speeds = json.loads(known.read_text())
    for side in WRITERS:
        if side in speeds:
            continue
        shutil.rmtree(folder / side, ignore_errors=True)
        need = records * (VALUES + WIDTH) * 2 * 1.2
        if shutil.disk_usage(folder).free < need:
            sys.exit(f"{folder}: {need / 1e9:.0f} GB are needed for {side}; use fewer --records")
        seconds = float(child(["--write", side, str(folder / side), "--records", str(records)]))
        speeds[side] = records * (VALUES + WIDTH) * 2 / 1e6 / seconds
        print(f"  wrote {side}: {speeds[side]:,.0f} MB/s", file=sys.stderr)
        known.write_text(json.dumps(speeds))
    return speeds


def turn(kind: Kind, folder: Path, seed: int, args: argparse.Namespace) -> Turn:
    """Open, read cold, read warm; in a process of its own."""
    chance = random.Random(seed)
    singles = args.singles // 10 if kind.slow else args.singles
    batches = max(1, args.batches // 10) if kind.slow else args.batches
    wanted = chance.sample(range(args.records), 1 + singles + batches * BATCH)
    first, alone, together = wanted[0], wanted[1 : singles + 1], wanted[singles + 1 :]
    groups = [together[i : i + BATCH] for i in range(0, len(together), BATCH)]
    buffer = np.empty((BATCH, STEPS, WIDTH), np.float16)
    kind.open(warm_up(kind, folder))  # Imports are not part of opening.
    cold = forget(folder, wanted)
    before = anonymous()
    began = time.perf_counter()
    side = kind.open(folder)
    side.read([first], buffer)
    found: Turn = {"open": time.perf_counter() - began, "how": cold}
    for temperature in ("cold", "warm"):
        found[f"{temperature}_single"] = speed(side, [[n] for n in alone], buffer)
        found[f"{temperature}_batch"] = speed(side, groups, buffer)
    found["anonymous"] = (anonymous() - before) / 2**20
    for group in ([first], groups[0]):
        side.read(group, buffer)
        for place, number in enumerate(group):
            wanted_bytes = block(number)[:VALUES].tobytes()
            if buffer[place].tobytes() != wanted_bytes:
                sys.exit(f"{kind.title}: record {number} is not as it was written")
    return found


def warm_up(kind: Kind, folder: Path) -> Path:
    """A tiny copy of the side, opened once so that its libraries are loaded."""
    small = folder.parent / f"{kind.folder}-tiny"
    if not small.exists():
        WRITERS[kind.folder](small, 10)
    return small


def speed(side: Side, groups: Iterable[list[int]], buffer: Any) -> float:
    """Records a second."""
    count = 0
    began = time.perf_counter()
    for group in groups:
        side.read(group, buffer)
        count += len(group)
    return count / (time.perf_counter() - began)


def forget(folder: Path, numbers: list[int]) -> str:
    """Drop what the system has cached: all of it as root, otherwise the pages of the files read."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        pass
    else:
        return EVERYTHING
    from store_sides import name

    paths = [folder / f"{name(number)}.npy" for number in numbers]
    if not paths[0].exists():
        paths = [path for path in folder.iterdir() if path.is_file()]
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    return PAGES


def anonymous() -> int:
    """Anonymous memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no RssAnon")


def describe(
    turns: dict[str, list[Turn]], writing: dict[str, float], folder: Path, args: argparse.Namespace
) -> str:
    rows, ratios = [], []
    for side, kind in KINDS.items():
        files = (folder / kind.folder).iterdir()
        size = sum(path.stat().st_size for path in files)
        write = f"{writing[kind.folder]:,.0f}"
        middle = {
            key: statistics.median(t[key] for t in turns[side])
            for key in ("open", "anonymous", *MEASURES)
        }
        rows.append(
            [kind.title, write, f"{middle['open'] * 1e3:,.0f}"]
            + [f"{middle[key]:,.0f}" for key in MEASURES]
            + [f"{middle['anonymous']:,.0f}", f"{size / 1e9:.2f}"]
        )
        if kind.folder != "store":
            ratios.append([kind.title, *(ratio(turns, side, key) for key in MEASURES)])
    return (
        f"{args.records:,} records of {STEPS} × {WIDTH:,} float16 with a prompt latent and a "
        f"little text, {args.rounds} rounds, each side in a process of its own by turns; medians. "
        f"A turn reads {args.singles} single records and {args.batches} batches of {BATCH}, "
        f"shuffled, into a buffer of the caller's; cold {turns['store'][0]['how']}, warm the same "
        "records again. Anonymous memory is what opening and reading added.\n"
        "\n"
        + table(
            [
                "side",
                "write MB/s",
                "open and first record, ms",
                "cold, single/s",
                "cold, batched/s",
                "warm, single/s",
                "warm, batched/s",
                "RssAnon, MiB",
                "GB on disk",
            ],
            rows,
        )
        + "\n\nRecords a second of this store, checksum on, as a multiple of the other's: median "
        "(smallest to largest of the rounds).\n\n"
        + table(
            ["against", "cold, single", "cold, batched", "warm, single", "warm, batched"], ratios
        )
        + "\n\n"
        + remarks(turns)
    )


def ratio(turns: dict[str, list[Turn]], side: str, key: str) -> str:
    found = [a[key] / b[key] for a, b in zip(turns["store"], turns[side], strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f}–{max(found):.2f})"


def remarks(turns: dict[str, list[Turn]]) -> str:
    """Where another side is ahead."""
    ahead = []
    for side, kind in KINDS.items():
        if kind.folder == "store":
            continue
        slower = [
            key.replace("_", " ")
            for key in MEASURES
            if statistics.median(
                a[key] / b[key] for a, b in zip(turns["store"], turns[side], strict=True)
            )
            < 1
        ]
        if slower:
            ahead.append(f"- {kind.title}: {', '.join(slower)}. {WHY.get(side, '')}")
    if not ahead:
        return "This store is ahead of each on shuffled reads."
    return "Ahead of this store:\n\n" + "\n".join(ahead)


if __name__ == "__main__":
    main()
