"""Architectures with random weights: whole, on their device, and never taken for a real model."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hf_checkpoints import backend_of
from hf_traces import problems

from rjepa_adapters.huggingface import loading, placement, shapes
from rjepa_adapters.huggingface.backend import HuggingFaceBackend
from rjepa_adapters.huggingface.settings import HuggingFaceSettings
from rjepa_adapters.huggingface.shape_tokenizer import shape_tokenizer
from rjepa_adapters.schedulers.fixed import FixedScheduler, FixedSettings
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.prompt import pose
from rjepa_core.domain.trace import Completion, Work
from rjepa_core.errors import BackendError, UsageError
from rjepa_core.extraction.engine import session_spec
from rjepa_core.extraction.loop import extract
from rjepa_core.extraction.queue import Pending
from rjepa_core.extraction.run import run_extraction
from rjepa_core.settings.extraction import (
    EncodingSettings,
    ExtractionSettings,
    ModelSettings,
    ProblemSettings,
    SamplingSettings,
)
from rjepa_core.settings.templates import DEFAULT_TEMPLATES

NEW_TOKENS = 60
needs_awq = pytest.mark.skipif(
    importlib.util.find_spec("awq") is None or importlib.util.find_spec("gptqmodel") is not None,
    reason="needs AutoAWQ, and no gptqmodel beside it: pip install 'rjepa[awq]'",
)


@pytest.fixture(scope="module")
def tiny() -> HuggingFaceBackend:
    return backend_of("shape:tiny")


@pytest.fixture(scope="module")
def packed() -> HuggingFaceBackend:
    return backend_of("shape:tiny-awq")


class Kept:
    def __init__(self) -> None:
        self.records: list[LatentRecord] = []
        self.failures: list[Any] = []

    def write(self, records: Any, failures: Any = ()) -> None:
        self.records += records
        self.failures += failures

    def commit(self) -> None:
        pass


def through_the_pipeline(backend: HuggingFaceBackend) -> Kept:
    settings = ExtractionSettings(
        model="-",
        store="-",
        sampling=SamplingSettings(max_new_tokens=NEW_TOKENS),
        encoding=EncodingSettings(layers=(1, 3), logprobs=True),
    )
    session = backend.open_session(session_spec(settings, (1, 3)))
    kept = Kept()
    work = [Work(problem) for problem in problems(6)]
    extract(Pending(work), session, FixedScheduler(FixedSettings(batch_size=3)), kept)
    return kept


def test_it_generates_and_encodes_through_the_pipeline(tiny: HuggingFaceBackend) -> None:
    kept = through_the_pipeline(tiny)
    assert len(kept.records) == 6
    assert not kept.failures
    for record in kept.records:
        assert record.latents.shape == (2, len(record.trace.spans), 128)
        assert np.isfinite(record.latents.astype(np.float32)).all()
        assert record.latents.astype(np.float32).std() > 0
        assert len(record.trace.completion_ids) == NEW_TOKENS, "an answer ended before its length"
        assert record.trace.finish_reason == "length"


@needs_awq
def test_packed_it_goes_the_way_of_an_awq_checkpoint(packed: HuggingFaceBackend) -> None:
    assert packed.info.quantisation == "awq-4bit"
    assert packed.info.notes["awq"].startswith("dequantised")
    assert len(through_the_pipeline(packed).records) == 6


@needs_awq
def test_packed_weights_have_sixteen_levels_a_group_and_the_usual_spread(
    packed: HuggingFaceBackend, tiny: HuggingFaceBackend
) -> None:
    layer = packed.model.model.layers[1]
    for linear in (layer.self_attn.k_proj, layer.mlp.down_proj):
        groups = linear.weight.reshape(linear.out_features, -1, 128)
        levels = [len(torch.unique(group)) for group in groups.reshape(-1, 128)]
        assert max(levels) <= 16
        assert min(levels) > 8
        assert linear.weight.std() == pytest.approx(0.02, rel=0.1)
        assert abs(linear.weight.mean()) < 0.002
    for whole in (packed.model.lm_head, packed.model.model.embed_tokens):
        assert len(torch.unique(whole.weight[:128])) > 1000, "the output layer was packed"
    assert [n for n, _ in packed.model.named_parameters()] == [
        n for n, _ in tiny.model.named_parameters()
    ]


@needs_awq
def test_random_packed_tensors_are_what_autoawq_packs() -> None:
    """The drawn tensors have names, shapes and types of a module that AutoAWQ made itself."""
    from awq.modules.linear.gemm import WQLinear_GEMM

    linear = torch.nn.Linear(256, 64, bias=False)
    made = WQLinear_GEMM.from_linear(linear, 4, 128, init_only=True).state_dict()
    ours = {
        name.removeprefix("m."): tensor
        for name, tensor in shapes._packed_tensors("m", 64, 256, 128, torch.device("cpu"))
    }
    assert {n: (t.shape, t.dtype) for n, t in ours.items()} == {
        n: (t.shape, t.dtype) for n, t in made.items()
    }


@needs_awq
def test_for_a_card_the_same_weights_are_left_packed(
    packed: HuggingFaceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way that a card takes, as far as it can be gone without one: up to the kernels."""
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.utils.packing_utils import dequantize_gemm

    monkeypatch.setattr(shapes, "awq_path", lambda device: ("autoawq kernels", "a test"))
    whole = loading.load(ModelSettings(name="shape:tiny-awq", device="cpu"), HuggingFaceSettings())
    found = [(n, m) for n, m in whole.model.named_modules() if isinstance(m, WQLinear_GEMM)]
    assert len(found) == 3 * 7
    assert isinstance(whole.model.lm_head, torch.nn.Linear)
    for name, module in found:
        weight = dequantize_gemm(module.qweight, module.qzeros, module.scales.float(), 4, 128)
        assert torch.equal(weight.t(), packed.model.get_submodule(name).weight), name


