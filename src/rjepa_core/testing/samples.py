"""Sample identities, records and failures, and what the store suites share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest

from ..domain.grade import RIGHT, Grade, Mark
from ..domain.identity import Generation, Identity, LatentSpace, PromptIdentity
from ..domain.latents import LatentRecord
from ..domain.problem import Problem
from ..domain.trace import OUT_OF_MEMORY, Failure, RecordKey, StepSpan, Trace
from ..plugins import StoreAdapter
from ..ports.store import LatentStore, StoreMode
from ..settings import STORE_DTYPES


def sample_identity(
    layers: int = 1, width: int = 8, dtype: str = "float16", logprobs: bool = False, seed: int = 0
) -> Identity:
    """Return an identity whose stores keep [layers, S, width] vectors of `dtype`."""
    space = LatentSpace(
        model="sample",
        quantisation="none",
        compute_dtype="float32",
        store_dtype=dtype,
        layers=tuple(range(1, layers + 1)),
        pooling="mean",
        prompt=PromptIdentity({"math": "Solve: {statement}"}),
        steps="auto",
        hidden_size=width,
    )
    generation = Generation("sampled", 300, 0.7, seed=seed)
    return Identity(space, generation, logprobs, {"model": "sample"})


def told_identity(tokenizer: str, date: str | None = None) -> Identity:
    """Return the identity of `sample_identity()`, with fields that an older version lacks."""
    identity = sample_identity()
    space = attrs.evolve(
        identity.space,
        tokenizer=tokenizer,
        prompt=attrs.evolve(identity.space.prompt, date=date),
    )
    generation = attrs.evolve(identity.generation, end_ids=(2,), sampler="sampler-1")
    return attrs.evolve(identity, space=space, generation=generation)


def sample_problem(problem_id: str = "p-0", statement: str | None = None) -> Problem:
    """Return a problem whose statement is derived from its id unless one is given."""
    return Problem(
        problem_id,
        statement or f"What is {problem_id}? Ünïcode: \u4e16\U0001f600",
        "math",
        "arithmetic",
        "42",
        {"line": "7", "source": "samples"},
    )


def sample_record(
    identity: Identity,
    problem_id: str = "p-0",
    sample: int = 0,
    steps: int = 3,
    seed: int = 0,
    statement: str | None = None,
    thinking: int = 0,
) -> LatentRecord:
    """Return a record that fits an identity; another seed gives other contents.

    It has `steps` steps, of which the first `thinking` are thinking.
    """
    random = np.random.default_rng([seed, steps, sample, *problem_id.encode("utf-8", "replace")])
    layers, width = len(identity.space.layers), identity.space.hidden_size
    dtype = STORE_DTYPES[identity.space.store_dtype]
    texts = tuple(f"Step {i + 1}: {random.integers(1000)} é\n" for i in range(steps))
    spans = tuple(StepSpan(4 * i, 4 * i + 4, i == steps - 1, i < thinking) for i in range(steps))
    problem = sample_problem(problem_id, statement)
    trace = Trace(
        problem=problem,
        sample=sample,
        prompt_text=f"<user>Solve: {problem.statement}",
        prompt_ids=random.integers(0, 50_000, 9).astype(np.int32),
        statement_span=(2, 8),
        completion="".join(texts) + "#### 42",
        completion_ids=random.integers(0, 50_000, 4 * steps + 2).astype(np.int32),
        spans=spans,
        step_texts=texts,
        answer="#### 42",
        strategy="markers",
        finish_reason="length",
        metadata={"correct": "true"},
    )
    return LatentRecord(
        trace,
        random.standard_normal((layers, steps, width)).astype(dtype),
        random.standard_normal((layers, width)).astype(dtype),
        random.standard_normal(steps).astype(np.float32) if identity.logprobs else None,
    )


def sample_failure(
    problem_id: str = "f-0",
    sample: int = 0,
    reason: str = OUT_OF_MEMORY,
    statement: str | None = None,
) -> Failure:
    """Return a failure of the problem that `sample_problem` returns for the same arguments."""
    digest = sample_problem(problem_id, statement).statement_hash
    return Failure(RecordKey(problem_id, sample), digest, reason, "a detail", 12_345)


def sample_grade(
    problem_id: str = "p-0", sample: int = 0, mark: Mark = RIGHT, version: str = "1"
) -> Grade:
    """The grade of the record that `sample_record` gives for the same id and sample."""
    return Grade(RecordKey(problem_id, sample), mark, "é reason", "42", "sample", version)


def record_differences(a: LatentRecord, b: LatentRecord) -> list[str]:
    """Return the names of the fields in which two records differ, bit for bit."""
    differing = [
        name
        for name in Trace.__annotations__
        if not _equal(getattr(a.trace, name), getattr(b.trace, name))
    ]
    for name in ("latents", "prompt_latent", "logprobs"):
        if not _equal(getattr(a, name), getattr(b, name)):
            differing.append(name)
    return differing


def _equal(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return type(a) is type(b) and a == b


# The type of pytest's `tmp_path`; the core, its suites included, does not import pathlib.
TmpPath = Any
Open = Callable[..., LatentStore]


def assert_same(found: LatentRecord, written: LatentRecord, promise: str) -> None:
    """Fail with the names of the fields that differ, if any."""
    differing = record_differences(found, written)
    assert not differing, f"{promise}; differing: {', '.join(differing)}"


class StoreCase:
    """Fixtures for the adapter under test."""

    adapter: ClassVar[StoreAdapter]

    def where(self, tmp_path: TmpPath, name: str) -> str:
        """Return the location for a store called `name`, new in each test."""
        raise NotImplementedError

    def vanish(self, tmp_path: TmpPath, name: str) -> None:
        """Remove the store called `name` while handles have it open."""
        pytest.skip("vanish() is not implemented, which removes a store")

    @pytest.fixture
    def open_store(self, tmp_path: TmpPath) -> Iterator[Open]:
        """Return a function that opens stores, which are closed after the test."""
        opened: list[LatentStore] = []

        def open_one(mode: StoreMode = "write", name: str = "a", **options: Any) -> LatentStore:
            settings = self.adapter.configure(options, "store")
            store = self.adapter.create(self.where(tmp_path, name), mode, settings)
            opened.append(store)
            return store

        yield open_one
        for store in reversed(opened):
            store.close()

    @pytest.fixture
    def identity(self) -> Identity:
        return sample_identity()

    @pytest.fixture
    def store(self, open_store: Open, identity: Identity) -> LatentStore:
        """Return a new store with an identity and nothing else."""
        store = open_store()
        store.begin(identity)
        return store
