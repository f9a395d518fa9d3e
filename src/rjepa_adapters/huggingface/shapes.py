"""Architectures with random weights, for measuring a machine without the real weights.

They cost the time and memory of the real model, but what they compute is meaningless: they have no
latent space, and an extraction with them is refused. `shape:qwen3-8b` names one,
`shape:qwen3-8b-awq` the same packed to AWQ 4-bit.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from rjepa_core.errors import BackendError, UsageError
from rjepa_core.ports.backend import RANDOM
from rjepa_core.settings import ModelSettings

from ..optional import install_extra
from .awq import awq_path, dequantise, empty_model, fill_model, log_dequantised, replace_linears
from .checkpoints import SHAPE
from .placement import Loaded, check_placement, check_room, pick_dtype
from .settings import HuggingFaceSettings
from .shape_tokenizer import shape_tokenizer

AWQ = "-awq"
_BITS = 4
_PER_INT = 32 // _BITS
_SPREAD = 0.02  # standard deviation of the weights, as transformers initialises them
_SEED = 0


@attrs.frozen
class Shape:
    """An architecture.

    Attributes:
        model_type: as transformers calls it.
        config: what differs from that type's defaults.
        group: input channels that share a scale when packed to AWQ.
    """

    model_type: str
    config: Mapping[str, Any]
    group: int = 128


_QWEN3 = {
    "vocab_size": 151936,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 40960,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1_000_000.0,
}
SHAPES: Mapping[str, Shape] = {
    "qwen3-8b": Shape(
        "qwen3",
        {
            **_QWEN3,
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "tie_word_embeddings": False,
        },
    ),
    "qwen3-0.6b": Shape(
        "qwen3",
        {
            **_QWEN3,
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "tie_word_embeddings": True,
        },
    ),
    # 576 channels cannot be divided into groups of 128.
    "smollm2-135m": Shape(
        "llama",
        {
            "vocab_size": 49152,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "max_position_embeddings": 8192,
            "rope_theta": 100_000.0,
            "tie_word_embeddings": True,
        },
        group=64,
    ),
    # For tests of the command.
    "tiny": Shape(
        "qwen3",
        {
            **_QWEN3,
            "vocab_size": 1536,
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "tie_word_embeddings": False,
        },
    ),
}


def find_shape(name: str) -> tuple[str, Shape, bool]:
    """Return the bare name, the shape, and whether to pack it, of `shape:NAME[-awq]`.

    Raises:
        UsageError: there is no such shape.
    """
    wanted = name.removeprefix(SHAPE).lower()
    bare = wanted.removesuffix(AWQ)
    if bare not in SHAPES:
        near = difflib.get_close_matches(bare, SHAPES, 1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(SHAPES)}"
        raise UsageError(f"model.name: no shape {bare!r}; {hint}")
    return bare, SHAPES[bare], wanted.endswith(AWQ)


def load_shape(model: ModelSettings, settings: HuggingFaceSettings, device: torch.device) -> Loaded:
    """Return a model with random weights, created on its device in its dtype.

    Raises:
        UsageError: there is no such shape, or AutoAWQ is missing.
        BackendError: it does not fit into the device's memory.
    """
    from transformers import AutoConfig, GenerationConfig

    name, shape, packed = find_shape(model.name)
    config = AutoConfig.for_model(shape.model_type, **shape.config)
    notes = {
        "weights": f"RANDOM WEIGHTS in the shape of {name}: only times and memory mean anything"
    }
    with _seeded(device), _explain_no_room(name, device):
        if packed:
            dtype = pick_dtype(model.dtype, device, auto_cuda=torch.float16)
            network, notes["awq"] = _packed(name, shape, config, dtype, device, settings)
        else:
            dtype = pick_dtype(model.dtype, device)
            network = _dense(name, config, dtype, device, settings)
        network = network.to(device).eval()
    check_placement(network, device)
    network.generation_config = GenerationConfig()
    tokenizer = shape_tokenizer(config.vocab_size)
    full_name = name + AWQ if packed else name
    return Loaded(
        model=network,
        tokenizer=tokenizer,
        content=f"{RANDOM}{full_name}",
        name=f"{full_name} (RANDOM WEIGHTS)",
        quantisation="awq-4bit" if packed else "none",
        # No token ends a completion: noise would end anywhere, and times would not be comparable.
        end_ids=(),
        pad_id=int(tokenizer.pad_token_id),
        notes=notes,
    )


def _dense(
    name: str, config: Any, dtype: torch.dtype, device: torch.device, settings: HuggingFaceSettings
) -> Any:
    from transformers import AutoModelForCausalLM

    check_room(config, dtype, device, name)
    more = {"attn_implementation": settings.attention} if settings.attention else {}
    # Created on the device: 8 billion parameters should not pass through the host in float32.
    with torch.device(device):
        network = AutoModelForCausalLM.from_config(config, dtype=dtype, **more)
    return network.requires_grad_(False)


def _packed(
    name: str,
    shape: Shape,
    config: Any,
    dtype: torch.dtype,
    device: torch.device,
    settings: HuggingFaceSettings,
) -> tuple[Any, str]:
    """Load as AutoAWQ loads an AWQ checkpoint, with random tensors instead of the files'."""
    way, why = awq_path(device.type)
    if way == "transformers":
        raise UsageError(
            f"model.name: {name}{AWQ} is packed with AutoAWQ; with gptqmodel installed AWQ "
            "checkpoints take another way, which has no random weights: measure a real one"
        )
    if way == "none":
        raise UsageError(
            f"model.name: {name}{AWQ} is packed with AutoAWQ, and {why}; {install_extra('awq')}"
        )
    if way == "dequantised":
        check_room(config, dtype, device, name)
    network = empty_model(config, dtype, settings)
    plan = _list_parameters(network)
    tensors = _draw_tensors(plan, shape.group, dtype, device)
    if way == "dequantised":
        log_dequantised(dtype)
        fill_model(network, dequantise(tensors, shape.group, dtype))
    else:
        packed = [f"{one.module}.qweight" for one in plan if one.packed]
        replace_linears(network, packed, shape.group)
        fill_model(network, tensors)
    network.tie_weights()
    return network, f"{way}: {why}"


