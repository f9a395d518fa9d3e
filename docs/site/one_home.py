"""What `rjepa_core` exports is described on its page, and elsewhere linked: a hook of MkDocs."""

from __future__ import annotations

import importlib
import inspect
import re
from types import ModuleType
from typing import Any

import rjepa_core

# Pages that describe what `rjepa_core` exports: settings have one of their own.
HOMES = {"reference/api/core.md", "reference/api/settings.md"}
_MODULE = re.compile(r"^::: (rjepa_core[\w.]*)\n(?!    options)", re.MULTILINE)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    if page.file.src_uri in HOMES:
        return markdown
    return _MODULE.sub(_without_exported, f"{markdown}\n")


def _without_exported(found: re.Match[str]) -> str:
    module = importlib.import_module(found[1])
    names = public(module)
    if not names:
        return found[0]
    # The settings of a use case stand with it, exported or not.
    linked = [
        name
        for name in names
        if name in rjepa_core.__all__ and not name.endswith("Settings") and name != "hookimpl"
    ]
    members = [name for name in names if name not in linked]
    text = f"{found[0]}    options: {{members: {members or 'false'}}}\n"
    if linked:
        links = ", ".join(f"[`{name}`][rjepa_core.{name}]" for name in linked)
        text += (
            f"\nOf this module `rjepa_core` exports, and [its page](core.md) describes: {links}.\n"
        )
    return text


def public(module: ModuleType) -> list[str]:
    """Return the classes and functions that a module defines, or a package exports."""
    exported = getattr(module, "__all__", None)
    inside = f"{module.__name__}." if hasattr(module, "__path__") else module.__name__
    return [
        name
        for name in exported or vars(module)
        for value in [getattr(module, name)]
        if (inspect.isclass(value) or inspect.isfunction(value))
        and (exported or (name[0] != "_" and f"{value.__module__}.".startswith(inside)))
    ]
