"""What travels to a machine with a card and no network: this library, packages that such a machine
lacks, and problems; wheels for Python 3.12 on x86-64.

    python benchmarks/card/pack.py [--out benchmarks/card/packed]

What the machine is taken to have stands in `machine.txt`. AutoAWQ has no wheel and is built here,
which takes a Python that has torch and setuptools.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from itertools import islice
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GSM8K = ROOT.parent / "shared" / "data" / "gsm8k_train.jsonl"
PROBLEMS = 512
MOST = 50  # MiB
# In the versions of constraints.txt.
MISSING = [
    *("httpcore2", "httpx2", "lmdb", "truststore"),
    # AutoAWQ imports it.
    *("datasets", "dill", "multiprocess", "pandas", "python-dateutil", "tzdata", "zstandard"),
    # The service's.
    *("annotated-types", "fastapi", "fastapi_offline", "httptools", "opentelemetry-api"),
    *("pydantic", "pydantic_core", "starlette", "typing-inspection", "uvicorn"),
]
BUILT = "autoawq==0.2.9"
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 24, 17)] + ["manylinux2014_x86_64"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE / "packed")
    parser.add_argument("--problems", type=Path, default=GSM8K, help="GSM8K's, as JSON Lines")
    args = parser.parse_args()
    if not args.problems.exists():
        sys.exit(f"{args.problems} is not there; give GSM8K's problems by --problems")
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    to = ["--no-deps", "--wheel-dir", args.out]
    pip("wheel", *to, ROOT)
    pip("wheel", *to, "--no-build-isolation", BUILT)
    target = ["--only-binary=:all:", "--python-version", "3.12", "--implementation", "cp"]
    for platform in PLATFORMS:
        target += ["--platform", platform]
    constraints = ["--constraint", ROOT / "constraints.txt"]
    pip("download", "--no-deps", "--dest", args.out, *target, *constraints, *MISSING)
    problems(args.problems, args.out / "problems.jsonl")
    total = 0
    for file in sorted(args.out.iterdir()):
        total += file.stat().st_size
        print(f"{file.stat().st_size / 2**20:8.2f} MiB  {file.name}")
    print(f"{total / 2**20:8.2f} MiB  in all, of {MOST} at most")
    if total > MOST * 2**20:
        sys.exit("too much to travel")


def pip(*words: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, words)]
    subprocess.run([*command, "--quiet"], check=True)


def problems(source: Path, target: Path) -> None:
    """The first problems, and how many words the worked solution of each has: real answers have
    lengths in these proportions."""
    with source.open(encoding="utf-8") as lines, target.open("w", encoding="utf-8") as file:
        for number, row in enumerate(map(json.loads, islice(lines, PROBLEMS))):
            kept = {"id": f"gsm8k-{number}", "problem": row["question"]}
            file.write(json.dumps({**kept, "words": len(row["answer"].split())}) + "\n")


if __name__ == "__main__":
    main()
