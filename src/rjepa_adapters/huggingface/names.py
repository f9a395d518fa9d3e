"""Names of models: those on this disk, and near-misses of them; torch is not imported."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rjepa_core.errors import UsageError

SMOLLM2 = "smollm2"
# How alike a name and a model's are, from 0 to 1, for the one to be a near-miss of the other.
_ALIKE = 0.7
_DOWNLOADED = "models--"


def known_models() -> list[str]:
    """Return the names of models that need no download: `smollm2`, and what was downloaded."""
    return [SMOLLM2, *_downloaded()]


def refuse_near_miss(name: str) -> None:
    """Refuse a name that is nearly that of a model or of a path here.

    The hub would be asked for it otherwise, which takes long where there is no network.

    Raises:
        UsageError: the message says what was probably meant.
    """
    hint, folder = did_you_mean(name), Path(name).parent
    is_path = name.endswith(".gguf") or (folder.name != "" and folder.is_dir())
    if (hint or is_path) and name not in _downloaded():
        raise UsageError(
            f"model.name: there is no model, folder or file {name}{hint} "
            "(if it is on the hub, set backend.revision=main)"
        )


def did_you_mean(name: str) -> str:
    """Return the end of a message: the model here whose name or path is most alike, if one is."""
    path = Path(name).expanduser()
    near = [] if "/" in name else _near(name, [SMOLLM2])
    if not near:
        folder = path.parent
        if not folder.is_dir():
            others = [entry.name for entry in _entries(folder.parent) if entry.is_dir()]
            folder = folder.parent / next(iter(_near(folder.name, others)), folder.name)
        models = [entry.name for entry in _entries(folder) if is_model(entry)]
        near = [str(folder / model) for model in _near(path.name, models)]
    return f"; did you mean {near[0]}?" if near else ""


def is_model(path: Path) -> bool:
    """Return whether a path looks like a checkpoint's folder or a GGUF file."""
    if path.suffix == ".gguf":
        return True
    return any((path / file).is_file() for file in ("config.json", "adapter_config.json"))


def _near(name: str, known: Sequence[str]) -> list[str]:
    """Return the most alike of the known names, whatever their case; empty if none is."""
    by_text = {one.casefold(): one for one in known}
    found = difflib.get_close_matches(name.strip().casefold(), by_text, 1, _ALIKE)
    return [by_text[text] for text in found]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _downloaded() -> Iterator[str]:
    """Yield the names of the models in the hub's cache."""
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    cache = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")
    for folder in _entries(cache):
        if folder.name.startswith(_DOWNLOADED):
            yield folder.name.removeprefix(_DOWNLOADED).replace("--", "/", 1)
