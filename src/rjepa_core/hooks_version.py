"""The version of the hook contract, and the plugins that were made for another.

A plugin says which version it was made for by the group of its entry point: `rjepa` is version 1,
`rjepa.v2` would be version 2. So it is known before a line of the plugin is run, and a plugin may
serve several versions by standing in several groups. The version rises when a plugin that fills
hooks, descriptors or ports as they are would no longer work; what is only added keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

HOOKS_VERSION = 1
GROUP = "rjepa"

_GROUP = re.compile(rf"{GROUP}(?:\.v([1-9]\d*))?")


def version_of(group: str) -> int | None:
    """Version of the hooks that a group of entry points stands for; None for any other group."""
    found = _GROUP.fullmatch(group)
    return int(found[1] or 1) if found else None


def groups() -> list[str]:
    """The groups of all versions in which any installed distribution stands."""
    return sorted(group for group in entry_points().groups if version_of(group) is not None)


def usable(entries: Iterable[EntryPoint]) -> list[EntryPoint]:
    """The plugins among some entry points, each once.

    Of one that stands in the groups of several versions, only this version's is kept.
    """
    plugins = [e for e in dict.fromkeys(entries) if version_of(e.group) is not None]
    ours = {_who(e) for e in plugins if version_of(e.group) == HOOKS_VERSION}
    return [e for e in plugins if version_of(e.group) == HOOKS_VERSION or _who(e) not in ours]


def refusal(entry: EntryPoint) -> str | None:
    """Why a plugin cannot be used and what to do, in one line; None if it can."""
    from . import __version__

    made_for = version_of(entry.group)
    if made_for is None or made_for == HOOKS_VERSION:
        return None
    plugin = entry.dist.name if entry.dist else entry.name
    if made_for > HOOKS_VERSION:
        do = f"upgrade rjepa, or install an older {plugin}"
    else:
        do = f"upgrade {plugin}, or install an older rjepa"
    return (
        f"made for version {made_for} of the plugin hooks, and rjepa {__version__} has version "
        f"{HOOKS_VERSION}: {do}"
    )


def _who(entry: EntryPoint) -> tuple[str, str]:
    return (entry.dist.name if entry.dist else "", entry.name)
