"""Real memory pressure on a host: the run backs off by itself, and nothing is lost.

    python benchmarks/memory_pressure.py pressure    a hard and a soft limit below what 16 rows take
    python benchmarks/memory_pressure.py too-long    one problem in ten that does not fit alone
    python benchmarks/memory_pressure.py ballast     another process fills the machine for a while

Runs of the command line with SmolLM2 on the CPU, each in a process of its own. The hard limit is
`RLIMIT_DATA` (allocations fail), the soft one `--memory-limit` (nothing has to fail); what 8 and 16
rows take is measured first. What did not fit is done again with `--resume --retry-failed` and
without the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import psutil

from common import GSM8K
from reporting import write_section
from rjepa_core import open_store

MIB = 2**20
LARGE, SMALL = 16, 8
LONG_WORDS = 7000
MARK = 0.9


@attrs.frozen
class Ran:
    """A run of the command line.

    Attributes:
        code: exit code.
        out: the last object on stdout.
        err: lines on stderr.
        data, resident: peaks in bytes of what `RLIMIT_DATA` counts, and of the resident set.
    """

    code: int
    out: dict[str, Any]
    err: list[str]
    data: int
    resident: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", choices=SCENES)
    parser.add_argument("--problems", type=Path, default=GSM8K)
    parser.add_argument("--limit", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=160, help="most new tokens a problem")
    parser.add_argument("--no-report", action="store_true")
    args = parser.parse_args()
    if not args.problems.exists():
        sys.exit(f"{args.problems} is missing; give other --problems (JSON Lines)")
    with tempfile.TemporaryDirectory() as folder:
        title, part = SCENES[args.scene]
        text = part(args, Path(folder))
    if args.no_report:
        print(text)
    else:
        write_section(args.scene, title, text, f"python benchmarks/memory_pressure.py {args.scene}")


def limits(args: argparse.Namespace, folder: Path) -> str:
    """A hard limit and a soft one between what 16 and 8 rows take."""
    common = ["--problems", args.problems, "--max-new-tokens", args.tokens]
    peaks = {}
    for rows in (SMALL, LARGE):
        ran = extract(
            folder / f"peak-{rows}",
            *common,
            "--limit",
            LARGE,
            "--scheduler",
            "fixed",
            "--batch-size",
            rows,
        )
        check(ran.code == 0, f"{rows} rows without a limit: {ran.err[-1:]}")
        peaks[rows] = ran
        print(f"  {rows} rows: {ran.data // MIB} MiB of data, {ran.resident // MIB} MiB resident")
    check(peaks[LARGE].data > peaks[SMALL].data + 64 * MIB, "16 rows take hardly more than 8")
    hard = (peaks[LARGE].data + peaks[SMALL].data) // 2
    soft = int((peaks[LARGE].resident + peaks[SMALL].resident) / 2 / MARK)
    lines = [
        f"SmolLM2-135M, float32, {args.limit} problems, at most {args.tokens} tokens each. "
        f"{SMALL} rows take {peaks[SMALL].data // MIB:,} MiB of what `RLIMIT_DATA` counts and "
        f"{peaks[SMALL].resident // MIB:,} MiB resident, {LARGE} rows "
        f"{peaks[LARGE].data // MIB:,} and {peaks[LARGE].resident // MIB:,}."
    ]
    for title, place, more, limit in (
        (f"`RLIMIT_DATA` of {hard // MIB:,} MiB", folder / "hard", [], hard),
        (
            f"`--memory-limit {soft // MIB}MiB` (the mark is {soft * MARK / MIB:,.0f} MiB)",
            folder / "soft",
            ["--memory-limit", f"{soft // MIB}MiB"],
            None,
        ),
    ):
        ran = extract(place, *common, "--limit", args.limit, *more, limit=limit)
        check(ran.code == 0, f"{title}: exit code {ran.code}: {ran.err[-1:]}")
        check(stored(place) == (args.limit, 0), f"{title}: not every problem is stored")
        story = history(place)
        check(any(c["rows_after"] < LARGE for c in story["changes"]), f"{title}: no backing off")
        lines.append(
            f"**{title}**: {ran.out['records']} of {args.limit} stored, exit code 0, "
            f"out of memory {ran.out['out_of_memory']} times, peak "
            f"{(ran.data if limit else ran.resident) // MIB:,} MiB. `show --history`:"
        )
        lines.append(told(place))
    return "\n\n".join(lines)


def too_long(args: argparse.Namespace, folder: Path) -> str:
    """One problem in ten that does not fit even alone."""
    rows = [json.loads(line) for line in args.problems.open(encoding="utf-8")][:20]
    for row in rows[::10]:
        row["question"] = "word " * LONG_WORDS + row["question"]
    some = folder / "long.jsonl"
    some.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    few = ["--problems", some, "--max-new-tokens", 40, "--batch-size", 4, "--max-batch-size", 4]
    short = folder / "short.jsonl"
    short.write_text("".join(json.dumps(row) + "\n" for row in rows if len(row["question"]) < 5000))
    # What one of them takes alone, and what four of the others do.
    usual = extract(folder / "usual", *few[2:], "--problems", short)
    whole = extract(folder / "whole", *few[:4], "--scheduler", "fixed", "--batch-size", 1)
    check(usual.code == whole.code == 0, "without a limit all of them work")
    check(whole.data > usual.data + 64 * MIB, "the long problems take hardly more")
    limit = (usual.data + whole.data) // 2
    place = folder / "long"
    first = extract(place, *few, limit=limit)
    failed = json.loads(cli("show", place, "--failures", "--json"))["failures"]
    check(first.code == 3, f"exit code {first.code} in place of 3: {first.err[-1:]}")
    check(stored(place) == (18, 2), f"stored {stored(place)}")
    check({f["reason"] for f in failed} == {"out of memory"}, f"reasons: {failed}")
    again = extract(place, *few, "--resume", "--retry-failed")
    check(again.code == 0 and stored(place) == (20, 0), f"again: {again.code}, {stored(place)}")
    needed = [f["needed_bytes"] for f in failed]
    return (
        f"**Far too long**: of 20 problems, 2 have {LONG_WORDS:,} words more; `RLIMIT_DATA` of "
        f"{limit // MIB:,} MiB. First run: 18 stored, exit code 3, 2 failures:\n\n"
        + "\n".join(f"- `{f['id']}`: {f['reason']}: {f['detail']}" for f in failed)
        + f"\n\n(at least {' and '.join(f'{n // MIB:,} MiB' for n in needed)} needed, say the "
        f"failures; alone, without a limit, the process took {whole.resident // MIB:,}). "
        f"`--resume --retry-failed` without the limit: {again.out['records']} more, exit code 0, "
        f"{stored(place)[0]} stored."
    )


def ballast(args: argparse.Namespace, folder: Path) -> str:
    """Another process takes what the machine has, down to less than 16 rows need, for a while."""
    place = folder / "ballast"
    held = threading.Event()
    child: list[subprocess.Popen[bytes]] = []

    def press() -> None:
        time.sleep(60)
        machine = psutil.virtual_memory()
        take = int(machine.available - (1 - MARK) * machine.total - 64 * MIB)
        code = f"import time; b = bytearray({take}); b[::4096] = b'1' * len(b[::4096])"
        code += "; time.sleep(600)"
        child.append(subprocess.Popen([sys.executable, "-c", code]))
        held.set()
        time.sleep(90)
        child[0].kill()

    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    ran = extract(
        place,
        "--problems",
        args.problems,
        "--max-new-tokens",
        args.tokens,
        "--limit",
        3 * args.limit,
    )
    if child:
        child[0].kill()
    check(held.is_set(), "the run was over before the ballast came")
    check(ran.code == 0, f"exit code {ran.code}: {ran.err[-1:]}")
    reasons = {change["reason"] for change in history(place)["changes"]}
    check("memory pressure" in reasons, f"no pressure was seen: {reasons}")
    return (
        "**Ballast**: a minute after the start another process took what the machine had left, and "
        f"gave it back 90 s later. {ran.out['records']} of {3 * args.limit} stored, exit code 0. "
        f"`show --history`:\n\n{told(place)}"
    )


def extract(store: Path, *arguments: object, limit: int | None = None) -> Ran:
    """`rjepa-cli extract`, watched; under `RLIMIT_DATA` where there is a limit."""
    command = [sys.executable, "-m", "rjepa_cli", "extract", "--model", "smollm2", "--json"]
    command += ["--store", str(store), "--encode-tokens", "1024", *map(str, arguments)]

    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, preexec_fn=limited)
        peaks = {"VmData": 0, "VmRSS": 0}
        while process.poll() is None:
            for name, value in status(process.pid).items():
                peaks[name] = max(peaks[name], value)
            time.sleep(0.02)
        out.seek(0)
        err.seek(0)
        text = out.read()
        told = json.loads(text) if text.strip() else {}
        return Ran(
            process.returncode, told, err.read().splitlines(), peaks["VmData"], peaks["VmRSS"]
        )


def status(pid: int) -> dict[str, int]:
    found = {}
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("VmData", "VmRSS"):
                found[name] = int(value.split()[0]) * 1024
    except OSError:
        pass  # it has just ended
    return found


def cli(*arguments: object) -> str:
    command = [sys.executable, "-m", "rjepa_cli", *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def history(store: Path) -> dict[str, Any]:
    """The last run of a store."""
    run: dict[str, Any] = json.loads(cli("show", store, "--history", "--json"))["runs"][-1]
    return run


def told(store: Path) -> str:
    text = cli("show", store, "--history")
    print(text)
    # The page is read elsewhere, where this machine's folders say nothing.
    text = text.replace(f"{GSM8K.parent}/", "").replace(f"{GSM8K.resolve().parent}/", "")
    return f"```\n{text.rstrip()}\n```"


def stored(place: Path) -> tuple[int, int]:
    """Records and failures."""
    with open_store(str(place)) as store:
        return len(store), sum(1 for _ in store.failures())


def check(holds: bool, otherwise: str) -> None:
    if not holds:
        sys.exit(f"memory_pressure: {otherwise}")


Scene = Callable[[argparse.Namespace, Path], str]
SCENES: dict[str, tuple[str, Scene]] = {
    "pressure": ("Memory pressure on a host", limits),
    "too-long": ("Problems far too long for the memory", too_long),
    "ballast": ("Memory that another process takes and returns", ballast),
}

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    main()
