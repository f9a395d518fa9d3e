"""Flags of adapters: a command's options depend on the adapters that its arguments name."""

from __future__ import annotations

from typing import Any

import attrs
import click

from rjepa_core.errors import RJepaError
from rjepa_core.plugins import (
    Adapter,
    BackendAdapter,
    ExecutorAdapter,
    Registry,
    SchedulerAdapter,
    StoreAdapter,
    find_store,
)
from rjepa_core.settings import ExtractionSettings, StoreSettings
from rjepa_core.text import visible

from .config import gather
from .help import OTHER, GroupedCommand, write_groups
from .options import DEFAULTS, FLAGS, GROUPS, Flag, flags_of

SECTIONS: tuple[tuple[str, type[Adapter]], ...] = (
    ("backend", BackendAdapter),
    ("scheduler", SchedulerAdapter),
    ("executor", ExecutorAdapter),
    ("store", StoreAdapter),
)
_NAMING = ("--backend", "--scheduler", "--executor", "--store")


@attrs.define
class Chosen:
    """The adapters of a call, and the flags that their settings add."""

    registry: Registry
    names: dict[str, str]
    flags: list[Flag]
    trouble: str = ""
    arguments: tuple[str, ...] = ()


class ExtractCommand(GroupedCommand):
    """A command whose options depend on the adapters that its arguments name."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        # Shell completion asks for a context of half a command line, and for any error of its own.
        completing = bool(extra.get("resilient_parsing"))
        lenient = {
            "resilient_parsing": True,
            "ignore_unknown_options": True,
            "allow_extra_args": True,
        }
        preview = super().make_context(info_name, list(args), parent, **(extra | lenient))
        chosen = _choose(preview, lenient=completing or "--help" in args or "-h" in args)
        chosen.arguments = tuple(args)
        ready = _ReadyCommand(
            self.name,
            params=[*self.params, *(flag.option() for flag in chosen.flags)],
            groups=self.groups,
            callback=self.callback,
            help=self.help,
            epilog=self.epilog,
            context_settings=self.context_settings,
        )
        return ready.make_context(info_name, args, parent, obj=chosen, **extra)


class _ReadyCommand(GroupedCommand):
    """The command with all its options; help is grouped by section, then by adapter."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        chosen = ctx.find_object(Chosen)
        assert chosen is not None
        flags = {flag.parameter: flag for flag in (*FLAGS, *chosen.flags)}
        lines = [
            (self._group(parameter, flags.get(parameter.name or ""), chosen), line)
            for parameter in self.get_params(ctx)
            if (line := parameter.get_help_record(ctx)) is not None
        ]
        write_groups(formatter, lines, list(GROUPS.values()))
        if chosen.trouble:
            with formatter.section("Not shown"):
                formatter.write_text(visible(chosen.trouble))

    def _group(self, parameter: click.Parameter, flag: Flag | None, chosen: Chosen) -> str:
        if flag is None:
            return self.title_of(parameter) or OTHER
        section = flag.key.partition(".")[0]
        if section in GROUPS:
            return GROUPS[section]
        return visible(f"{section.capitalize()} ({chosen.names[section]})")


def _choose(ctx: click.Context, lenient: bool) -> Chosen:
    """Find the adapters that arguments and YAML file name; if lenient, as far as possible."""
    registry = Registry()
    names = dict(DEFAULTS)
    chosen = Chosen(registry, names, [])
    sections: list[tuple[str, type[Any]]] = []
    try:
        names.update(_names(ctx, registry))
        for section, kind in SECTIONS:
            sections.append((section, registry.find(kind, names[section]).settings))
    except RJepaError as error:
        if not lenient:
            raise
        chosen.trouble = str(error)
    taken = [parameter.opts[0] for parameter in ctx.command.params]
    chosen.flags = flags_of(sections, taken)
    return chosen


def _names(ctx: click.Context, registry: Registry) -> dict[str, str]:
    naming = [flag for flag in FLAGS if flag.name in _NAMING]
    tree = gather(ctx, ExtractionSettings, naming)
    names = {}
    for section, _ in SECTIONS:
        values = tree.get(section)
        if isinstance(values, dict) and isinstance(values.get("name"), str):
            names[section] = values["name"]
    store = tree.get("store")
    if isinstance(store, dict) and isinstance(store.get("path"), str) and store["path"]:
        place = StoreSettings(path=store["path"], name=names.get("store", DEFAULTS["store"]))
        names["store"] = find_store(place, registry)[0].name
    return names
