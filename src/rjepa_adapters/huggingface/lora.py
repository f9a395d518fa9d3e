"""LoRA adapters beside or instead of a checkpoint's weights (Hu et al. 2021, arXiv:2106.09685).

An adapter is merged into the weights, so that everything else works on an ordinary model.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any

import attrs

from rjepa_core.errors import UsageError
from rjepa_core.text import count

from ..optional import install_extra
from .checkpoints import ADAPTER, ModelFiles, explain_failures, find_checkpoint
from .settings import HuggingFaceSettings
from .weights import first_names, stored_elements

_BESIDE = ("model*.safetensors", "pytorch_model*.bin")
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
# Fields about where it was trained, which do not change its effect.
_VOLATILE = ("base_model_name_or_path", "inference_mode", "revision", "peft_version")


def adapter_folder(checkpoint: ModelFiles, settings: HuggingFaceSettings) -> Path | None:
    """Return the folder of the adapter that a checkpoint is or has; None if it has none."""
    if checkpoint.gguf_file is not None:
        return None
    if checkpoint.folder is not None:
        return checkpoint.folder if (checkpoint.folder / ADAPTER).is_file() else None
    from transformers.utils import find_adapter_config_file

    with explain_failures(checkpoint):
        if find_adapter_config_file(checkpoint.location, revision=settings.revision) is None:
            return None
        from huggingface_hub import snapshot_download

        wanted = ["adapter_*", "*token*", "*.jinja", "vocab*", "merges*"]
        return Path(
            snapshot_download(
                checkpoint.location, revision=settings.revision, allow_patterns=wanted
            )
        )


def base_of(
    checkpoint: ModelFiles, adapter: Path, settings: HuggingFaceSettings
) -> tuple[ModelFiles, HuggingFaceSettings]:
    """Return the model that an adapter belongs to: the one beside it, else the one it names.

    Raises:
        UsageError: the package `peft` is missing, or the adapter names no model, or a missing one.
    """
    _require_peft(checkpoint)
    folder = checkpoint.folder
    if folder is not None and any(file for kind in _BESIDE for file in folder.glob(kind)):
        return checkpoint, settings
    named = _config(adapter)
    name = named.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise UsageError(
            f"model.name: {adapter / ADAPTER} does not name the model that it belongs to; "
            "put the adapter's files into that model's folder"
        )
    try:
        base = find_checkpoint(name)
    except UsageError as error:
        reason = str(error).removeprefix("model.name: ")
        raise UsageError(
            f"model.name: {checkpoint.name} is a LoRA adapter of {name}: {reason}"
        ) from error
    if base.folder is not None and (base.folder / ADAPTER).is_file():
        raise UsageError(
            f"model.name: {checkpoint.name} is a LoRA adapter of {name}, which has one itself; "
            "merge that one into its weights first"
        )
    return base, attrs.evolve(settings, revision=named.get("revision"))


def tokenizer_files_of(checkpoint: ModelFiles, adapter: Path) -> ModelFiles | None:
    """Return the location of the adapter's own tokenizer, if it has one."""
    there = (adapter / "tokenizer_config.json").is_file()
    return ModelFiles(checkpoint.name, str(adapter)) if there else None


def merge_adapter(checkpoint: ModelFiles, adapter: Path, model: Any) -> tuple[Any, str]:
    """Return the model with the adapter merged into its weights, and a note about it.

    Raises:
        UsageError: the adapter does not fit the model, or lacks some weights.
    """
    from peft import PeftModel

    weights = [adapter / name for name in _WEIGHTS if (adapter / name).is_file()]
    if not weights:
        raise UsageError(f"model.name: {adapter} has no weights of an adapter ({_WEIGHTS[0]})")
    stored_elements(file for file in weights if file.suffix == ".safetensors")
    with explain_failures(checkpoint), warnings.catch_warnings():
        # `from_pretrained` only warns of missing tensors; `load_adapter` returns their names.
        warnings.filterwarnings("ignore", "Found missing adapter keys")
        wrapped = PeftModel.from_pretrained(model, str(adapter))
        found = wrapped.load_adapter(str(adapter), wrapped.active_adapter)
        if not hasattr(wrapped, "merge_and_unload"):
            kind = _config(adapter).get("peft_type")
            raise UsageError(
                f"model.name: {checkpoint.name}: adapters of kind {kind} cannot be merged into a "
                "model's weights; LoRA can"
            )
        for keys, fault in (
            (found.missing_keys, "lacks"),
            (found.unexpected_keys, "has no place in the model for"),
        ):
            if keys:
                raise UsageError(
                    f"model.name: {checkpoint.name}: its adapter {fault} "
                    f"{count(len(keys), 'tensor')} ({first_names(sorted(keys))}); fetch or save it "
                    "again, or give it the model that it was made for"
                )
        network = wrapped.merge_and_unload(safe_merge=True)
    rank = _config(adapter).get("r")
    kind = f"{_config(adapter).get('peft_type')}{f' of rank {rank}' if rank else ''}"
    return network, f"{kind}, merged into the weights"


def adapted_content(content: str, adapter: Path) -> str:
    """Return the content hash of a model with an adapter, from both their contents."""
    digest = hashlib.sha256(content.encode())
    for name in _WEIGHTS:
        if (adapter / name).is_file():
            with (adapter / name).open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    kept = {key: value for key, value in _config(adapter).items() if key not in _VOLATILE}
    digest.update(json.dumps(kept, sort_keys=True).encode())
    return f"sha256:{digest.hexdigest()[:32]}"


def _config(adapter: Path) -> dict[str, Any]:
    try:
        found = json.loads((adapter / ADAPTER).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"model.name: {adapter / ADAPTER} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"model.name: {adapter / ADAPTER} holds no settings")
    return found


def _require_peft(checkpoint: ModelFiles) -> None:
    """Refuse an adapter if `peft` is missing: the weights without it are another model.

    Raises:
        UsageError: the package `peft` is not installed.
    """
    if importlib.util.find_spec("peft") is None:
        raise UsageError(
            f"model.name: {checkpoint.name} has a LoRA adapter ({ADAPTER}), which needs the "
            f"package peft; {install_extra('lora')} (or give a folder without the adapter)"
        )
