"""Facts about this backend for `rjepa-cli doctor`."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping

import torch

from rjepa_core.errors import UsageError

from .awq import awq_path
from .checkpoints import find_checkpoint
from .names import SMOLLM2


def diagnose() -> Mapping[str, str]:
    """Return the facts in the order in which they are shown."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    facts = {"device": device, "threads": str(torch.get_num_threads())}
    if device == "cuda":
        facts["card"] = torch.cuda.get_device_name(0)
        facts["bfloat16"] = "yes" if torch.cuda.is_bf16_supported() else "no"
    way, why = awq_path(device)
    facts["awq"] = f"{way}: {why}"
    facts["gguf"] = _version("gguf")
    facts["accelerate"] = _version("accelerate")
    try:
        place = find_checkpoint(SMOLLM2)
        facts[SMOLLM2] = f"{place.location}/{place.gguf_file}"
    except UsageError as error:
        facts[SMOLLM2] = str(error)
    return facts


def _version(package: str) -> str:
    if importlib.util.find_spec(package) is None:
        return "not installed"
    return importlib.metadata.version(package)
