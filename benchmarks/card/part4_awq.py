"""Part 4, AWQ: 4-bit weights through the kernel that is there, against the same weights
dequantised, and tokens a second."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from typing import Any
from unittest import mock

import attrs
import torch

from common import backend
from extraction_sides import LAYER
from figures import Figures, Row
from kit import apart, limits, main
from part2_fast import fused
from rjepa_adapters.huggingface import shapes
from rjepa_adapters.huggingface.awq import awq_path
from rjepa_adapters.huggingface.backend import HuggingFaceBackend

GROUP = 128
CLOSE = 0.02  # of a layer, whose kernel adds up in float16
CLOSE_BELOW = 0.1  # of the vectors behind all layers


@attrs.frozen
class Sizes:
    """The model; a single layer's inputs and outputs; tokens of a forward, few (one kernel) and
    many (another one); rows, and problems for each; most tokens."""

    model: str = "shape:qwen3-8b-awq"
    layer: tuple[int, int] = (4096, 12288)
    forwards: tuple[int, ...] = (64, 2048)
    rows: tuple[int, ...] = (64, 8)
    share: int = 1
    tokens: int = 300


CARD = Sizes()
# Of the two kernels the one for many tokens, which the interpreter runs in moments.
REHEARSAL = Sizes("shape:tiny-awq", (128, 64), (1024,), (4,), tokens=8)


def run(figures: Figures, device: str, sizes: Sizes) -> None:
    card = limits(figures, device)
    figures.measure("which way", lambda: way(device))
    for tokens in sizes.forwards:
        call = partial(layer, sizes.layer, tokens, device)
        figures.measure(f"one layer, {tokens} tokens", call)

    @cache
    def model() -> HuggingFaceBackend:
        with interpreted(device):
            return backend(sizes.model, device)

    for tokens in sizes.forwards:
        figures.measure(
            f"vectors, {tokens} tokens", lambda tokens=tokens: vectors(model(), tokens, device)
        )
    # An interpreter is too slow for more than a forward.
    with nullcontext() if device == "cuda" else dequantised():
        for rows in sizes.rows:
            figures.measure(f"{rows} rows", partial(fused, model, rows, device, card, sizes))


def way(device: str) -> Row:
    """Which way the product takes, why, and which kernel AutoAWQ finds."""
    from awq.modules.linear import gemm

    chosen, why = awq_path(device)
    kernel = "triton" if gemm.TRITON_AVAILABLE else "none, plain torch"
    if gemm.awq_ext is not None:
        kernel = "awq_ext"
    others = {name: bool(importlib.util.find_spec(name)) for name in ("gptqmodel", "awq_ext")}
    return {"way": chosen, "kernel": kernel, **others, "text": f"{chosen}: {why}; kernel {kernel}"}


def layer(size: tuple[int, int], tokens: int, device: str) -> Row:
    """A linear layer's kernel alone. A rehearsal runs it in Triton's interpreter."""
    from awq.modules.linear.gemm import WQLinear_GEMM

    width, out = size
    packed = WQLinear_GEMM(4, GROUP, width, out, False, device)
    drawn = partial(torch.randint, -(1 << 31), 1 << 31, dtype=torch.int32, device=device)
    packed.qweight = drawn((width, out // 8))
    packed.qzeros = drawn((width // GROUP, out // 8))
    packed.scales = torch.rand(width // GROUP, out, device=device).half() / 100
    given = torch.randn(1, tokens, width, device=device).half()
    with torch.inference_mode(), interpreted(device):
        ours = packed.eval()(given)[0]
        theirs = plain(packed, given)[0]
    return checked(apart(ours, theirs), CLOSE, f"{width} to {out}")


def vectors(model: HuggingFaceBackend, tokens: int, device: str) -> Row:
    """Layer -2 of the whole model by its kernels, and with every layer dequantised as it is run."""
    ids = torch.randint(0, model.model.config.vocab_size, (1, tokens), device=device)
    with torch.inference_mode(), interpreted(device):
        ours = hidden(model, ids)
        with dequantised():
            theirs = hidden(model, ids)
    return checked(apart(ours, theirs), CLOSE_BELOW, model.info.notes["awq"])


def hidden(model: HuggingFaceBackend, ids: torch.Tensor) -> torch.Tensor:
    output = model.model.base_model(ids, output_hidden_states=True)
    states: torch.Tensor = output.hidden_states[LAYER][0]
    return states


def checked(far: float, most: float, what: str) -> Row:
    text = f"{what}: at most {far:.1e} from the dequantised weights (‖a−b‖/‖b‖)"
    if not far < most:
        raise AssertionError(f"too far: {text}")
    return {"apart": far, "text": text}


def plain(packed: Any, given: torch.Tensor) -> torch.Tensor:
    """What a packed layer stands for: its weights dequantised, one product in float32."""
    from awq.utils.packing_utils import dequantize_gemm

    weight = dequantize_gemm(
        packed.qweight, packed.qzeros, packed.scales.float(), packed.w_bit, packed.group_size
    )
    return (given.float() @ weight).to(given.dtype)


@contextmanager
def dequantised() -> Iterator[None]:
    """Within, packed layers do without their kernels."""
    from awq.modules.linear.gemm import WQLinear_GEMM

    with mock.patch.object(WQLinear_GEMM, "forward", plain):
        yield


@contextmanager
def interpreted(device: str) -> Iterator[None]:
    """Within, a rehearsal keeps weights packed, and their kernels ask for no CUDA device."""
    if device == "cuda":
        yield
        return
    from awq.modules.triton import gemm

    with (
        mock.patch.object(gemm, "get_same_device_cm", return_value=nullcontext()),
        mock.patch.object(shapes, "awq_path", return_value=("autoawq kernels", "a rehearsal")),
    ):
        yield


if __name__ == "__main__":
    main("part4_awq", run, CARD, REHEARSAL)
