"""The seeded backend, and backends with other sessions, against the backend's contract."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from engines import RefillingBackend, seeded

from rjepa_core.domain.problem import GivenSolution, Problem
from rjepa_core.domain.prompt import pose
from rjepa_core.domain.trace import Completion
from rjepa_core.ports.backend import LLMBackend
from rjepa_core.settings.extraction import ModelSettings, SamplingSettings
from rjepa_core.settings.templates import DEFAULT_TEMPLATES
from rjepa_core.testing.backend_suite import BackendContract
from rjepa_core.testing.seeded import SeededBackend, SeededSettings


class Exact(BackendContract):
    max_new_tokens = 300
    tolerance = 0.0
    same_ids = 1.0


class TestSeeded(Exact):
    @pytest.fixture
    def backend(self) -> Iterator[LLMBackend]:
        with seeded() as backend:
            yield backend


class TestRefilling(Exact):
    @pytest.fixture
    def backend(self) -> LLMBackend:
        return RefillingBackend(seeded())


def test_given_steps() -> None:
    backend = seeded()
    prompt = pose(Problem.make("How many?"), 0, DEFAULT_TEMPLATES)
    [read] = backend.read([prompt], [GivenSolution(steps=("a ½", "b 🙂", "c"))])
    assert isinstance(read, Completion)
    assert read.step_starts == (0, 4, 8)
    assert bytes(read.prompt_ids[slice(*read.statement_span)].tolist()).decode() == "How many?"


def test_the_length_limit_cuts_between_characters() -> None:
    backend = seeded()
    prompt = pose(Problem.make("How many?"), 0, DEFAULT_TEMPLATES)
    for limit in range(1, 60):
        [answer] = backend.generate([prompt], SamplingSettings(max_new_tokens=limit))
        assert isinstance(answer, Completion)
        assert len(answer.ids) == limit
        assert answer.finish_reason == "length"


def test_the_delay_is_settable() -> None:
    backend = SeededBackend(ModelSettings(name="slow"), SeededSettings(delay=0.05))
    began = time.perf_counter()
    backend.generate([pose(Problem.make("How many?"), 0, DEFAULT_TEMPLATES)], SamplingSettings())
    assert time.perf_counter() - began >= 0.05


def test_importing_the_kit_loads_no_test_library() -> None:
    script = (
        "import sys, rjepa_core.testing, rjepa_core.testing.seeded, rjepa_core.testing.memory_store"
        "; assert not {'pytest', 'hypothesis', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
