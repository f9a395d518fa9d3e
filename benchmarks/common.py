"""What the benchmarks share: real problems, and a backend with its prompts."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from rjepa_adapters.huggingface.backend import HuggingFaceBackend
from rjepa_adapters.huggingface.loading import load
from rjepa_adapters.huggingface.settings import HuggingFaceSettings
from rjepa_core.domain.problem import Problem
from rjepa_core.domain.prompt import pose
from rjepa_core.domain.segmentation import cut_completion, make_trace
from rjepa_core.domain.trace import Completion, Prompt, Trace
from rjepa_core.plugins import Registry, open_sources
from rjepa_core.ports.backend import Refused
from rjepa_core.settings import DEFAULT_TEMPLATES, ModelSettings, ProblemSettings, SamplingSettings

GSM8K = Path(__file__).parents[1].parent / "shared" / "data" / "gsm8k_train.jsonl"


def problems(count: int, source: str | None = None) -> list[Problem]:
    """The first problems of a source; GSM8K where it is beside the checkout, else the demo's."""
    if source is None:
        source = str(GSM8K) if GSM8K.exists() else "demo"
    [opened] = open_sources(ProblemSettings(sources=(source,)), Registry())
    found = [row.problem for row in itertools.islice(opened.rows(), count)]
    if len(found) < count:
        sys.exit(
            f"{source} has only {len(found)} problems, {count} are needed; give another --problems"
        )
    return found


def backend(name: str, device: str = "auto", dtype: str = "auto") -> HuggingFaceBackend:
    settings = HuggingFaceSettings()
    return HuggingFaceBackend(
        load(ModelSettings(name=name, device=device, dtype=dtype), settings), settings
    )


def prompts(some: list[Problem], sample: int = 0) -> list[Prompt]:
    return [pose(problem, sample, DEFAULT_TEMPLATES) for problem in some]


def generate(
    model: HuggingFaceBackend, some: list[Problem], sampling: SamplingSettings, batch: int
) -> list[Completion]:
    """Completions in order, `batch` problems at a time."""
    found: list[Completion] = []
    for begin in range(0, len(some), batch):
        answers = model.generate(prompts(some[begin : begin + batch]), sampling)
        for answer in answers:
            if isinstance(answer, Refused):
                sys.exit(f"refused: {answer.detail}")
            found.append(answer)
        print(f"  batch {batch}: {len(found)}/{len(some)}", file=sys.stderr)
    return found


def trace(problem: Problem, answer: Completion) -> Trace:
    return make_trace(problem, 0, answer, cut_completion(answer))
