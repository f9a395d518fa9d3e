"""AWQ 4-bit checkpoints (Lin et al. 2023, arXiv:2306.00978).

The first available of three ways is taken: transformers' own (needs `gptqmodel`), AutoAWQ's kernels
on CUDA, and, on a CPU, where these cannot be called, weights dequantised at load.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import logging
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rjepa_core.errors import UsageError

from ..optional import install_extra
from .checkpoints import ModelFiles, explain_failures, model_of
from .settings import HuggingFaceSettings
from .weights import check_filled, refuse_missing, stored_elements, weight_files

log = logging.getLogger(__name__)

# The tensors of a packed layer.
_PACKED = ("qweight", "qzeros", "scales")


def awq_path(device_type: str) -> tuple[str, str]:
    """Return how an AWQ checkpoint would be loaded on a kind of device, and why."""
    if importlib.util.find_spec("gptqmodel"):
        return "transformers", "gptqmodel is installed"
    if importlib.util.find_spec("awq"):
        if device_type == "cuda":
            return "autoawq kernels", "autoawq is installed and there is a CUDA device"
        return "dequantised", "autoawq is installed; its kernels need CUDA"
    return "none", "neither gptqmodel nor autoawq is installed"


def load_awq(
    checkpoint: ModelFiles,
    config: Any,
    quantisation: Mapping[str, Any],
    device: torch.device,
    dtype: torch.dtype,
    settings: HuggingFaceSettings,
) -> tuple[Any, dict[str, str]]:
    """Load an AWQ checkpoint; return the model, and a note on how it was loaded.

    Raises:
        UsageError: no package for AWQ is installed, or the kind of packing is not supported.
    """
    way, why = awq_path(device.type)
    if way == "none":
        raise UsageError(
            f"model.name: {checkpoint.name} is an AWQ checkpoint, and {why}; "
            f"{install_extra('awq')} (or gptqmodel)"
        )
    if way == "transformers":
        return model_of(checkpoint, settings, dtype, device), {"awq": f"{way}: {why}"}
    bits, version = int(quantisation.get("bits", 4)), str(quantisation.get("version", "gemm"))
    if bits != 4 or version.lower() != "gemm":
        raise UsageError(
            f"model.name: {checkpoint.name} is AWQ {bits}-bit {version!r}; AutoAWQ's path takes "
            "4-bit gemm (for others install gptqmodel)"
        )
    group = int(quantisation.get("group_size", 128))
    model = empty_model(config, dtype, settings)
    files = _weight_files(checkpoint, settings)
    names = stored_elements(files)
    _check_packed(checkpoint.name, names)
    with explain_failures(checkpoint):
        if way == "dequantised":
            log_dequantised(dtype)
            unknown = fill_model(model, dequantise(_tensors(files), group, dtype))
        else:
            replace_linears(model, names, group)
            unknown = fill_model(model, _on_device(files, device, dtype))
        model.tie_weights()
    missing = [name for name, parameter in model.named_parameters() if parameter.is_meta]
    found = {"missing_keys": missing, "unexpected_keys": unknown}
    check_filled(checkpoint.name, model, found, {})
    return model, {"awq": f"{way}: {why}"}


def _check_packed(name: str, names: Collection[str]) -> None:
    """Refuse packed layers that lack a tensor: without its scales one would be zeros."""
    found: dict[str, set[str]] = {}
    for tensor in names:
        module, _, kind = tensor.rpartition(".")
        if kind in _PACKED:
            found.setdefault(module, set()).add(kind)
    absent = [f"{m}.{kind}" for m, kinds in found.items() for kind in _PACKED if kind not in kinds]
    if absent:
        refuse_missing(name, absent, (), len(names) + len(absent))


def log_dequantised(dtype: torch.dtype) -> None:
    """Log that the computation is not done in 4 bits."""
    log.warning("AWQ weights are dequantised to %s at load: no CUDA device", str(dtype)[6:])


def empty_model(config: Any, dtype: torch.dtype, settings: HuggingFaceSettings) -> Any:
    """Return the model with its parameters on `meta`; buffers, not in checkpoints, are real."""
    from accelerate import init_empty_weights
    from transformers import AutoModelForCausalLM

    plain = copy.deepcopy(config)
    if hasattr(plain, "quantization_config"):
        del plain.quantization_config
    more = {"attn_implementation": settings.attention} if settings.attention else {}
    with init_empty_weights(include_buffers=False):
        return AutoModelForCausalLM.from_config(
            plain, dtype=dtype, trust_remote_code=settings.trust_remote_code, **more
        )


def _weight_files(checkpoint: ModelFiles, settings: HuggingFaceSettings) -> list[Path]:
    folder = checkpoint.folder
    if folder is None:
        from huggingface_hub import snapshot_download

        folder = Path(
            snapshot_download(
                checkpoint.location,
                revision=settings.revision,
                allow_patterns=["*.safetensors", "*.json"],
            )
        )
    files = weight_files(folder) or sorted(folder.glob("*.safetensors"))
    if not files:
        raise UsageError(f"model.name: {folder} holds no .safetensors files")
    return files


def _tensors(files: list[Path], device: str = "cpu") -> Iterator[tuple[str, Tensor]]:
    from safetensors import safe_open

    for file in files:
        with safe_open(file, framework="pt", device=device) as opened:
            for name in opened.keys():  # noqa: SIM118  not a mapping
                yield name, opened.get_tensor(name)


def dequantise(
    tensors: Iterable[tuple[str, Tensor]], group: int, dtype: torch.dtype
) -> Iterator[tuple[str, Tensor]]:
    """Yield ordinary weights, holding the packed tensors of few layers at a time."""
    with _autoawq():
        from awq.utils.packing_utils import dequantize_gemm
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors:
        module, _, kind = name.rpartition(".")
        if kind not in _PACKED:
            yield name, tensor.to(dtype) if tensor.is_floating_point() else tensor
            continue
        found = parts.setdefault(module, {})
        found[kind] = tensor
        if len(found) == len(_PACKED):
            del parts[module]
            rows = found["qweight"].shape[0]
            weight = dequantize_gemm(
                found["qweight"],
                found["qzeros"],
                found["scales"].float(),
                4,
                group if group > 0 else rows,
            )
            yield f"{module}.weight", weight.t().contiguous().to(dtype)


def replace_linears(model: Any, names: Iterable[str], group: int) -> None:
    """Replace the linear layers that have packed weights by AutoAWQ's modules, still empty.

    Args:
        names: of the tensors to be loaded, including a `.qweight` of each packed layer.
    """
    with _autoawq():
        from awq.modules.linear.gemm import WQLinear_GEMM
    linears = {name: one for name, one in model.named_modules() if isinstance(one, nn.Linear)}
    for name in names:
        module = name.removesuffix(".qweight")
        if module == name or module not in linears:
            continue
        parent_name, _, child = module.rpartition(".")
        packed = WQLinear_GEMM.from_linear(linears[module], 4, group, init_only=True)
        setattr(model.get_submodule(parent_name), child, packed)


def _on_device(
    files: list[Path], device: torch.device, dtype: torch.dtype
) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in _tensors(files, str(device)):
        packed = name.rpartition(".")[2] in _PACKED
        yield name, tensor if packed else tensor.to(dtype)


def fill_model(model: Any, tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Load tensors into the model one by one; return the names of those it has no place for.

    Parameters without a tensor stay on `meta`.
    """
    unknown: list[str] = []
    for name, tensor in tensors:
        unknown += model.load_state_dict({name: tensor}, strict=False, assign=True).unexpected_keys
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return unknown


@contextlib.contextmanager
def _autoawq() -> Iterator[None]:
    """Suppress the deprecation notice that AutoAWQ prints on import."""
    with warnings.catch_warnings(record=True):
        yield
