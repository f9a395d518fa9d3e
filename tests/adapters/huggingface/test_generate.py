"""Sampling belongs to the problem: batch, order and company do not matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hf_checkpoints import backend_of, qwen3
from hf_traces import problems, prompts_of
from hypothesis import given
from hypothesis import strategies as st

from rjepa_adapters.huggingface.backend import HuggingFaceBackend
from rjepa_adapters.huggingface.generate import choose, cut_at_end, draw_uniforms
from rjepa_core.domain.trace import TOO_LONG, Completion, Prompt, RecordKey
from rjepa_core.ports.backend import Refused
from rjepa_core.settings.extraction import SamplingSettings


def ids_of(
    backend: HuggingFaceBackend, prompts: list[Prompt], sampling: SamplingSettings, batch: int
) -> dict[RecordKey, list[int]]:
    found = {}
    for begin in range(0, len(prompts), batch):
        part = prompts[begin : begin + batch]
        for prompt, answer in zip(part, backend.generate(part, sampling), strict=True):
            assert isinstance(answer, Completion)
            found[prompt.key] = answer.ids.tolist()
    return found


def test_batch_and_order_do_not_matter(small: HuggingFaceBackend) -> None:
    prompts = prompts_of(problems(16))
    sampling = SamplingSettings(max_new_tokens=40)
    alone = ids_of(small, prompts, sampling, 1)
    shuffled = [prompts[i] for i in np.random.default_rng(0).permutation(16)]
    same = ids_of(small, shuffled, sampling, 5)
    assert sum(alone[k] == same[k] for k in alone) >= 15


@pytest.mark.smollm2
@pytest.mark.slow
def test_smollm2_batch_and_order_do_not_matter(smollm2: HuggingFaceBackend) -> None:
    prompts = prompts_of(problems(12))
    sampling = SamplingSettings(max_new_tokens=40)
    alone = ids_of(smollm2, prompts, sampling, 1)
    shuffled = [prompts[i] for i in np.random.default_rng(0).permutation(12)]
    same = ids_of(smollm2, shuffled, sampling, 12)
    assert sum(alone[k] == same[k] for k in alone) >= 11


def test_samples_and_seeds_differ(small: HuggingFaceBackend) -> None:
    one, other = prompts_of(problems(1), 0), prompts_of(problems(1), 1)
    [a] = ids_of(small, one, SamplingSettings(max_new_tokens=20), 1).values()
    [b] = ids_of(small, other, SamplingSettings(max_new_tokens=20), 1).values()
    [c] = ids_of(small, one, SamplingSettings(max_new_tokens=20, seed=1), 1).values()
    assert len({tuple(a), tuple(b), tuple(c)}) == 3


def test_temperature_zero_is_greedy(small: HuggingFaceBackend) -> None:
    [prompt] = prompts_of(problems(1))
    [answer] = small.generate([prompt], SamplingSettings(max_new_tokens=12, temperature=0))
    assert isinstance(answer, Completion)
    ids = torch.from_numpy(answer.prompt_ids.astype(np.int64))[None]
    for token in answer.ids.tolist():
        with torch.no_grad():
            best = int(small.model(ids).logits[0, -1].argmax())
        assert token == best
        ids = torch.cat([ids, torch.tensor([[token]])], 1)


def test_the_checkpoints_own_sampling_defaults_do_not_leak_in(
    tmp_path_factory: pytest.TempPathFactory, small: HuggingFaceBackend
) -> None:
    from transformers import GenerationConfig

    folder = qwen3(tmp_path_factory.mktemp("penalty"))
    config = GenerationConfig.from_pretrained(folder)
    config.repetition_penalty, config.do_sample, config.top_k = 5.0, True, 1
    config.save_pretrained(folder)
    prompts = prompts_of(problems(2))
    sampling = SamplingSettings(max_new_tokens=30)
    assert ids_of(backend_of(folder), prompts, sampling, 2) == ids_of(small, prompts, sampling, 2)


def test_a_prompt_that_does_not_fit_is_refused_alone(small: HuggingFaceBackend) -> None:
    prompts = prompts_of(problems(2))
    long = Prompt(RecordKey("long"), "word " * 600, 0, 4)
    answers = small.generate([prompts[0], long, prompts[1]], SamplingSettings(max_new_tokens=5))
    assert isinstance(answers[1], Refused)
    assert answers[1].reason == TOO_LONG
    assert isinstance(answers[0], Completion)
    assert isinstance(answers[2], Completion)


def test_what_follows_the_end_of_sequence_is_cut() -> None:
    ids = np.asarray([5, 6, 2, 2, 2], np.int32)
    assert cut_at_end(ids, [2]).tolist() == [5, 6, 2]
    assert cut_at_end(ids, [9]).tolist() == ids.tolist()


@given(st.integers(0, 2**31), st.floats(0.2, 3.0))
def test_choices_follow_the_distribution(seed: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, 5, generator=generator).expand(4000, -1)
    uniform = torch.rand(4000, generator=generator)
    chosen = choose(logits, uniform, SamplingSettings(temperature=temperature))
    shares = torch.bincount(chosen, minlength=5) / 4000
    assert torch.allclose(shares, torch.softmax(logits[0] / temperature, -1), atol=0.06)


@given(st.integers(0, 2**31), st.floats(0, 1, exclude_max=True, width=32), st.integers(1, 4))
def test_filtered_tokens_are_never_chosen(seed: int, uniform: float, top_k: int) -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(seed))
    number = torch.full((3,), uniform)
    kept = logits.topk(top_k).indices
    chosen = choose(logits, number, SamplingSettings(top_k=top_k))
    assert all(int(c) in row.tolist() for c, row in zip(chosen, kept, strict=True))
    # So small a share keeps the likeliest token alone.
    chosen = choose(logits, number, SamplingSettings(top_p=1e-6))
    assert chosen.tolist() == logits.argmax(-1).tolist()


@pytest.mark.parametrize(
    "sampling", [SamplingSettings(), SamplingSettings(top_k=3), SamplingSettings(top_p=0.8)]
)
def test_logits_stay_as_they_are_unless_they_may_be_overwritten(sampling: SamplingSettings) -> None:
    logits = torch.randn(5, 300, generator=torch.Generator().manual_seed(1))
    before, uniform = logits.clone(), torch.rand(5, generator=torch.Generator().manual_seed(2))
    chosen = choose(logits, uniform, sampling)
    assert torch.equal(logits, before)
    assert torch.equal(choose(logits, uniform, sampling, overwrite=True), chosen)


def test_the_largest_uniform_number_keeps_within_the_vocabulary() -> None:
    logits = torch.zeros(1, 1000)
    logits[0, -400:] = -torch.inf
    number = torch.tensor([1 - 2**-24])
    assert int(choose(logits, number, SamplingSettings(temperature=1.0))) < 600


@given(st.integers(0, 2**31), st.sampled_from([3, 256, 300, 512, 1000, 50257]))
def test_the_choice_is_the_inverse_of_the_distribution(seed: int, vocabulary: int) -> None:
    """Against one running sum over the whole vocabulary in double precision."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(7, vocabulary, generator=generator) * 3
    uniform = torch.rand(7, generator=generator)
    chosen = choose(logits, uniform, SamplingSettings(temperature=0.7))
    running = torch.softmax(logits.double() / 0.7, -1).cumsum(-1)
    for row, token in enumerate(chosen.tolist()):
        before = running[row, token - 1] if token else 0.0
        assert before - 1e-6 <= uniform[row] <= running[row, token] + 1e-6


def test_uniforms_belong_to_the_key() -> None:
    keys = [RecordKey("a"), RecordKey("a", 1), RecordKey("b")]
    sampling = SamplingSettings(max_new_tokens=9)
    drawn = draw_uniforms(keys, sampling)
    assert torch.equal(drawn[2:], draw_uniforms(keys[2:], sampling))
    assert len({tuple(row) for row in drawn.tolist()}) == 3