@attrs.frozen
class _Parameter:
    """A parameter of the model: `MODULE.NAME`, its size, and whether to pack it."""

    module: str
    name: str
    size: tuple[int, ...]
    packed: bool


def _list_parameters(network: Any) -> list[_Parameter]:
    """Return all parameters; as in real checkpoints, linear layers but the output are packed."""
    output = network.get_output_embeddings()
    tied = network.config.tie_word_embeddings
    return [
        _Parameter(
            module_name,
            name,
            tuple(parameter.shape),
            isinstance(module, nn.Linear) and module is not output and name == "weight",
        )
        for module_name, module in network.named_modules()
        for name, parameter in module.named_parameters(recurse=False)
        if not (tied and module is output)
    ]


def _draw_tensors(
    plan: list[_Parameter], group: int, dtype: torch.dtype, device: torch.device
) -> Iterator[tuple[str, Tensor]]:
    for one in plan:
        if one.packed:
            out, width = one.size
            yield from _packed_tensors(one.module, out, width, group, device)
        elif len(one.size) == 1:
            yield f"{one.module}.{one.name}", torch.ones(one.size, dtype=dtype, device=device)
        else:
            weight = torch.empty(one.size, dtype=dtype, device=device).normal_(0, _SPREAD)
            yield f"{one.module}.{one.name}", weight


def _packed_tensors(
    module: str, out: int, width: int, group: int, device: torch.device
) -> Iterator[tuple[str, Tensor]]:
    """Yield a linear layer in AWQ's gemm layout: eight 4-bit numbers per int32.

    Levels are uniform in 0 to 15 and zeros are 7 or 8, so that weights are centred on 0.
    """
    groups, packs = width // group, out // _PER_INT
    anything = (-(1 << 31), 1 << 31)
    sevens, ones = 0x77777777, 0x11111111

    def drawn(rows: int) -> Tensor:
        return torch.randint(*anything, (rows, packs), dtype=torch.int32, device=device)

    spread = (16**2 / 12) ** 0.5
    scales = torch.full((groups, out), _SPREAD / spread, dtype=torch.float16, device=device)
    yield f"{module}.qweight", drawn(width)
    yield f"{module}.qzeros", (drawn(groups) & ones) + sevens
    yield f"{module}.scales", scales


@contextlib.contextmanager
def _seeded(device: torch.device) -> Iterator[None]:
    """Seed the weights, so that they are always the same; restore the caller's random state."""
    cards = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cards):
        torch.manual_seed(_SEED)
        yield


@contextlib.contextmanager
def _explain_no_room(name: str, device: torch.device) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        line = str(error).splitlines()[0]
        raise BackendError(f"{name} does not fit on {device}: {line}") from None
