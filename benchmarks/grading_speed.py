"""How many pairs of answers a minute the grader `math` compares, plain numbers and all by algebra.

    python benchmarks/grading_speed.py                    a minute or two
    python benchmarks/grading_speed.py --pairs 2000       a short run

Both sides get pairs of the same numbers: with commas, money, units, percent, decimals and simple
fractions, half of them wrong. One is `math` as it is, in one thread. The other sends every pair to
the processes with math-verify, two of them, whose start is not counted.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence

from reporting import table, write_section
from rjepa_adapters.graders.math import MathGrader
from rjepa_adapters.graders.settings import MathSettings
from rjepa_core.domain.problem import Problem
from rjepa_core.grading import comparable
from rjepa_core.ports.grader import Submission

WORKERS = 2
# Algebra is slow; a part of the pairs tells its speed.
ALGEBRA_SHARE = 50


def make_pairs(count: int, seed: int = 0) -> list[Submission]:
    """Pairs of plain numbers, as models write them."""
    source = random.Random(seed)
    writings: Sequence[Callable[[int], str]] = (
        str,
        lambda n: f"{n:,}",
        lambda n: f"${n:,}.00",
        lambda n: f"{n} dollars",
        lambda n: f"{n}%",
        lambda n: f"\\frac{{{2 * n}}}{{2}}",
        lambda n: f"{n}.0 km",
        lambda n: f"x = {n}",
    )
    found = []
    for i in range(count):
        number = source.randrange(-(10**5), 10**5)
        given = number + source.randrange(2)
        problem = Problem(f"p-{i}", "?", answer=str(number))
        found.append(Submission(problem, str(number), source.choice(writings)(given)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200_000)
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    chosen = parser.parse_args()
    pairs = make_pairs(chosen.pairs)
    grader = MathGrader(MathSettings(workers=WORKERS))
    began = time.perf_counter()
    marks = Counter(verdict.mark for verdict in grader.grade(pairs))
    plain = time.perf_counter() - began
    few = pairs[: max(20, len(pairs) // ALGEBRA_SHARE)]
    texts = [(comparable(one.expected or ""), comparable(one.answer or "")) for one in few]
    list(grader._workers.compare(texts[:20]))
    began = time.perf_counter()
    by_algebra = list(grader._workers.compare(texts))
    algebra = time.perf_counter() - began
    grader.close()
    differ = Counter(
        re.sub(r"\d+", "N", pair[1])
        for pair, one, other in zip(texts, grader.grade(few), by_algebra, strict=True)
        if one.mark != other.mark
    )
    rows = [
        ("plain numbers, one thread", len(pairs), f"{60 * len(pairs) / plain:,.0f}"),
        (f"math-verify, {WORKERS} processes", len(few), f"{60 * len(few) / algebra:,.0f}"),
    ]
    text = table(("", "pairs", "pairs a minute"), rows)
    text += f"\n\nMarks: {dict(marks)}; of {len(few)} pairs both sides agree on "
    text += f"{len(few) - differ.total()}; they differ on {', '.join(sorted(differ)) or 'none'}."
    print(f"load {os.getloadavg()[0]:.1f}\n{text}")
    if chosen.write:
        write_section("grading-speed", "Grading", text, "benchmarks/grading_speed.py")


if __name__ == "__main__":
    main()
