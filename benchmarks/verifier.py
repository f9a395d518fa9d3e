"""What a verifier is worth, by docs/explanation/verifier-protocol.md. Three parts:

    python benchmarks/verifier.py damage STORE --world-model RUN --runs DIR [--split validation]
    python benchmarks/verifier.py labelled STORE LABELLED --world-model RUN --runs DIR
    python benchmarks/verifier.py best-of STORE --runs DIR [--split validation]

`damage` and `labelled` read the sibling stores STORE.damage-train, -validation and -test, which
`rjepa-cli damage` makes; LABELLED is the store of labelled solutions that `rjepa-cli evaluate
--labelled` makes. `best-of` takes a graded store with several samples a problem. Verifiers that are
in DIR already are not trained again. Each part writes its section into docs/benchmarks.md, and what
it measured into docs/benchmarks/verifier/.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import verifier_best_of
import verifier_damage
import verifier_labelled
from reporting import PAGE, write_section

PARTS = {
    "damage": verifier_damage,
    "labelled": verifier_labelled,
    "best-of": verifier_best_of,
}
KEPT = PAGE.parent / "benchmarks" / "verifier"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part", required=True)
    for name, module in PARTS.items():
        one = parts.add_parser(name, help=(module.__doc__ or "").splitlines()[0])
        one.add_argument("store", type=Path)
        if name == "labelled":
            one.add_argument("labelled", type=Path)
        if name != "best-of":
            one.add_argument("--world-model", required=True, help="run that surprise is read from")
        one.add_argument("--runs", type=Path, required=True, help="folder for the verifiers")
        one.add_argument("--split", choices=["test", "validation"], default="test")
        one.add_argument("--set", action="append", default=[], help="a setting of the verifiers")
        one.add_argument("--print", action="store_true", help="print it, and write nothing")
    args = parser.parse_args()
    title, text, facts = PARTS[args.part].measure(args)
    if args.print:
        print(text)
        return
    KEPT.mkdir(parents=True, exist_ok=True)
    kept: Mapping[str, Any] = {"split": args.split, **facts}
    (KEPT / f"{args.part}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    command = f"python benchmarks/verifier.py {args.part} STORE …"
    write_section(f"verifier-{args.part}", title, text, command)


if __name__ == "__main__":
    sys.exit(main())
