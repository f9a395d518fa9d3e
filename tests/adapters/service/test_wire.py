"""Bodies in safetensors: back as they went, and refused where they are none."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from rjepa_adapters.remote.protocol import WireError, pack, pack_values, unpack, unpack_values
from rjepa_core.ports.world_model import LatentSequence


def made(steps: int, width: int = 4, domain: str = "math") -> LatentSequence:
    source = np.random.default_rng(steps)
    latents = source.standard_normal((steps, width)).astype(np.float32)
    return LatentSequence(latents, source.standard_normal(width).astype(np.float32), domain)


def test_sequences_come_back_as_they_went() -> None:
    sent = [made(3), made(1, domain="code"), made(5, domain="")]
    message = unpack(pack(sent, [[1], [0], [4, 0]], space="s", context="past"), 8)
    assert message.fields == {"space": "s", "context": "past"}
    assert message.masked == ((1,), (0,), (4, 0))
    for one, other in zip(sent, message.sequences, strict=True):
        np.testing.assert_array_equal(one.latents, other.latents)
        np.testing.assert_array_equal(one.prompt, other.prompt)
        assert one.domain == other.domain
        assert other.latents.flags.writeable


def test_one_sequence_needs_no_lengths_and_no_metadata() -> None:
    one = made(3)
    body = save({"latents": one.latents.astype(np.float16), "prompts": one.prompt})
    [found] = unpack(body, 1).sequences
    np.testing.assert_allclose(found.latents, one.latents, atol=1e-2)
    assert found.latents.dtype == np.float32
    assert found.domain == ""


def test_values_come_back_as_they_went() -> None:
    rows = [np.arange(3, dtype=np.float32), np.zeros(0, np.float32), np.ones(2, np.float32)]
    found, fields = unpack_values(pack_values(rows, space="llm"))
    assert fields == {"space": "llm"}
    for one, other in zip(rows, found, strict=True):
        np.testing.assert_array_equal(one, other)


def header(**entries: Any) -> bytes:
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text


def twice(body: bytes, name: bytes, other: bytes) -> bytes:
    """With a key under the name of another."""
    assert body.count(name) == 1
    return body.replace(name, other)


F32 = {"dtype": "F32", "data_offsets": [0, 0]}
GOOD = {"latents": np.zeros((3, 4), np.float32), "prompts": np.zeros((1, 4), np.float32)}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"", ""),
        (b"\xff" * 8, ""),
        (b"\xff" * 8 + b"{}", ""),
        (header(latents={**F32, "shape": [10**9, 4]}), ""),
        (header(latents={**F32, "shape": [2**62, 2**62]}), ""),
        (header(latents={**F32, "shape": [10**9, 0]}), "/prompts"),
        (header(other={**F32, "shape": [0]}), "/other"),
        (header(latents={**F32, "dtype": "BF16", "shape": [0]}), "/latents"),
        (save({"prompts": np.zeros((1, 4), np.float32)}), "/latents"),
        (save(GOOD | {"latents": np.zeros((3, 4), np.int64)}), "/latents"),
        (save(GOOD | {"lengths": np.array([4])}), "/lengths"),
        (save(GOOD | {"lengths": np.array([-1, 4])}), "/lengths"),
        (save(GOOD | {"lengths": np.array([1, 2])}), "/lengths"),
        (save(GOOD | {"masked": np.array([0]), "masks": np.array([2])}), "/masks"),
        (save(GOOD, {"domains": "math"}), "/domains"),
        (save(GOOD, {"domains": '["a", "b"]'}), "/domains"),
        (save(GOOD, {"domains": "[" * 9999}), "/domains"),
        (twice(save(GOOD, {"space": "x", "spice": "y"}), b'"spice"', b'"space"'), "/space"),
        (twice(save(GOOD), b'"prompts"', b'"latents"'), ""),
        (header(latents={**F32, "shape": [1] * 200_000 + [0]}), ""),
        (pack([made(1)] * 9), "/lengths"),
    ],
)
def test_what_is_no_message_is_refused(body: bytes, pointer: str) -> None:
    with pytest.raises(WireError) as refused:
        unpack(body, 8)
    assert refused.value.pointer == pointer


@given(st.binary(max_size=200), st.integers(0, 60))
def test_noise_is_refused_and_nothing_else_happens(noise: bytes, keep: int) -> None:
    good = pack([made(1, 2)], space="s")
    for body in (noise, good[:keep] + noise, good[: len(good) - keep] + noise):
        for read in (lambda b: unpack(b, 8), unpack_values):
            with suppress(WireError):
                read(body)