def test_the_weights_are_the_same_every_time_and_the_callers_chance_is_left_alone(
    tiny: HuggingFaceBackend,
) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    again = backend_of("shape:tiny")
    assert torch.equal(torch.random.get_rng_state(), before)
    for (name, a), b in zip(tiny.model.named_parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_it_says_what_it_is(tiny: HuggingFaceBackend) -> None:
    assert tiny.info.random
    assert tiny.info.content == "random:tiny"
    assert "RANDOM WEIGHTS" in tiny.info.name
    assert "RANDOM WEIGHTS" in tiny.info.notes["weights"]


def test_an_extraction_with_it_is_refused_and_stores_nothing(tmp_path: Path) -> None:
    settings = ExtractionSettings(
        model="shape:tiny", store=tmp_path / "s", problems=ProblemSettings(sources="demo", limit=1)
    )
    with pytest.raises(UsageError, match=r"never stored.*for benchmarks alone"):
        run_extraction(settings)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [("qwen3-8", "did you mean qwen3-8b?"), ("llama", "there is qwen3-8b"), ("", "no shape ''")],
)
def test_an_unknown_shape(name: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        backend_of(f"shape:{name}")
    assert says in str(caught.value)


def test_one_that_does_not_fit_is_refused_before_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(placement, "free_bytes", lambda device: 1 << 30)
    with pytest.raises(BackendError, match=r"qwen3-8b needs 30\.5 GiB on cpu"):
        backend_of("shape:qwen3-8b")


@pytest.mark.parametrize(
    ("name", "millions"), [("qwen3-8b", 8190.7), ("qwen3-0.6b", 596.0), ("smollm2-135m", 134.5)]
)
def test_the_shapes_have_as_many_parameters_as_the_models(name: str, millions: float) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = shapes.SHAPES[name]
    with torch.device("meta"):
        config = AutoConfig.for_model(shape.model_type, **shape.config)
        model = AutoModelForCausalLM.from_config(config)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
    for module in model.model.layers.modules():
        if isinstance(module, torch.nn.Linear):
            assert module.in_features % shape.group == 0
            assert module.out_features % 8 == 0


# its tokenizer


def test_the_tokenizer_has_every_id_of_the_model_and_is_the_same_every_time() -> None:
    tokenizer, again = shape_tokenizer(5000), shape_tokenizer(5000)
    assert sorted(tokenizer.get_vocab().values()) == list(range(5000))
    assert tokenizer.get_vocab() == again.get_vocab()


def test_sampled_ids_decode_to_harmless_text(tiny: HuggingFaceBackend) -> None:
    prompts = [pose(problem, 0, DEFAULT_TEMPLATES) for problem in problems(4)]
    for answer in tiny.generate(prompts, SamplingSettings(max_new_tokens=300)):
        assert isinstance(answer, Completion)
        assert answer.ids.max() > 1200, "no filler was sampled: the test sees nothing"
        assert answer.offsets[-1, 1] == len(answer.text)
        assert "<|" not in answer.text


def test_prompts_are_read_back_as_they_were(tiny: HuggingFaceBackend) -> None:
    """No text is encoded to a filler, and nothing of it is lost."""
    text = "How many of the 12 apples? ½ 漢字 🙂 ~1300"
    ids = tiny.codec.tokenizer(text, add_special_tokens=False).input_ids
    assert tiny.codec.tokenizer.decode(ids) == text
    learned = len([t for t in tiny.codec.tokenizer.get_vocab() if "~" not in t])
    assert max(ids) <= learned
