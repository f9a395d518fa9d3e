"""Traces made by a backend itself, for the tests of encoding."""

from __future__ import annotations

from collections.abc import Sequence

from rjepa_core.domain.problem import GivenSolution, Problem
from rjepa_core.domain.prompt import pose
from rjepa_core.domain.segmentation import cut_completion, make_trace
from rjepa_core.domain.trace import Completion, Prompt, Trace
from rjepa_core.extraction.batch_backend import BatchBackend
from rjepa_core.ports.backend import Refused
from rjepa_core.settings.extraction import SamplingSettings
from rjepa_core.settings.templates import DEFAULT_TEMPLATES

STATEMENTS = [
    "Mara picks 14 plums and gives a third of the first dozen away. How many are left?",
    "A train runs 84 km in 70 minutes. How far does it run in two hours?",
    "Each of 7 boxes holds 12 pens; 9 pens are dry. How many pens write?",
    "What is 15% of 240?",
    "Tom is twice as old as Ada, who is 11. How old were both together three years ago?",
    "A rope of 9.6 m is cut into 4 equal parts. How long is one?",
    "Naïve 🙂 question: 漢字 aside, what is ½ of 18?",
    "A bakery sells 36 rolls before noon and half as many after. How many of 60 remain?",
]


def problems(count: int) -> list[Problem]:
    """Different problems, as many as wanted."""
    return [
        Problem.make(f"{STATEMENTS[i % len(STATEMENTS)]}" + (f" (variant {i})" if i > 7 else ""))
        for i in range(count)
    ]


def prompts_of(some: Sequence[Problem], sample: int = 0) -> list[Prompt]:
    return [pose(p, sample, DEFAULT_TEMPLATES) for p in some]


def generated(
    backend: BatchBackend, some: Sequence[Problem], sampling: SamplingSettings
) -> list[Trace]:
    answers = backend.generate(prompts_of(some), sampling)
    return [trace_of(p, a) for p, a in zip(some, answers, strict=True)]


def given(backend: BatchBackend, some: Sequence[Problem], text: str) -> list[Trace]:
    answers = backend.read(prompts_of(some), [GivenSolution(text)] * len(some))
    return [trace_of(p, a) for p, a in zip(some, answers, strict=True)]


def trace_of(problem: Problem, answer: Completion | Refused) -> Trace:
    assert isinstance(answer, Completion)
    found = cut_completion(answer)
    assert found.spans
    return make_trace(problem, 0, answer, found)
