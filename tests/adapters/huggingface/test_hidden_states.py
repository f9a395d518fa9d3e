"""Vectors are those that transformers itself gives, whatever batch they were made in."""

from __future__ import annotations

from collections.abc import Sequence
from unittest import mock

import attrs
import numpy as np
import pytest
import torch
from hf_traces import generated, given, problems

from rjepa_adapters.huggingface.backend import HuggingFaceBackend
from rjepa_adapters.huggingface.fused.decoder import Decoder
from rjepa_adapters.huggingface.hidden_states import LayerReader, nearly_equal, pool
from rjepa_adapters.huggingface.loading import load
from rjepa_adapters.huggingface.settings import HuggingFaceSettings
from rjepa_adapters.huggingface.shapes import SHAPES
from rjepa_core.domain.latents import Encoding
from rjepa_core.domain.trace import Trace
from rjepa_core.errors import UnsupportedError
from rjepa_core.settings.extraction import EncodingSettings, ModelSettings, SamplingSettings

POOL = {
    "mean": lambda states: states.mean(0),
    "max": lambda states: states.max(0).values,
    "last": lambda states: states[-1],
}


def by_hand(
    backend: HuggingFaceBackend, trace: Trace, layers: Sequence[int], pooling: str
) -> Encoding:
    """One trace, unbatched, whole, through `output_hidden_states=True`."""
    ids = np.concatenate([trace.prompt_ids, trace.completion_ids]).astype(np.int64)
    with torch.no_grad():
        output = backend.model(torch.from_numpy(ids)[None], output_hidden_states=True)
    at = len(trace.prompt_ids)
    latents, prompts = [], []
    for layer in layers:
        states = output.hidden_states[layer][0].float()
        latents.append([POOL[pooling](states[at + s.start : at + s.stop]) for s in trace.spans])
        prompts.append(POOL[pooling](states[slice(*trace.statement_span)]))
    logprobs = torch.log_softmax(output.logits[0].float(), -1)
    token = logprobs[:-1].gather(1, torch.from_numpy(ids)[1:, None])[:, 0]
    steps = [token[at + s.start - 1 : at + s.stop - 1].mean() for s in trace.spans]
    return Encoding(
        torch.stack([torch.stack(row) for row in latents]).numpy(),
        torch.stack(prompts).numpy(),
        torch.stack(steps).numpy(),
    )


def worst(got: Encoding, wanted: Encoding) -> float:
    """Largest ‖a−b‖/‖b‖ over all vectors of a trace, the prompt's included."""
    pairs = [(got.latents, wanted.latents), (got.prompt_latent, wanted.prompt_latent)]
    return max(
        float((np.linalg.norm(a - b, axis=-1) / np.linalg.norm(b, axis=-1)).max()) for a, b in pairs
    )


def encode(
    backend: HuggingFaceBackend, traces: Sequence[Trace], settings: EncodingSettings, batch: int
) -> list[Encoding]:
    found: list[Encoding] = []
    for begin in range(0, len(traces), batch):
        for answer in backend.encode(traces[begin : begin + batch], settings):
            assert isinstance(answer, Encoding)
            found.append(answer)
    return found


@pytest.mark.parametrize("pooling", ["mean", "max", "last"])
@pytest.mark.parametrize("layers", [(0,), (2,), (0, 1, -1), (-1, 0)])
def test_small_models_agree_with_transformers(
    architecture: HuggingFaceBackend, layers: tuple[int, ...], pooling: str
) -> None:
    traces = generated(architecture, problems(5), SamplingSettings(max_new_tokens=30))
    absolute = tuple(layer % architecture.info.hidden_states for layer in layers)
    settings = EncodingSettings(layers=absolute, pooling=pooling, logprobs=True)
    for trace, got in zip(traces, encode(architecture, traces, settings, 5), strict=True):
        wanted = by_hand(architecture, trace, layers, pooling)
        assert got.latents.shape == (len(layers), len(trace.spans), architecture.info.hidden_size)
        assert worst(got, wanted) < 1e-4
        assert got.logprobs is not None
        assert np.allclose(got.logprobs, wanted.logprobs, atol=1e-4)


@pytest.mark.slow
@pytest.mark.smollm2
def test_smollm2_agrees_with_transformers(smollm2: HuggingFaceBackend) -> None:
    """20 real traces; embeddings, the last but one layer, and the last behind its norm."""
    traces = generated(smollm2, problems(20), SamplingSettings(max_new_tokens=60))
    layers = (0, -2, -1)
    absolute = tuple(layer % smollm2.info.hidden_states for layer in layers)
    wanted = [by_hand(smollm2, trace, layers, "mean") for trace in traces]
    for batch in (1, 8, 16):
        got = encode(smollm2, traces, EncodingSettings(layers=absolute), batch)
        errors = [worst(a, b) for a, b in zip(got, wanted, strict=True)]
        print(f"batch {batch}: largest relative error {max(errors):.1e}")
        assert max(errors) < 1e-4


