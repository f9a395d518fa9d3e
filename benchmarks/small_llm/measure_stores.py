"""How often the small LLM is right, part by part, and how sure it is of its slips.

    python benchmarks/small_llm/measure_stores.py runs/small-llm

A slip that the LLM is unsure of can be seen in its log-probability. The AUROC of the mean negative
log-probability for wrong against right solutions says how many can: over all solutions, and within
a problem (the mean over problems that have both).
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from pathlib import Path

import attrs
import numpy as np

import rjepa_core
from rjepa_core.domain.grade import RIGHT, UNGRADED, Grade
from rjepa_core.domain.problem import Split, split_of
from rjepa_core.evaluation.corruption import false_equations
from rjepa_core.evaluation.statistics import auroc
from rjepa_core.grading.report import Rate, summarise_grades


@attrs.frozen
class _Solution:
    grade: Grade
    unsure: float
    worst: float
    steps: int
    operations: int
    false: int

    @property
    def wrong(self) -> bool:
        return self.grade.mark != RIGHT


def read(place: Path) -> dict[Split, list[_Solution]]:
    """The graded solutions of each part."""
    found: dict[Split, list[_Solution]] = defaultdict(list)
    with rjepa_core.open_store(str(place), "read") as store:
        for grade in store.grades():  # type: ignore[attr-defined]
            if grade.mark == UNGRADED:
                continue
            record = store.get(grade.key)
            trace = record.trace
            assert record.logprobs is not None
            tokens = np.array([span.stop - span.start for span in trace.spans])
            found[split_of(trace.problem.statement_hash)].append(
                _Solution(
                    grade,
                    float(-(record.logprobs * tokens).sum() / tokens.sum()),
                    float(-record.logprobs.min()),
                    len(trace.spans),
                    int(trace.problem.metadata.get("operations", 0)),
                    sum(map(false_equations, trace.step_texts)),
                )
            )
    return found


def within(some: list[_Solution], of: str) -> tuple[float, int]:
    """The mean AUROC over the problems with right and wrong solutions, and how many they are."""
    each: dict[str, list[_Solution]] = defaultdict(list)
    for one in some:
        each[one.grade.key.problem_id].append(one)
    mixed = [own for own in each.values() if len({one.wrong for one in own}) == 2]
    rates = [auroc([getattr(s, of) for s in own], [s.wrong for s in own]) for own in mixed]
    return float(np.mean(rates)) if rates else float("nan"), len(mixed)


def _said(rate: Rate | None) -> str:
    if rate is None:
        return "none"
    return f"{100 * rate.value:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def report(part: Split, some: list[_Solution]) -> None:
    summary = summarise_grades((one.grade for one in some), len(some))
    print(f"\n{part.value}: {len(some)} solutions, {np.mean([s.steps for s in some]):.2f} steps")
    print("  accuracy", _said(summary.accuracy))
    for k, rate in summary.pass_at.items():
        print(f"  pass@{k}", _said(rate))
    print("  majority", _said(summary.majority))
    print(f"  of {summary.wrong} wrong ones {summary.no_answer} give no answer")
    by_steps = [
        f"{n}: {np.mean([not s.wrong for s in some if s.operations == n]):.2f} of {count}"
        for n, count in sorted(Counter(s.operations for s in some).items())
    ]
    print("  accuracy by the steps that are needed", ", ".join(by_steps))
    wrong = [one for one in some if one.wrong]
    if not wrong or len(wrong) == len(some):
        return
    labels = [one.wrong for one in some]
    for name, own in (("wrong", wrong), ("right", [one for one in some if not one.wrong])):
        print(f"  {name} ones with a false equation {np.mean([s.false > 0 for s in own]):.2f}")
    for name in ("unsure", "worst", "steps", "false"):
        inner, count = within(some, name)
        overall = auroc([float(getattr(s, name)) for s in some], labels)
        print(f"  AUROC {name}: {overall:.3f} overall, {inner:.3f} within {count} problems")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    found = read(parser.parse_args().store)
    for part in Split:
        if found[part]:
            report(part, found[part])


if __name__ == "__main__":
    main()
