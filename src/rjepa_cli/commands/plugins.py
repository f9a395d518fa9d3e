"""`rjepa-cli plugins`: the plugins found, their adapters, and what was refused or failed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, get_type_hints

import attrs
import click
from click.shell_completion import CompletionItem

from rjepa_core.errors import UnknownAdapterError
from rjepa_core.plugins import KINDS, Adapter, Plugin, Registry
from rjepa_core.text import hanging, table

from ..console import Screen
from ..help import GroupedCommand
from ..options import default_text, describe, type_text

Facts = dict[str, Any]

_STATES = {"ok": "ok", "refused": "refused", "failed": "failed to load"}

EPILOG = """\b
Examples:
  rjepa-cli plugins
  rjepa-cli plugins huggingface      (its settings, with types and defaults)
  rjepa-cli plugins --verbose        (with the tracebacks of what failed)
"""


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of an adapter or a plugin."""
    plugins = Registry().plugins()
    known = {a.name for p in plugins for a in p.adapters} | {p.entry for p in plugins}
    return [CompletionItem(name) for name in sorted(known) if name.startswith(incomplete)]


@click.command("plugins", cls=GroupedCommand, epilog=EPILOG)
@click.argument("name", metavar="[NAME]", required=False, shell_complete=_names)
@click.option("--verbose", is_flag=True, help="Show the traceback of what failed to load.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
def command(name: str | None, verbose: bool, as_json: bool) -> int:
    """List the plugins: name, version, distribution, state, and the adapters that each offers.

    The state is `ok`; `refused`, for a plugin made for another version of the hooks; or `failed to
    load`; with the reason. With the NAME of an adapter or plugin, show its settings.
    """
    screen = Screen(only_output=True)
    with screen:
        plugins = Registry().plugins()
    if name is not None:
        plugins = _named(plugins, name)
    if as_json:
        screen.json({"plugins": [_plugin_facts(plugin) for plugin in plugins]})
        return 0
    lines = _table(plugins)
    shown = [lines[0]] if lines else []
    for plugin, row in zip(plugins, lines[1:], strict=True):
        shown += [row, *_details(plugin, detail=name is not None, verbose=verbose)]
    if any(plugin.state == "failed" for plugin in plugins) and not verbose:
        shown.append("--verbose shows the traceback of what failed to load")
    shown = shown or ["no plugins found: is rjepa installed?"]
    screen.result(*(part for line in shown for part in _fitted(line, screen.width)))
    return 0


def _named(plugins: Sequence[Plugin], name: str) -> list[Plugin]:
    """Return the plugins of a name, and the adapters of that name of other plugins."""
    matching = []
    for plugin in plugins:
        adapters = tuple(a for a in plugin.adapters if a.name == name)
        if plugin.entry == name:
            matching.append(plugin)
        elif adapters:
            matching.append(attrs.evolve(plugin, adapters=adapters))
    if not matching:
        known = sorted({a.name for p in plugins for a in p.adapters} | {p.entry for p in plugins})
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise UnknownAdapterError(f"no adapter or plugin named {name!r}; {hint}")
    return matching


def _table(plugins: Sequence[Plugin]) -> list[str]:
    """Return a line of headings, then one line per plugin."""
    if not plugins:
        return []
    rows = [("plugin", "version", "distribution", "state")]
    rows += [(p.entry, p.version or "-", p.distribution, _STATES[p.state]) for p in plugins]
    return table(rows, left=range(4))


def _fitted(line: str, width: int | None) -> list[str]:
    """Return a line cut to a width, its summary or description below where it begins."""
    indent = len(line) - len(line.lstrip())
    return hanging(line, width, {0: 2, 2: 27}.get(indent, indent + 2))


def _details(plugin: Plugin, detail: bool, verbose: bool) -> list[str]:
    if plugin.error is not None:
        lines = [f"  {plugin.error}"]
        return lines + plugin.details.rstrip().splitlines() if verbose else lines
    lines = []
    for adapter in plugin.adapters:
        lines.append(f"  {_kind(adapter):<14} {adapter.name:<13} {adapter.summary}".rstrip())
        if detail:
            lines += [_setting_line(setting) for setting in settings_of(adapter)]
    return lines


def _setting_line(setting: Facts) -> str:
    default = f" [default: {setting['default']}]" if setting["default"] is not None else ""
    return f"      {setting['name']} ({setting['type']}){default}: {setting['help']}".rstrip(": ")


def _plugin_facts(plugin: Plugin) -> Facts:
    return {
        "entry": plugin.entry,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "state": plugin.state,
        "error": plugin.error,
        "traceback": plugin.details or None,
        "adapters": [
            {
                "kind": _kind(adapter),
                "name": adapter.name,
                "summary": adapter.summary,
                "settings": settings_of(adapter),
            }
            for adapter in plugin.adapters
        ],
    }


def settings_of(adapter: Adapter) -> list[Facts]:
    """Return name, type, default and description of each of an adapter's settings."""
    hints, texts = get_type_hints(adapter.settings), describe(adapter.settings)
    return [
        {
            "name": field.name,
            "type": type_text(hints[field.name], field),
            "default": default_text(field) or None,
            "help": texts.get(field.name, ""),
        }
        for field in attrs.fields(adapter.settings)
    ]


def _kind(adapter: Adapter) -> str:
    return next(word for cls, word in KINDS.items() if isinstance(adapter, cls))
