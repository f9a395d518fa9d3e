"""GGUF files: dequantised by transformers, and cached as an ordinary checkpoint."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import xxhash

from rjepa_core.errors import UsageError

from ..optional import install_extra
from .checkpoints import ModelFiles, explain_failures, model_of, refuse_parts, tokenizer_of
from .settings import HuggingFaceSettings

log = logging.getLogger(__name__)

# Largest file to cache: float32 takes up to eight times the space of a 4-bit file.
_LARGEST = (4 << 30) // 8
_QUANTISATION = re.compile(r"(I?Q\d[\w]*|[FB]F?\d\d)(?=\.gguf$)", re.I)
# The key, the type (32 bits, unsigned) and the value, as stored in the file.
_CONTEXT = re.compile(rb"\.context_length\x04\x00\x00\x00(.{4})", re.S)
# The checksums of a cached conversion's files; written last.
_CHECKSUMS = "rjepa.json"
_DRAFT = ".making-"
_OLD_DRAFT_SECONDS = 24 * 3600


def quantisation_of(file: str) -> str:
    """Return the quantisation in a file's name, such as `gguf-Q4_1`, or `gguf`."""
    match = _QUANTISATION.search(file)
    return f"gguf-{match[1]}" if match else "gguf"


def context_in(file: Path) -> int | None:
    """Return the context length from the start of the file: parsing all of it takes seconds."""
    with file.open("rb") as stream:
        found = _CONTEXT.search(stream.read(1 << 20))
    return int.from_bytes(found[1], "little") if found else None


