"""What a shell completes: stores, ids, models, world models, adapters, choices.

A press of the Tab key waits for this: nothing heavy is imported, few folders are looked into, and
whatever goes wrong completes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from rjepa_core.plugins import DEFAULT_STORE, Adapter, BackendAdapter, Registry, StoreAdapter
from rjepa_core.plugins import open_store as open_read
from rjepa_core.ports.world_model import RUN_CONFIG

Items = list[CompletionItem]
Completer = Callable[[click.Context, click.Parameter, str], Items]
# Folders that are looked into for stores and runs, how deep below the one that was typed.
_MOST_FOLDERS, _DEPTH = 400, 3
_MOST_IDS = 20_000
_SHOWN = 200


def choices(names: Iterable[str], commas: bool = False) -> Completer:
    """Complete one of some names; with commas, the last of several."""
    known = tuple(names)

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
        before, comma, last = incomplete.rpartition(",") if commas else ("", "", incomplete)
        given = before.split(",") if before else []
        return [
            CompletionItem(f"{before}{comma}{name}")
            for name in known
            if name.startswith(last) and name not in given
        ]

    return complete


def adapters(kind: type[Adapter]) -> Completer:
    """Complete the name of an adapter of a kind."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
        known = Registry().each(kind)
        return [
            CompletionItem(one.name, help=one.summary or None)
            for one in known
            if one.name.startswith(incomplete)
        ]

    return complete


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """Let the shell complete a file."""
    return [CompletionItem(incomplete, type="file")]


def folders(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """Let the shell complete a folder."""
    return [CompletionItem(incomplete, type="dir")]


def problems(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """Complete a file of problems, or `demo`."""
    demo = "demo"
    named = incomplete and demo.startswith(incomplete)
    return [CompletionItem(demo)] if named else files(ctx, param, incomplete)


def stores(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """Complete a store below the folder that was typed; else let the shell complete a folder."""
    exists = Registry().find(StoreAdapter, DEFAULT_STORE).exists
    return _found(incomplete, exists) or folders(ctx, param, incomplete)


def traces(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """Complete a store, or a file of solutions."""
    exists = Registry().find(StoreAdapter, DEFAULT_STORE).exists
    return (_found(incomplete, exists) if incomplete else []) or files(ctx, param, incomplete)


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """Complete a trained run below the folder that was typed; else a folder."""
    found = _found(incomplete, lambda place: (Path(place) / RUN_CONFIG).is_file())
    return found or folders(ctx, param, incomplete)


def models(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """Complete the name of a model that needs no download; else a file or folder."""
    known: list[str] = []
    for adapter in Registry().each(BackendAdapter):
        with suppress(Exception):
            known += adapter.models() if adapter.models is not None else ()
    items = [CompletionItem(name) for name in known if name.startswith(incomplete)]
    return items or files(ctx, param, incomplete)


def ids(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """Complete the ID of a record or failure in the store that was named."""
    place = ctx.params.get("store")
    if not place:
        return []
    with suppress(Exception):
        store = open_read(place)
        try:
            names = map(str, islice((key for key, _ in store.entries()), _MOST_IDS))
            failed = (str(failure.key) for failure in store.failures())
            fitting = (n for part in (names, failed) for n in part if n.startswith(incomplete))
            return [CompletionItem(name) for name in sorted(islice(fitting, _SHOWN))]
        finally:
            store.close()
    return []


def _found(incomplete: str, wanted: Callable[[str], bool]) -> Items:
    """Return the wanted folders whose path begins with a text, as it was typed."""
    parent, typed = os.path.split(incomplete)
    found = islice(_walk(parent, typed, wanted, _DEPTH), _MOST_FOLDERS)
    return [CompletionItem(path) for path in found if path is not None]


def _walk(
    folder: str, prefix: str, wanted: Callable[[str], bool], depth: int
) -> Iterator[str | None]:
    """Yield each wanted folder below one; None for each that is not wanted, to count it."""
    names: Sequence[Any] = ()
    with suppress(OSError), os.scandir(folder or ".") as entries:
        names = sorted(e.name for e in entries if e.name.startswith(prefix) and e.is_dir())
    for name in names:
        path = os.path.join(folder, name)
        if wanted(path):
            yield path
            continue
        yield None
        if depth > 1 and not name.startswith("."):
            yield from _walk(path, "", wanted, depth - 1)
