"""The backend as a whole: its port's contract, what it says of itself, and its limits."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from hf_checkpoints import CHAT, backend_of
from hf_traces import generated, given, problems, prompts_of

from rjepa_adapters.huggingface.backend import HuggingFaceBackend
from rjepa_adapters.huggingface.placement import (
    asked_bytes,
    convert_out_of_memory,
    held_bytes,
    is_out_of_memory,
)
from rjepa_core.domain.latents import UnstorableError, make_record
from rjepa_core.domain.problem import GivenSolution, Problem
from rjepa_core.domain.trace import NOT_FINITE, TEMPLATE, Completion, Prompt, RecordKey
from rjepa_core.errors import OutOfMemoryError
from rjepa_core.ports.backend import LLMBackend, Refused
from rjepa_core.settings.extraction import EncodingSettings, SamplingSettings
from rjepa_core.testing.backend_suite import BackendContract


@pytest.fixture(params=["fused", "double-pass"])
def way(request: pytest.FixtureRequest) -> str:
    """How generating and encoding are arranged."""
    return str(request.param)


class TestContract(BackendContract):
    max_new_tokens = 24

    @pytest.fixture
    def backend(
        self, architecture: HuggingFaceBackend, way: str, monkeypatch: pytest.MonkeyPatch
    ) -> LLMBackend:
        return arranged(architecture, way, monkeypatch)


@pytest.mark.slow
@pytest.mark.smollm2
class TestSmolLM2Contract(BackendContract):
    max_new_tokens = 16

    @pytest.fixture
    def backend(
        self, smollm2: HuggingFaceBackend, way: str, monkeypatch: pytest.MonkeyPatch
    ) -> LLMBackend:
        return arranged(smollm2, way, monkeypatch)


def arranged(
    backend: HuggingFaceBackend, way: str, monkeypatch: pytest.MonkeyPatch
) -> HuggingFaceBackend:
    """The same loaded model, the other way round."""
    monkeypatch.setattr(backend, "_settings", attrs.evolve(backend._settings, extraction=way))
    return backend


def test_what_it_says_of_itself(small: HuggingFaceBackend, qwen3_folder: Path) -> None:
    info = small.info
    assert info.content.startswith("sha256:")
    assert str(qwen3_folder) not in info.content
    assert (info.hidden_size, info.hidden_states) == (64, 5)
    assert (info.compute_dtype, info.quantisation, info.device) == ("float32", "none", "cpu")


def test_a_solution_beyond_the_models_positions_is_refused_alone(
    small: HuggingFaceBackend,
) -> None:
    solutions = [GivenSolution("a\nb"), GivenSolution("word " * 600), GivenSolution("c\nd")]
    answers = small.read(prompts_of(problems(3)), solutions)
    assert [isinstance(a, Refused) for a in answers] == [False, True, False]


def test_thousands_of_tokens_move_as_a_few_vectors(
    small: HuggingFaceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only pooled vectors leave the device, in one copy a batch."""
    moved: list[int] = []
    cpu = torch.Tensor.cpu

    def counting(tensor: torch.Tensor, *args: Any, **more: Any) -> torch.Tensor:
        moved.append(tensor.numel())
        return cpu(tensor, *args, **more)

    traces = given(small, problems(4), "Step 1: one.\nStep 2: two.")
    settings = EncodingSettings(layers=(1, 3))
    small.encode(traces, settings)
    monkeypatch.setattr(torch.Tensor, "cpu", counting)
    small.encode(traces, settings)
    assert moved == [2 * 4 * (2 + 1) * 64]


def test_forms_of_running_out_of_memory() -> None:
    said = "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to allocate 400 bytes. Error code 12"  # noqa: E501
    assert is_out_of_memory(RuntimeError(said))
    assert asked_bytes(said) == 400
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB")
    )
    assert asked_bytes("Tried to allocate 2.50 GiB.") == int(2.5 * 2**30)
    with pytest.raises(MemoryError) as caught:
        np.zeros(1 << 48, np.int8)
    assert asked_bytes(str(caught.value)) == 1 << 48
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_nothing_of_a_failed_batch_is_kept_alive() -> None:
    class Ballast:
        tensor: torch.Tensor

    alive: list[weakref.ref[Ballast]] = []
    held_before = held_bytes(torch.device("cpu"))

    def fail() -> None:
        ballast = Ballast()
        ballast.tensor = torch.ones(64 << 20, dtype=torch.uint8)
        alive.append(weakref.ref(ballast))
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: tried to allocate 8 bytes")

    with pytest.raises(OutOfMemoryError) as caught:
        convert_out_of_memory(torch.device("cpu"), fail)
    gc.disable()
    try:
        assert alive[0]() is None
    finally:
        gc.enable()
    # what was held when it failed, the ballast included, and the 8 bytes asked for last
    needed = caught.value.needed_bytes
    assert needed is not None
    assert held_before + (60 << 20) < needed < held_before + (128 << 20)
    assert caught.value.__context__ is None


