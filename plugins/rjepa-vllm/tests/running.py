"""Run sessions over the real engine, and compare what they made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.problem import Problem
from rjepa_core.domain.prompt import pose
from rjepa_core.domain.segmentation import cut_completion
from rjepa_core.domain.trace import RecordKey, Work
from rjepa_core.extraction import BatchSession, Pending
from rjepa_core.ports.backend import LLMBackend, Observation, Room, Session, SessionSpec
from rjepa_core.settings import (
    DEFAULT_TEMPLATES,
    EncodingSettings,
    ModelSettings,
    SamplingSettings,
)

LAYERS = (0, 15, 29, 30)
Records = dict[RecordKey, LatentRecord]


def spec(pooling: str = "mean", tokens: int = 32) -> SessionSpec:
    return SessionSpec(
        sampling=SamplingSettings(max_new_tokens=tokens),
        encoding=EncodingSettings(
            layers=LAYERS, pooling=pooling, logprobs=True, store_dtype="float32"
        ),
        pose=lambda work: pose(work.problem, work.sample, DEFAULT_TEMPLATES),
        cut=cut_completion,
        clock=time.perf_counter,
    )


def problems(count: int, words: int = 0) -> list[Problem]:
    return [
        Problem.make(
            f"A shop sells {3 + n} kinds of tea at {5 + 2 * n} coins each. {'It is open. ' * words}"
            f"How many coins are {2 + n % 7} of each kind?"
        )
        for n in range(count)
    ]


def run(session: Session, work: Sequence[Work], rows: int) -> tuple[Records, list[Observation]]:
    pending, records, seen = Pending(work), {}, []
    while pending or session.in_flight:
        room = Room(max(0, rows - session.in_flight.rows), None, 4096, 4096)
        session.admit(pending.take(room, session.cost, not session.in_flight))
        step = session.advance(room)
        assert not step.failed, step.failed
        records.update((record.key, record) for record in step.finished)
        seen += [step.observation] if step.observation else []
    session.close()
    assert len(records) == len(work)
    return records, seen


def given(records: Records) -> list[Work]:
    return [Work(r.trace.problem, r.trace.sample, r.trace) for r in records.values()]


def theirs(records: Records, pooling: str = "mean") -> Records:
    """The same ids, encoded by the Hugging Face backend."""
    backend: Any = hugging_face()
    return run(BatchSession(backend, spec(pooling)), given(records), 8)[0]


_opened: list[LLMBackend] = []


def hugging_face() -> LLMBackend:
    from rjepa_adapters.huggingface.backend import HuggingFaceBackend
    from rjepa_adapters.huggingface.loading import load
    from rjepa_adapters.huggingface.settings import HuggingFaceSettings

    if not _opened:
        settings = HuggingFaceSettings()
        _opened.append(HuggingFaceBackend(load(ModelSettings(name="smollm2"), settings), settings))
    return _opened[0]


def worst(found: Records, wanted: Records) -> float:
    """The largest ‖a−b‖/‖b‖ of a vector; spans must be equal, and log-probabilities nearly."""
    errors = []
    for key, one in wanted.items():
        other = found[key]
        assert other.trace.spans == one.trace.spans
        assert other.logprobs is not None
        assert one.logprobs is not None
        assert np.abs(other.logprobs - one.logprobs).max() <= 1e-3
        for a, b in ((other.latents, one.latents), (other.prompt_latent, one.prompt_latent)):
            errors.append((np.linalg.norm(a - b, axis=-1) / np.linalg.norm(b, axis=-1)).max())
    return float(max(errors))