def cache_folder() -> Path | None:
    """Return the cache of conversions, `$XDG_CACHE_HOME/rjepa/gguf`; None without a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "rjepa" / "gguf"
    try:
        return Path.home() / ".cache" / "rjepa" / "gguf"
    except RuntimeError:
        return None


def load_gguf(
    checkpoint: ModelFiles,
    content: str,
    settings: HuggingFaceSettings,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Any, Any]:
    """Load model and tokenizer of a GGUF file.

    Reading a GGUF file takes almost half a minute, reading a converted one a second, so it is
    converted on first use. A conversion is found by the file's content, so that a changed file is
    converted again, and is used only if it is exactly as it was written. If the cache cannot be
    used, or the file is too large for it, the file itself is read.

    Raises:
        UsageError: the package `gguf` or `accelerate` is missing; the file is damaged, one part of
            several, or lacks some of the model's tensors.
    """
    place = find_conversion(checkpoint, content) if settings.keep_converted else None
    if place is None:
        stored = _read_header(checkpoint)
        place = _convert(checkpoint, content, settings, stored)
        if place is None:
            model = model_of(checkpoint, settings, dtype, device, stored)
            return model, tokenizer_of(checkpoint, settings)
    return model_of(place, settings, dtype, device), tokenizer_of(place, settings)


def find_conversion(checkpoint: ModelFiles, content: str) -> ModelFiles | None:
    """Return the cached conversion of a file, if there is one and it is intact."""
    target = _target(checkpoint, content)
    if target is None:
        return None
    try:
        if not (target / _CHECKSUMS).is_file():
            return None
        changed = _find_changed(target)
    except OSError as error:
        changed = str(error)
    if changed is None:
        return ModelFiles(checkpoint.name, str(target))
    log.warning(
        "%s: the converted copy in %s is not as it was written (%s) and is not used",
        checkpoint.gguf_file,
        target,
        changed,
    )
    return None


def _find_changed(target: Path) -> str | None:
    """Return the name of a missing or changed file of a conversion; None if it is intact."""
    try:
        sums = json.loads((target / _CHECKSUMS).read_text(encoding="utf-8"))
        if "config.json" not in sums:
            return _CHECKSUMS
        return next((name for name in sums if _checksum(target / name) != sums[name]), None)
    except FileNotFoundError as error:
        return Path(error.filename).name
    except (ValueError, TypeError):
        return _CHECKSUMS


def _target(checkpoint: ModelFiles, content: str) -> Path | None:
    folder = cache_folder()
    assert checkpoint.folder is not None
    assert checkpoint.gguf_file is not None
    if folder is None or (checkpoint.folder / checkpoint.gguf_file).stat().st_size > _LARGEST:
        return None
    return folder / content.removeprefix("sha256:")


def _read_header(checkpoint: ModelFiles) -> Mapping[str, int]:
    """Return the number of elements of each tensor of the file."""
    for package in ("gguf", "accelerate"):
        try:
            __import__(package)
        except ImportError:
            raise UsageError(
                f"model.name: {checkpoint.gguf_file} needs the package {package}; "
                f"{install_extra('gguf')}"
            ) from None
    from gguf import GGUFReader

    assert checkpoint.folder is not None
    assert checkpoint.gguf_file is not None
    file = checkpoint.folder / checkpoint.gguf_file
    with explain_failures(checkpoint):
        reader = GGUFReader(file)
        parts = reader.get_field("split.count")
        if parts is not None and int(parts.contents()) > 1:
            refuse_parts(file, int(parts.contents()))
        return {tensor.name: int(tensor.n_elements) for tensor in reader.tensors}


def _convert(
    checkpoint: ModelFiles,
    content: str,
    settings: HuggingFaceSettings,
    stored: Mapping[str, int],
) -> ModelFiles | None:
    """Cache the file as an ordinary checkpoint; return None if that cannot or shall not be done."""
    target = _target(checkpoint, content)
    if not settings.keep_converted:
        return None
    if target is None:
        if cache_folder() is None:
            _log_uncached(checkpoint, "there is no home directory, and XDG_CACHE_HOME is not set")
        return None
    draft = target.parent / f"{_DRAFT}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_old_drafts(target.parent)
        draft.mkdir()
    except OSError as error:
        _log_uncached(checkpoint, str(error))
        return None
    log.warning("converting %s once, to be kept in %s", checkpoint.gguf_file, target)
    try:
        plain, tokenizer = _dequantised(checkpoint, settings, stored)
        try:
            _save(plain, tokenizer, draft)
            _publish(draft, target)
        except Exception as error:  # safetensors has its own class for a full disk
            _log_uncached(checkpoint, " ".join(str(error).split()))
            return None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return ModelFiles(checkpoint.name, str(target))


def _dequantised(
    checkpoint: ModelFiles, settings: HuggingFaceSettings, stored: Mapping[str, int]
) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM

    quantised = model_of(checkpoint, settings, torch.float32, torch.device("cpu"), stored)
    with explain_failures(checkpoint):
        config = quantised.config
        # The weights are dequantised already, but with this the model refuses to be saved.
        del config.quantization_config
        plain = AutoModelForCausalLM.from_config(config)
        plain.load_state_dict(quantised.state_dict())
        plain.generation_config = quantised.generation_config
    return plain, tokenizer_of(checkpoint, settings)


def _save(plain: Any, tokenizer: Any, draft: Path) -> None:
    plain.save_pretrained(draft)
    tokenizer.save_pretrained(draft)
    sums = {file.name: _checksum(file) for file in sorted(draft.iterdir())}
    listed = draft / _CHECKSUMS
    listed.write_text(json.dumps(sums), encoding="utf-8")
    for name in sums:  # safetensors makes files readable by the owner only, whatever the umask
        (draft / name).chmod(listed.stat().st_mode & 0o777)


def _publish(draft: Path, target: Path) -> None:
    """Move a finished draft into place, unless another process was faster."""
    if target.exists():
        if _find_changed(target) is None:
            return
        aside = draft.with_name(f"{draft.name}-aside")
        target.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    draft.rename(target)


def _remove_old_drafts(folder: Path) -> None:
    """Remove the drafts of conversions that were killed."""
    for draft in folder.glob(f"{_DRAFT}*"):
        with contextlib.suppress(OSError):
            if time.time() - draft.stat().st_mtime > _OLD_DRAFT_SECONDS:
                shutil.rmtree(draft)


def _checksum(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, xxhash.xxh3_128).hexdigest()


def _log_uncached(checkpoint: ModelFiles, why: str) -> None:
    log.warning(
        "%s cannot be kept converted (%s); it is read again each time", checkpoint.gguf_file, why
    )
