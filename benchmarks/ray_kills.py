"""Kill the workers of a Ray extraction with SIGKILL, then the driver; resume with other workers.

    python benchmarks/ray_kills.py                     3 workers killed, seeded backend
    python benchmarks/ray_kills.py --backend smollm2   the same with SmolLM2 and 64 problems

Needs rjepa-ray. At the end every problem must be there exactly once, what the resumed run stored
and what was stored before must add up, `verify` must find nothing, and the records must equal those
of one process that nobody disturbed.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from kill_and_resume import arguments, count, rounding, same
from reporting import write_section
from rjepa_core import open_store

CLI = [sys.executable, "-m", "rjepa_cli"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=["seeded", "smollm2"], default="seeded")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--problems", type=int, help="by default 6,000; with SmolLM2 64")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-report", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = disturb(args, Path(folder))
    if args.no_report:
        print(text)
        return
    write_section(
        f"ray kills {args.backend}",
        f"Ray: {args.kills} workers and a driver killed ({args.backend})",
        text,
        f"python benchmarks/ray_kills.py --backend {args.backend}",
    )


def disturb(args: argparse.Namespace, work: Path) -> str:
    base = [*CLI, "extract", *of_backend(args.backend, work, args.problems)]
    quiet, killed = str(work / "quiet"), str(work / "killed")
    finish([*base, "--store", quiet], work)
    total = count(Path(quiet))
    on_ray = [*base, "--store", killed, "--executor", "ray", "--resume", "--json"]
    chance = random.Random(args.seed)
    with (work / "log").open("wb") as log:
        driver = subprocess.Popen(
            [*on_ray, "--workers", str(args.workers)], stdout=log, stderr=subprocess.STDOUT
        )
        marks = [(i + 0.5) / (args.kills + 2) for i in range(args.kills + 1)]
        for mark in marks[:-1]:
            wait_for(driver, Path(killed), round(mark * total), work)
            kill_a_worker(driver, chance)
        wait_for(driver, Path(killed), round(marks[-1] * total), work)
        driver.kill()
        if driver.wait() != -signal.SIGKILL:
            sys.exit("the run ended by itself first; use more problems")
    before, told = count(Path(killed)), (work / "log").read_text().count("worker lost:")
    if told != args.kills:
        sys.exit(f"{args.kills} workers were killed, and {told} were told of")
    outcome = finish([*on_ray, "--workers", str(args.workers + 1)], work)
    return compare(args, quiet, killed, total, before, outcome["records"])


def of_backend(backend: str, work: Path, problems: int | None) -> list[str]:
    if backend == "seeded":
        seeded = arguments("seeded", work, problems or 6000)
        seeded[seeded.index("backend.delay=0.004")] = "backend.delay=0.02"
        return [*seeded, "--scheduler", "fixed"]
    smollm2 = arguments("smollm2", work, None)
    smollm2[smollm2.index("demo")] = problems_file(work, problems or 64)
    smollm2[smollm2.index("--batch-size") + 1] = "4"
    return [*smollm2, "--scheduler", "fixed"]


def problems_file(work: Path, wanted: int) -> str:
    from common import problems

    file = work / "problems.jsonl"
    rows = [{"id": p.id, "question": p.statement} for p in problems(wanted)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def finish(command: list[str], work: Path) -> dict[str, int]:
    done = subprocess.run(
        [*command, *([] if "--json" in command else ["--json"])], capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    found: dict[str, int] = json.loads(done.stdout)
    return found


def wait_for(driver: subprocess.Popen[bytes], store: Path, records: int, work: Path) -> None:
    while count(store) < records:
        if driver.poll() is not None:
            sys.exit(f"the run ended by itself:\n{(work / 'log').read_text()}")
        time.sleep(0.02)


def kill_a_worker(driver: subprocess.Popen[bytes], chance: random.Random) -> None:
    """One that has loaded its model: its process bears the name of its call."""
    while True:
        found = [
            process
            for process in psutil.Process(driver.pid).children(recursive=True)
            if process.is_running() and process.name().startswith("ray::Worker.exc")
        ]
        if found:
            victim = chance.choice(found)
            victim.kill()
            print(f"  killed {victim.pid}", file=sys.stderr)
            victim.wait(10)
            return
        time.sleep(0.02)


def compare(
    args: argparse.Namespace, quiet: str, killed: str, total: int, before: int, after: int
) -> str:
    verified = subprocess.run([*CLI, "store", "verify", killed], capture_output=True, text=True)
    reference, ours = open_store(quiet), open_store(killed)
    keys = sorted(reference.keys())
    if keys != sorted(ours.keys()) or list(ours.failures()):
        sys.exit("records are missing or failed")
    if before + after != total:
        sys.exit(f"{before} were stored, {after} more were written, {total} there are")
    if verified.returncode:
        sys.exit(verified.stdout + verified.stderr)
    text = (
        f"{args.workers} workers on {total:,} problems; {args.kills} times one of them was killed "
        f"with SIGKILL in mid-run, then the driver; resumed with {args.workers + 1} workers. "
        f"{before:,} records were stored before and {after:,} after: every problem is there "
        "exactly once, and `verify` exits 0. "
    )
    if args.backend == "smollm2":
        return text + rounding(reference, ours)
    different = [key for key in keys if not same(reference.get(key), ours.get(key))]
    if different:
        sys.exit(f"{len(different)} records differ, the first {different[0]}")
    return text + "All records equal those of one process, bit for bit."


if __name__ == "__main__":
    main()
