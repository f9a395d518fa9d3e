"""GGUF files: dequantised by transformers, and kept as an ordinary checkpoint for the next time."""

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

from .checkpoints import ModelFiles, explained, model_of, refuse_parts, tokenizer_of
from .settings import HuggingFaceSettings

log = logging.getLogger(__name__)

# float32 takes up to eight times the room of a 4-bit file.
_LARGEST = (4 << 30) // 8
_QUANTISATION = re.compile(r"(I?Q\d[\w]*|[FB]F?\d\d)(?=\.gguf$)", re.I)
# The key, the type (32 bits without a sign) and the value, as they stand in the file.
_CONTEXT = re.compile(rb"\.context_length\x04\x00\x00\x00(.{4})", re.S)
# Of each file of a kept conversion its checksum; written last.
_CHECKSUMS = "rjepa.json"
_DRAFT = ".making-"
_OLD_DRAFT_SECONDS = 24 * 3600


def quantisation_of(file: str) -> str:
    """`gguf-Q4_1` from the file's name, or `gguf`."""
    match = _QUANTISATION.search(file)
    return f"gguf-{match[1]}" if match else "gguf"


def context_in(file: Path) -> int | None:
    """Most tokens of a sequence, from the head of the file: parsing all of it takes seconds."""
    with file.open("rb") as stream:
        found = _CONTEXT.search(stream.read(1 << 20))
    return int.from_bytes(found[1], "little") if found else None


def cache_folder() -> Path | None:
    """Return where converted checkpoints are kept, `$XDG_CACHE_HOME/rjepa/gguf`; None without a home."""
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
    """Model and tokenizer of a GGUF file.

    Reading a GGUF file takes most of half a minute, reading a converted one a second, so it is
    converted on first use. A conversion is found by the file's content, so that a changed file is
    converted anew, and counts only while all of it is as it was written. The cache is no more than
    a help: where it cannot be used, or the file is too large for it, the file itself is read.

    Raises:
        UsageError: the package `gguf` or `accelerate` is missing; the file is damaged, one part of
            several, or does not hold all of the model's tensors.
    """
    place = kept(checkpoint, content) if settings.keep_converted else None
    if place is None:
        stored = _read_header(checkpoint)
        place = _convert(checkpoint, content, settings, stored)
        if place is None:
            model = model_of(checkpoint, settings, dtype, device, stored)
            return model, tokenizer_of(checkpoint, settings)
    return model_of(place, settings, dtype, device), tokenizer_of(place, settings)


def kept(checkpoint: ModelFiles, content: str) -> ModelFiles | None:
    """Return the conversion that the cache holds, if it is whole."""
    target = _target(checkpoint, content)
    if target is None:
        return None
    try:
        if not (target / _CHECKSUMS).is_file():
            return None
        changed = _changed(target)
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


def _changed(target: Path) -> str | None:
    """Return a file of a conversion that is missing or not as it was written."""
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
    """Return how many numbers each tensor of the file has."""
    for package in ("gguf", "accelerate"):
        try:
            __import__(package)
        except ImportError:
            raise UsageError(
                f"model.name: {checkpoint.gguf_file} needs the package {package}; "
                "pip install 'rjepa[gguf]'"
            ) from None
    from gguf import GGUFReader

    assert checkpoint.folder is not None
    assert checkpoint.gguf_file is not None
    file = checkpoint.folder / checkpoint.gguf_file
    with explained(checkpoint):
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
    """Keep the file as an ordinary checkpoint; None where it cannot or shall not be kept."""
    target = _target(checkpoint, content)
    if not settings.keep_converted:
        return None
    if target is None:
        if cache_folder() is None:
            _say_unkept(checkpoint, "there is no home directory, and XDG_CACHE_HOME is not set")
        return None
    draft = target.parent / f"{_DRAFT}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        draft.mkdir()
    except OSError as error:
        _say_unkept(checkpoint, str(error))
        return None
    log.warning("converting %s once, to be kept in %s", checkpoint.gguf_file, target)
    try:
        plain, tokenizer = _dequantised(checkpoint, settings, stored)
        try:
            _save(plain, tokenizer, draft)
            _publish(draft, target)
        except Exception as error:  # safetensors has a class of its own for a full disk
            _say_unkept(checkpoint, " ".join(str(error).split()))
            return None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return ModelFiles(checkpoint.name, str(target))


def _dequantised(
    checkpoint: ModelFiles, settings: HuggingFaceSettings, stored: Mapping[str, int]
) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM

    quantised = model_of(checkpoint, settings, torch.float32, torch.device("cpu"), stored)
    with explained(checkpoint):
        config = quantised.config
        # The weights are dequantised already; with this left in, the model refuses to be saved.
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
    for name in sums:  # safetensors writes files for nobody else, whatever the umask
        (draft / name).chmod(listed.stat().st_mode & 0o777)


def _publish(draft: Path, target: Path) -> None:
    """Give a finished draft its name, unless another process was faster."""
    if target.exists():
        if _changed(target) is None:
            return
        aside = draft.with_name(f"{draft.name}-aside")
        target.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    draft.rename(target)


def _sweep(folder: Path) -> None:
    """Remove what killed conversions left behind."""
    for draft in folder.glob(f"{_DRAFT}*"):
        with contextlib.suppress(OSError):
            if time.time() - draft.stat().st_mtime > _OLD_DRAFT_SECONDS:
                shutil.rmtree(draft)


def _checksum(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, xxhash.xxh3_128).hexdigest()


def _say_unkept(checkpoint: ModelFiles, why: str) -> None:
    log.warning(
        "%s cannot be kept converted (%s); it is read anew each time", checkpoint.gguf_file, why
    )
