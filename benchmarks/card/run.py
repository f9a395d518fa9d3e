"""Everything that needs a card, in one command: the most valuable first, each part with a limit.

    python benchmarks/card/pack.py                      where there is a network
    python benchmarks/card/run.py --packed benchmarks/card/packed --minutes 8 --out DIR
    python benchmarks/card/report.py DIR                into docs/benchmarks.md

    python benchmarks/card/run.py --rehearse            every part, tiny, on a CPU

Each part is a process of its own that is killed at its limit; what it had measured is kept. The
same command goes on where an earlier one ended, and tries again what failed. DIR gets three files:
`results.jsonl`, `profile.txt` and `log.txt`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import Figures, last_lines

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# Seconds at most, in order of worth.
PARTS = {
    "part1_right": 60.0,
    "part2_fast": 180.0,
    "part3_memory": 60.0,
    "part4_awq": 90.0,
    "part5_world_model": 60.0,
}
LEAST = 5.0  # no part is started with less
LOG = 1 << 20  # bytes that are kept of it


def main() -> None:
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="never exceeded")
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--packed", type=Path, help="folder that pack.py made")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--rehearse", action="store_true", help="tiny, on a CPU")
    args = parser.parse_args()
    if not args.rehearse and None in (args.out, args.packed):
        parser.error("give --out, and --packed with what pack.py made; or --rehearse")
    if args.out is None:
        args.out = Path(tempfile.mkdtemp(prefix="card-rehearsal-"))
    args.out.mkdir(parents=True, exist_ok=True)
    environment = prepare(args.packed, args.rehearse)
    # A rehearsal shows that everything runs, and may share a slow machine with others.
    patience = 5.0 if args.rehearse else 1.0
    for part in args.parts:
        left = args.minutes * 60 - (time.monotonic() - began)
        if complete(args.out, part):
            print(f"{part}: all of it is measured", flush=True)
        elif left < LEAST:
            print(f"{part}: not started, the time is used up", flush=True)
        else:
            run(part, min(patience * PARTS[part], left), args, environment)
    trim(args.out / "log.txt")
    sys.exit(0 if table(args.out, args.parts) else 1)


def prepare(packed: Path | None, rehearse: bool) -> dict[str, str]:
    """The parts' environment; what was packed is installed first, without a network."""
    folders = [ROOT / "benchmarks", ROOT / "tests" / "support"]
    more = {"HF_HUB_OFFLINE": "1"}
    if rehearse:
        more |= {"OMP_NUM_THREADS": "1", "TRITON_INTERPRET": "1"}
    if packed is not None:
        wheels = sorted(packed.resolve().glob("*.whl"))
        if not wheels:
            sys.exit(f"{packed}: there are no wheels; run pack.py where there is a network")
        site = Path(tempfile.gettempdir()) / "rjepa-card-site"
        command = "install --quiet --no-index --no-deps --no-compile --upgrade --target"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", *command.split()]
        if subprocess.run([*pip, str(site), *map(str, wheels)]).returncode:
            sys.exit(f"{packed}: cannot be installed; it is for Python 3.12 on x86-64 Linux")
        folders.insert(0, site)
        more["RJEPA_CARD_PROBLEMS"] = str(packed.resolve() / "problems.jsonl")
    paths = [*map(str, folders), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, **more, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def run(part: str, limit: float, args: argparse.Namespace, environment: dict[str, str]) -> None:
    """One part in a process group of its own, which is gone afterwards."""
    print(f"{part}: at most {limit:.0f} s", flush=True)
    command = [sys.executable, "-u", str(HERE / f"{part}.py"), "--out", str(args.out)]
    command += ["--rehearse"] if args.rehearse else []
    with (args.out / "log.txt").open("ab") as log:
        start = log.tell()
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        wrong = None
        try:
            if process.wait(limit) != 0:
                wrong = f"exit code {process.returncode}"
        except subprocess.TimeoutExpired:
            wrong = f"stopped at its limit of {limit:.0f} s"
        finally:
            end_group(process)
    figures = Figures(args.out, part)
    if wrong is not None:
        said = (args.out / "log.txt").read_bytes()[start:].decode(errors="replace")
        figures.keep("ending", error=f"{wrong}: {last_lines(said)}")
    else:
        figures.keep("ending", text="ended by itself")


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill whatever of a part still runs, services and other children included."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def complete(out: Path, part: str) -> bool:
    """Whether a part came to its end, and nothing in it failed."""
    rows = [row for row in Figures(out).rows() if row["part"] == part]
    return any(row["key"] == "ending" for row in rows) and not any("error" in row for row in rows)


def trim(log: Path) -> None:
    """Keep the end of a long log."""
    if log.exists() and log.stat().st_size > LOG:
        log.write_bytes(log.read_bytes()[-LOG:])


def table(out: Path, parts: list[str]) -> bool:
    """Print a line a figure; whether all parts are complete."""
    print()
    for row in Figures(out).rows():
        error = row.get("error")
        said = f"FAILED: {error.splitlines()[-1]}" if error else row.get("text", "")
        print(f"{row['part']:18} {row['key']:24} {said}"[:160])
    return all(complete(out, part) for part in parts)


if __name__ == "__main__":
    main()