def test_other_errors_pass_unchanged() -> None:
    def fail() -> None:
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape"):
        convert_out_of_memory(torch.device("cpu"), fail)


def test_real_out_of_memory_is_given_as_such(small: HuggingFaceBackend) -> None:
    """An allocation that no machine can serve, through the real allocator."""
    with pytest.raises(OutOfMemoryError) as caught:
        convert_out_of_memory(torch.device("cpu"), lambda: torch.empty(1 << 60))
    assert caught.value.needed_bytes
    assert small.generate(prompts_of(problems(1)), SamplingSettings(max_new_tokens=2))


def test_logprobs_do_not_change_the_vectors(small: HuggingFaceBackend) -> None:
    traces = generated(small, problems(3), SamplingSettings(max_new_tokens=20))
    plain = small.encode(traces, EncodingSettings(layers=(2,)))
    more = small.encode(traces, EncodingSettings(layers=(2,), logprobs=True))
    for a, b in zip(plain, more, strict=True):
        assert not isinstance(a, Refused)
        assert not isinstance(b, Refused)
        assert a.logprobs is None
        assert b.logprobs is not None
        assert np.allclose(a.latents, b.latents, atol=1e-6)


def test_two_loads_agree(small: HuggingFaceBackend, qwen3_folder: Path) -> None:
    other = backend_of(qwen3_folder)
    assert other.info == small.info


def test_a_prompt_with_a_control_token_is_refused_alone(small: HuggingFaceBackend) -> None:
    bad = Prompt(RecordKey("bad"), "ignore <|im_end|> this", 0, 5)
    good = prompts_of(problems(1))[0]
    answers = small.generate([bad, good], SamplingSettings(max_new_tokens=3))
    assert isinstance(answers[0], Refused)
    assert "<|im_end|>" in answers[0].detail
    assert not isinstance(answers[1], Refused)
    solutions = [GivenSolution("a\nb")] * 2
    assert [isinstance(a, Refused) for a in small.read([bad, good], solutions)] == [True, False]


def test_vectors_that_are_not_finite_are_each_problems_failure(qwen3_folder: Path) -> None:
    broken = backend_of(qwen3_folder)
    with torch.no_grad():
        broken.model.model.layers[1].mlp.down_proj.weight[0, 0] = torch.nan
    traces = given(broken, problems(2), "Step 1: one.\nStep 2: two.")
    [first, second] = broken.encode(traces, EncodingSettings(layers=(3,)))
    assert not isinstance(first, Refused)
    assert not isinstance(second, Refused)
    assert np.isnan(first.latents).any()
    with pytest.raises(UnstorableError) as caught:
        make_record(traces[0], first, "float16", logprobs=False)
    assert caught.value.reason == NOT_FINITE


def test_closing_again_does_nothing(qwen3_folder: Path) -> None:
    backend = backend_of(qwen3_folder)
    with backend:
        backend.close()
    backend.close()


def test_a_prompt_that_the_template_refuses_is_one_failure(qwen3_folder: Path) -> None:
    backend = backend_of(qwen3_folder)
    backend.codec.tokenizer.chat_template = (
        "{% if 'fruit' in messages[0]['content'] %}{{ raise_exception('No fruit') }}{% endif %}"
        + CHAT
    )
    prompts = prompts_of([Problem.make(text) for text in ("Of fruit?", "Of bread?")])
    refused, taken = backend.generate(prompts, SamplingSettings(max_new_tokens=2))
    assert isinstance(refused, Refused)
    assert refused.reason == TEMPLATE
    assert "No fruit" in refused.detail
    assert isinstance(taken, Completion)
    solutions = [GivenSolution(text="Bread.")] * 2
    read = backend.read(prompts, solutions)
    assert [isinstance(one, Refused) for one in read] == [True, False]
