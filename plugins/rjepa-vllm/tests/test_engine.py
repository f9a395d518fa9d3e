"""The real engine with SmolLM2 on a CPU: vectors, prefix caching, preemption, and its death."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from rjepa_vllm import engine as engine_module
from rjepa_vllm.backend import VllmBackend
from rjepa_vllm.settings import VllmSettings
from running import given, problems, run, spec, theirs, worst

from rjepa_core.domain.trace import Work
from rjepa_core.errors import BackendError, UnsupportedError
from rjepa_core.ports.backend import LLMBackend, Room, Session
from rjepa_core.settings import POOLINGS, ModelSettings

pytestmark = [pytest.mark.smollm2, pytest.mark.slow]
# A row as long as the model may need has room, several do not.
FEW_BLOCKS = 10


@pytest.fixture(scope="module")
def apart() -> Iterator[VllmBackend]:
    """A backend whose engine has a process of its own, little cache, and no prefix caching."""
    settings = VllmSettings(
        own_process=True,
        max_model_len=1024,
        engine={"enable_prefix_caching": "false", "num_gpu_blocks_override": FEW_BLOCKS},
    )
    with VllmBackend(ModelSettings(name="smollm2"), settings) as opened:
        yield opened


@pytest.mark.parametrize("pooling", POOLINGS)
def test_vectors_are_those_of_the_hugging_face_backend(backend: LLMBackend, pooling: str) -> None:
    work = [Work(problem, sample) for problem in problems(3) for sample in range(2)]
    records, _ = run(backend.open_session(spec(pooling)), work, 4)
    wanted = theirs(records, pooling)
    assert worst(records, wanted) <= 1e-3
    read, _ = run(backend.open_session(spec(pooling)), given(records), 4)
    assert worst(read, wanted) <= 1e-3


def test_a_cached_prefix_changes_nothing(
    backend: LLMBackend, apart: VllmBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached: list[int] = []
    tokens: Any = engine_module._tokens

    def watched(output: Any) -> Any:
        cached.append(output.num_cached_tokens or 0)
        return tokens(output)

    monkeypatch.setattr(engine_module, "_tokens", watched)
    work = [Work(problem, sample) for problem in problems(2, words=60) for sample in range(2)]
    # One after another, so that the second finds the first one's prompt.
    with_cache, _ = run(backend.open_session(spec()), work, 1)
    assert max(cached) >= 128
    cached.clear()
    without, _ = run(apart.open_session(spec()), work, 1)
    assert max(cached) == 0
    for key, record in with_cache.items():
        assert np.array_equal(record.trace.completion_ids, without[key].trace.completion_ids)
    assert worst(with_cache, without) <= 1e-4
    assert worst(with_cache, theirs(with_cache)) <= 1e-3


def test_rows_that_had_to_make_room_come_back_whole(apart: VllmBackend) -> None:
    """Rows grow beyond a block each, where there are hardly more blocks: vLLM stops some."""
    work = [Work(problem) for problem in problems(12)]
    records, seen = run(apart.open_session(spec(tokens=64)), work, 16)
    assert any(one.out_of_memory for one in seen)
    assert worst(records, theirs(records)) <= 1e-3


def test_an_engine_that_is_killed_is_one_line(apart: VllmBackend) -> None:
    session = apart.open_session(spec(tokens=64))
    session.admit([Work(problem) for problem in problems(4)])
    session.advance(Room(4, None, 0, 4096))
    children = psutil.Process().children(recursive=True)
    [core] = [one for one in children if "EngineCore" in " ".join([one.name(), *one.cmdline()])]
    os.kill(core.pid, signal.SIGKILL)
    with pytest.raises(BackendError) as caught:
        _advance(session)
    assert str(caught.value).count("\n") == 0
    assert "has died" in str(caught.value)
    session.close()


def _advance(session: Session) -> None:
    for _ in range(100):
        session.advance(Room(0, None, 0, 4096))


def test_an_architecture_without_hidden_states_is_refused(gpt2_folder: Path) -> None:
    with (
        VllmBackend(ModelSettings(name=str(gpt2_folder)), VllmSettings()) as gpt2,
        pytest.raises(UnsupportedError, match="vLLM gives no hidden states of a GPT2LMHeadModel"),
    ):
        gpt2.open_session(spec())
