"""Arguments of calls from Python, checked in one place for every adapter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from .errors import ArgumentError
from .ports.latent_store import StoreMode

if TYPE_CHECKING:
    from os import PathLike


def path_text(path: str | PathLike[str], name: str = "path") -> str:
    """A path as text; `name` is the argument's.

    Raises:
        ArgumentError: it is neither a string nor an `os.PathLike` that gives one.
    """
    text = path
    if not isinstance(path, str) and hasattr(type(path), "__fspath__"):
        text = path.__fspath__()
    if not isinstance(text, str):
        raise ArgumentError(f"{name}: got {path!r:.80}, expected a string or a path")
    return text


def check_mode(mode: object) -> None:
    """Refuse what is no mode to open a store in.

    Raises:
        ArgumentError: it is neither `read` nor `write`.
    """
    if mode not in get_args(StoreMode):
        raise ArgumentError(f"mode: got {mode!r:.80}, expected 'read' or 'write'")


def json_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of an entry of the run history, as JSON gives it back.

    Raises:
        ArgumentError: it is no mapping, or holds what JSON cannot.
    """
    if not isinstance(entry, Mapping):
        raise ArgumentError(f"entry: got {entry!r:.80}, expected a mapping of JSON values")
    try:
        copied: dict[str, Any] = json.loads(json.dumps(dict(entry)))
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(f"entry: expected JSON values ({error})") from error
    return copied
