"""GGUF files: dequantised by transformers, and kept as an ordinary checkpoint for the next time."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from pathlib import Path

from rjepa_core.errors import UsageError

from .naming import Checkpoint

log = logging.getLogger(__name__)

# float32 takes up to eight times the room of a 4-bit file.
_LARGEST = (4 << 30) // 8
_QUANTISATION = re.compile(r"(I?Q\d[\w]*|[FB]F?\d\d)(?=\.gguf$)", re.I)


def quantisation_of(file: str) -> str:
    """`gguf-Q4_1` from the file's name, or `gguf`."""
    match = _QUANTISATION.search(file)
    return f"gguf-{match[1]}" if match else "gguf"


def cache_folder() -> Path:
    """Where converted checkpoints are kept: `$XDG_CACHE_HOME/rjepa/gguf`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rjepa" / "gguf"


def as_checkpoint(checkpoint: Checkpoint, content: str, keep: bool) -> Checkpoint:
    """The ordinary checkpoint of a GGUF file, made on first use.

    Reading a GGUF file takes most of half a minute, reading the converted one a second. It is
    found by its content, so that a changed file is converted anew, and made under another name
    first, so that it is whole or absent. Too large or unwanted, the file itself is used.

    Raises:
        UsageError: the package `gguf` or `accelerate` is missing.
    """
    folder = checkpoint.folder
    assert folder is not None
    assert checkpoint.gguf_file is not None
    file = folder / checkpoint.gguf_file
    target = cache_folder() / content.removeprefix("sha256:")
    if (target / "config.json").is_file() and keep:
        return Checkpoint(checkpoint.name, str(target))
    for package in ("gguf", "accelerate"):
        try:
            __import__(package)
        except ImportError:
            raise UsageError(
                f"model.name: {file.name} needs the package {package}; pip install 'rjepa[gguf]'"
            ) from None
    if not keep or file.stat().st_size > _LARGEST:
        return checkpoint
    try:
        return _convert(checkpoint, target)
    except OSError as error:
        log.warning("%s cannot be kept converted (%s); it is read anew each time", file.name, error)
        return checkpoint


def _convert(checkpoint: Checkpoint, target: Path) -> Checkpoint:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    log.warning("converting %s once; kept in %s", checkpoint.gguf_file, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
    try:
        quantised = AutoModelForCausalLM.from_pretrained(
            checkpoint.location, gguf_file=checkpoint.gguf_file, dtype=torch.float32
        )
        config = quantised.config
        # The weights are dequantised already; with this left in, the model refuses to be saved.
        del config.quantization_config
        plain = AutoModelForCausalLM.from_config(config)
        plain.load_state_dict(quantised.state_dict())
        plain.generation_config = quantised.generation_config
        plain.save_pretrained(draft)
        AutoTokenizer.from_pretrained(
            checkpoint.location, gguf_file=checkpoint.gguf_file
        ).save_pretrained(draft)
        try:
            draft.rename(target)
        except OSError:
            if not (target / "config.json").is_file():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Checkpoint(checkpoint.name, str(target))
