"""Pack a checkpoint to AWQ 4-bit with AutoAWQ's own packing, rounding to nearest."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer


def round_to_nearest(weight: Tensor, group: int) -> tuple[Tensor, Tensor, Tensor]:
    """Quantised weights as floats [out, in], scales and zeros [groups, out]."""
    out, width = weight.shape
    grouped = weight.reshape(out, width // group, group)
    low, high = grouped.amin(-1), grouped.amax(-1)
    scales = ((high - low).clamp(min=1e-5) / 15).half().float()
    zeros = (-low / scales).round().clamp(0, 15)
    levels = (grouped / scales[..., None]).round() + zeros[..., None]
    rounded = (levels.clamp(0, 15) - zeros[..., None]) * scales[..., None]
    return rounded.reshape(out, width), scales.t().contiguous(), zeros.t().contiguous()


def pack(source: Path, target: Path, group: int = 64) -> tuple[Path, Path]:
    """An AWQ checkpoint, and its dequantised reference as an ordinary one.

    Every linear layer but the output one is packed.
    """
    with warnings.catch_warnings(record=True):
        from awq.modules.linear.gemm import WQLinear_GEMM
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    state = dict(model.state_dict())
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear) or name == "lm_head":
            continue
        rounded, scales, zeros = round_to_nearest(module.weight.data, group)
        module.weight.data = rounded
        packed = WQLinear_GEMM.from_linear(module, 4, group, False, scales, zeros)
        del state[f"{name}.weight"]
        for part in ("qweight", "qzeros", "scales"):
            state[f"{name}.{part}"] = getattr(packed, part)
    reference = target.with_name(f"{target.name}-reference")
    tokenizer = AutoTokenizer.from_pretrained(source)
    for folder in (target, reference):
        tokenizer.save_pretrained(folder)
    model.save_pretrained(reference)
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    save_file(
        {
            k: (v.half() if v.is_floating_point() else v).clone().contiguous()
            for k, v in state.items()
        },
        target / "model.safetensors",
        metadata={"format": "pt"},
    )
    config = json.loads((reference / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "awq",
        "bits": 4,
        "group_size": group,
        "zero_point": True,
        "version": "gemm",
    }
    (target / "config.json").write_text(json.dumps(config))
    generation = reference / "generation_config.json"
    if generation.is_file():
        shutil.copy(generation, target)
    return target, reference
