"""What is said of solutions that were tampered with."""

from __future__ import annotations

import attrs
import numpy as np

from rjepa_cli.views.findings import findings
from rjepa_core.scoring import ScoredTrace
from rjepa_core.scoring.surprise import Comparison
from rjepa_core.testing.samples import sample_identity, sample_record


def scored(name: str, surprise: list[float], percentiles: list[float], **facts: int) -> ScoredTrace:
    trace = sample_record(sample_identity(), steps=len(surprise)).trace
    problem = attrs.evolve(trace.problem, id=name, metadata=facts)
    trace = attrs.evolve(trace, problem=problem)
    values = np.array(surprise, np.float32)
    return ScoredTrace(trace, values, tuple(percentiles), None, Comparison(3, 44, ()))


def test_findings_are_counted_as_they_are() -> None:
    likely = np.array([-1.0, -2.0, -9.0], np.float32)
    read = [
        (scored("a", [0.1, 0.9, 0.3], [1, 98.6, 5], foreign=2), likely),
        (scored("b", [0.1, 0.9, 0.3], [1, 94.9, 5], foreign=2), likely),
        (scored("c", [0.1, 0.9, 0.3], [1, 99, 96], foreign=3), likely),
        (scored("a-clean", [0.1, 0.9, 0.3], [1, 95.0, 5], clean=True), likely),
    ]
    lines = list(findings(read))
    assert "foreign: step 2 of 3, above 94 %; largest: step 2" in lines[1]
    assert lines[2].endswith("above 96 %; largest: step 2, not it")
    text = " ".join(lines)
    assert "The foreign step is the largest in 2 of 3" in text
    assert "above 95 % (where it stands out) in 2 of 3" in text
    assert "of 3 steps of the clean ones, 1 is above 95 %" in text
    assert "guessing 1 of 3" in text
    assert "the LLM's own log-probability 1." in text
    assert all(len(line) <= 80 for line in lines)
