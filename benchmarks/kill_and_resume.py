"""Kill a real extraction with SIGKILL, again and again, resume it, and compare with a quiet run.

    python benchmarks/kill_and_resume.py                     100 kills, seeded backend
    python benchmarks/kill_and_resume.py --backend smollm2   5 kills with SmolLM2

The moments are drawn between the first commit and the end. At the end every problem must be there
exactly once, `verify` must find nothing, and the records must equal those of a run that nobody
disturbed.
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

import attrs
import numpy as np

from reporting import write_section
from rjepa_core import LatentRecord, RJepaError, open_store
from rjepa_core.ports.store import LatentStore

COUNTS = {"gsm8k": 8792, "math": 12500, "humaneval": 164}

# The command line itself, with a byte of shared memory that is 1 while a transaction is open.
CHILD = """
import mmap, sys
from rjepa_adapters.lmdb_store.environment import Environment
file = open(sys.argv.pop(1), "r+b")
flag = mmap.mmap(file.fileno(), 1)
write = Environment.write
def marked(self, *args, **more):
    flag[0] = 1
    try:
        return write(self, *args, **more)
    finally:
        flag[0] = 0
Environment.write = marked
from rjepa_cli.main import main
sys.argv[0] = "rjepa-cli"
main()
"""


@attrs.define
class Tally:
    """What the kills hit."""

    kills: int = 0
    after_commit: int = 0
    in_transaction: int = 0
    grown: list[int] = attrs.field(factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=["seeded", "smollm2"], default="seeded")
    parser.add_argument("--kills", type=int)
    parser.add_argument("--problems", type=int, help="of the 21,456, for a short run")
    parser.add_argument("--extraction", help="how the backend arranges its passes, where it knows")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-report", action="store_true")
    args = parser.parse_args()
    kills = args.kills or (100 if args.backend == "seeded" else 5)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        base = arguments(args.backend, work, args.problems)
        if args.extraction:
            base += ["--set", f"backend.extraction={args.extraction}"]
        quiet, killed = work / "quiet", work / "killed"
        began = time.perf_counter()
        run(base, quiet, work)
        seconds = time.perf_counter() - began
        with_store = open_store(str(quiet))
        total = len(with_store)
        with_store.close()
        print(f"undisturbed: {total} records in {seconds:.1f} s", file=sys.stderr)
        tally = disturb(base, killed, work, kills, total, random.Random(args.seed))
        run([*base, "--resume"], killed, work)
        text = compare(quiet, killed, args.backend, tally, total)
    if not args.no_report:
        write_section(
            f"kill and resume {args.backend}",
            f"{kills} kills ({args.backend})",
            text,
            f"python benchmarks/kill_and_resume.py --backend {args.backend}",
        )
    else:
        print(text)


def arguments(backend: str, work: Path, wanted: int | None) -> list[str]:
    if backend == "smollm2":
        return [
            "--problems",
            "demo",
            "--model",
            "smollm2",
            "--device",
            "cpu",
            "--batch-size",
            "3",
            "--max-new-tokens",
            "40",
            "--checkpoint-every",
            "3",
        ]
    command = ["--backend", "seeded", "--model", "seeded", "--batch-size", "8"]
    command += ["--checkpoint-every", "16", "--set", "backend.delay=0.004"]
    left = wanted or sum(COUNTS.values())
    for name, count in COUNTS.items():
        file = work / f"{name}.jsonl"
        rows = [
            {"id": f"{name}-{i:05}", "question": f"{name} {i}: what is {i} times {i + 1}?"}
            for i in range(min(count, left))
        ]
        left -= len(rows)
        if rows:
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
            command += ["--problems", str(file)]
    return command


def start(base: list[str], store: Path, work: Path) -> subprocess.Popen[bytes]:
    flag = work / "flag"
    flag.write_bytes(b"\0")
    command = [sys.executable, "-c", CHILD, str(flag), "extract", *base, "--store", str(store)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=(work / "log").open("wb"))


def run(base: list[str], store: Path, work: Path) -> None:
    process = start(base, store, work)
    if process.wait() != 0:
        sys.exit((work / "log").read_text())


def disturb(
    base: list[str], store: Path, work: Path, kills: int, total: int, chance: random.Random
) -> Tally:
    """Kill the run at `kills` moments, each within a stretch of its own of the whole run."""
    tally = Tally()
    # Drawn evenly over the run; what follows the last one is a little, so that it cannot end first.
    marks = sorted(chance.uniform(0.0, 0.97) for _ in range(kills))
    for number, mark in enumerate(marks):
        before = count(store)
        process = start([*base, "--resume"], store, work)
        wait_for(process, store, max(int(mark * total), before + 1), work)
        time.sleep(chance.uniform(0, 0.06))
        process.send_signal(signal.SIGSTOP)  # so that the flag is read at the moment of the kill
        inside = (work / "flag").read_bytes() == b"\1"
        process.kill()
        if process.wait() != -signal.SIGKILL:
            sys.exit(f"kill {number}: the run ended by itself first; use more problems")
        now = count(store)
        tally.kills += 1
        tally.after_commit += now > before
        tally.in_transaction += inside
        tally.grown.append(now - before)
        print(
            f"  kill {number + 1}: {now}/{total} stored, in a transaction: {inside}",
            file=sys.stderr,
        )
    return tally


def wait_for(process: subprocess.Popen[bytes], store: Path, records: int, work: Path) -> None:
    while count(store) < records:
        if process.poll() is not None:
            sys.exit(f"the run ended by itself:\n{(work / 'log').read_text()}")
        time.sleep(0.005)


def count(store: Path) -> int:
    try:
        opened = open_store(str(store))
    except RJepaError:
        return 0
    try:
        return len(opened)
    finally:
        opened.close()


def compare(quiet: Path, killed: Path, backend: str, tally: Tally, total: int) -> str:
    verified = subprocess.run(
        [sys.executable, "-m", "rjepa_cli", "store", "verify", str(killed)], capture_output=True
    )
    reference, ours = open_store(str(quiet)), open_store(str(killed))
    if sorted(reference.keys()) != sorted(ours.keys()) or list(ours.failures()):
        sys.exit("records are missing, repeated or failed")
    text = (
        f"{tally.kills} times SIGKILL in a run over {total:,} problems: {tally.after_commit} "
        f"after a commit of the run that was killed, {tally.in_transaction} inside a transaction. "
        f"At the end every problem is there exactly once; `verify` exits {verified.returncode}. "
    )
    if verified.returncode:
        sys.exit(text + verified.stdout.decode() + verified.stderr.decode())
    if backend == "seeded":
        keys = list(reference.keys())
        different = [key for key in keys if not same(reference.get(key), ours.get(key))]
        if different:
            sys.exit(f"{len(different)} records differ, the first {different[0]}")
        return text + "All records equal those of an undisturbed run, bit for bit."
    return text + rounding(reference, ours)


def same(a: LatentRecord, b: LatentRecord) -> bool:
    return (
        a.latents.tobytes() == b.latents.tobytes()
        and a.prompt_latent.tobytes() == b.prompt_latent.tobytes()
        and a.trace.completion_ids.tobytes() == b.trace.completion_ids.tobytes()
        and a.trace.completion == b.trace.completion
        and a.trace.spans == b.trace.spans
        and a.trace.problem == b.trace.problem
    )


def rounding(reference: LatentStore, ours: LatentStore) -> str:
    keys = list(reference.keys())
    equal, worst = 0, 0.0
    for key in keys:
        a, b = ours.get(key), reference.get(key)
        if np.array_equal(a.trace.completion_ids, b.trace.completion_ids):
            equal += 1
            x, y = a.latents.astype(np.float32), b.latents.astype(np.float32)
            error = np.linalg.norm(x - y, axis=-1) / np.linalg.norm(y, axis=-1)
            worst = max(worst, float(error.max()))
    text = (
        f"Token ids equal those of an undisturbed run for {equal} of {len(keys)} traces; the "
        f"vectors of these differ by at most {worst:.1e} (‖a−b‖/‖b‖)."
    )
    if equal < 0.95 * len(keys) or worst > 2e-3:
        sys.exit(text)
    return text


if __name__ == "__main__":
    main()