def test_the_last_layer_is_behind_the_final_norm(small: HuggingFaceBackend) -> None:
    trace = generated(small, problems(1), SamplingSettings(max_new_tokens=20))[0]
    last = small.info.hidden_states - 1
    [got] = encode(small, [trace], EncodingSettings(layers=(last,), pooling="last"), 1)
    ids = torch.from_numpy(np.concatenate([trace.prompt_ids, trace.completion_ids]).astype(int))
    with torch.no_grad():
        model = small.model.model
        inner: list[torch.Tensor] = []
        hook = model.norm.register_forward_pre_hook(lambda module, args: inner.append(args[0]))
        model(ids[None])
        hook.remove()
        place = len(trace.prompt_ids) + trace.spans[-1].stop - 1
        normed = model.norm(inner[0])[0, place].numpy()
        raw = inner[0][0, place].numpy()
    assert np.allclose(got.latents[0, -1], normed, atol=1e-5)
    assert not np.allclose(raw, normed, atol=1e-2)


def test_nothing_behind_the_last_wanted_layer_is_run(small: HuggingFaceBackend) -> None:
    trace = generated(small, problems(1), SamplingSettings(max_new_tokens=20))[0]
    encode(small, [trace], EncodingSettings(layers=(1,)), 1)  # the check at first use runs all
    ran: list[int] = []
    hooks = [
        layer.register_forward_hook(lambda m, a, o, i=i: ran.append(i))
        for i, layer in enumerate(small.model.model.layers)
    ]
    try:
        encode(small, [trace], EncodingSettings(layers=(1,)), 1)
    finally:
        for hook in hooks:
            hook.remove()
    assert ran == [0]


def test_logits_of_few_tokens_are_held_at_a_time(small: HuggingFaceBackend) -> None:
    traces = given(small, problems(3), "Step 1: one and two.\nStep 2: three and four.")
    sizes: list[int] = []
    small.encode(traces, EncodingSettings(layers=(3,), logprobs=True))  # checked once before
    hook = small.model.lm_head.register_forward_hook(lambda m, a, o: sizes.append(o.shape[0]))
    chunk = small._settings.logprob_rows
    try:
        object.__setattr__(small._settings, "logprob_rows", 7)
        small.encode(traces, EncodingSettings(layers=(3,), logprobs=True))
    finally:
        hook.remove()
        object.__setattr__(small._settings, "logprob_rows", chunk)
    assert len(sizes) > 3
    assert max(sizes) == 7


def test_a_model_whose_states_are_elsewhere_is_refused(
    small: HuggingFaceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = generated(small, problems(1), SamplingSettings(max_new_tokens=10))[0]
    reader = small._reader
    monkeypatch.setattr(reader, "_checked", set())
    monkeypatch.setattr(reader, "_layers", reader._layers[1:])
    with pytest.raises(UnsupportedError, match="hidden states"):
        small.encode([trace], EncodingSettings(layers=(1,)))


def test_rounding_depends_on_the_dtype() -> None:
    """In bfloat16 two ways through 30 layers differ by some hundredths, and both are right."""
    theirs = torch.randn(15, 64, generator=torch.Generator().manual_seed(0))
    ours = theirs + 0.05 * theirs.roll(1, 0)
    assert nearly_equal(ours.bfloat16(), theirs.bfloat16(), torch.bfloat16)
    assert nearly_equal(ours, theirs, torch.float16)
    assert not nearly_equal(ours, theirs, torch.float32)
    assert not nearly_equal(theirs.roll(1, 0), theirs, torch.bfloat16)


def test_one_enormous_vector_does_not_hide_the_others() -> None:
    """As trained models have at a first token."""
    theirs = torch.randn(15, 64, generator=torch.Generator().manual_seed(0))
    theirs[0] *= 10_000
    ours = theirs.roll(1, 1)
    ours[0] = theirs[0]
    assert not nearly_equal(ours, theirs, torch.float32)


def test_what_is_not_finite_agrees_at_the_same_places_alone() -> None:
    theirs = torch.ones(3, 4)
    theirs[1] = torch.nan
    assert nearly_equal(theirs.clone(), theirs, torch.float32)
    assert not nearly_equal(torch.ones(3, 4), theirs, torch.float32)


def test_a_deep_model_in_bfloat16_runs_in_one_pass() -> None:
    """Its check at first use must not take rounding for another architecture."""
    shape = SHAPES["tiny"]
    deep = attrs.evolve(shape, config={**shape.config, "num_hidden_layers": 36})
    with mock.patch.dict(SHAPES, {"deep": deep}):
        settings = ModelSettings(name="shape:deep", device="cpu", dtype="bfloat16")
        model = load(settings, HuggingFaceSettings()).model
    with torch.inference_mode():
        Decoder(model, LayerReader(model)).check(range(20, 36), (35,))


def test_pooling() -> None:
    states = torch.arange(24.0).reshape(1, 6, 4)
    segments = [(0, 1, 3), (0, 5, 6)]
    assert torch.equal(pool(states, segments, "mean")[0], states[0, 1:3].mean(0))
    assert torch.equal(pool(states, segments, "max")[0], states[0, 2])
    assert torch.equal(pool(states, segments, "last")[1], states[0, 5])
