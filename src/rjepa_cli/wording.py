"""Name the flags of settings in messages of the core and the adapters, which name settings.

Nothing of the library is imported here: `rjepa_cli.main` needs it before a command is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import click

from .program import program

# Commands for what messages advise.
_ADVICE = {
    "repair the store": "store repair STORE NEW_STORE",
    "verify the store": "store verify STORE",
    "see the plugins": "plugins",
}
_INSTALL = "install "
_LEADING = re.compile(r"(\w+(?:\.[\w-]+)*)(?:\[\d+\])?: ")
_VALUE = r"'[^']*'|[^\s,;:()']+(?:,[^\s,;:()']+)*"


class Wording:
    """Adds a command's flags to messages that name settings; at first it knows none."""

    def __init__(self) -> None:
        self._flags: dict[str, str] = {}
        self._origins: dict[str, str] = {}

    def learn(self, flags: Mapping[str, str], origins: Mapping[str, str] | None = None) -> None:
        """Add flags by the full keys of their settings, and the origins of values."""
        self._flags.update(flags)
        self._origins.update(origins or {})

    def __call__(self, text: str) -> str:
        """Return the message with flags added after the settings that have one.

        A setting at the beginning of a message, as in one about an invalid value, gets the origin
        of its value instead: `model.dtype (run.yaml, line 3): …`.
        """
        head, seen = "", set()
        if found := _LEADING.match(text):
            key, named = found[1], found[0].removesuffix(": ")
            if origin := self._origin(key):
                head, text, seen = f"{named} ({origin}): ", text[found.end() :], {key}
        return head + self._with_flags(text, seen)

    def _origin(self, key: str) -> str | None:
        if known := self._origins.get(key) or self._flags.get(key):
            return known
        parent = key.rpartition(".")[0]
        below = (origin for k, origin in self._origins.items() if k.startswith(f"{key}."))
        return self._origins.get(parent) or next(below, None) or self._flags.get(parent)

    def replaced(self, text: str) -> str:
        """Return the text with flags in place of the settings, for advice to be pasted."""

        def flag(found: re.Match[str]) -> str:
            return self._flag(found) if found[3] else self._flags[found[1]]

        return _pattern(self._flags).sub(flag, text)

    def _with_flags(self, text: str, seen: set[str]) -> str:
        names = self._flags | _advice()

        def flagged(found: re.Match[str]) -> str:
            whole, key = found[0], found[1]
            if found[3]:
                return f"{whole} ({self._flag(found)})"
            if key in seen:
                return whole
            seen.add(key)
            inside = text[: found.start()].endswith("(") and text[found.end() :].startswith(")")
            return f"{whole}, {names[key]}" if inside else f"{whole} ({names[key]})"

        return _pattern(names).sub(flagged, text)

    def _flag(self, found: re.Match[str]) -> str:
        """Return the flag with the value that a message gives the setting."""
        key, entry, value = found.groups()
        return f"{self._flags[key]} {f'{entry}=' if entry else ''}{value}"


def _advice() -> dict[str, str]:
    """Return the command for each advice that a message may give."""
    from rjepa_adapters.optional import install_plugin

    from .offers import PLUGINS

    commands = {words: f"{program()} {command}" for words, command in _ADVICE.items()}
    return commands | {f"{_INSTALL}{name}": install_plugin(name) for name in PLUGINS}


def _pattern(names: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern for any of the settings; its groups are setting, entry and value."""
    keys = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    setting = rf"(?<![\w./-])({keys or '(?!)'})(?:\.(\w+)(?==))?"
    return re.compile(rf"{setting}(?:=({_VALUE})|(?![\w/-]|\.\w| \(-))")


def wording(context: click.Context | None = None) -> Wording:
    """Return the wording of the running command."""
    context = context or click.get_current_context(silent=True)
    found = context.find_object(Wording) if context is not None else None
    return found or Wording()
