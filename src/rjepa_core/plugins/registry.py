"""The registry: the only place that turns a name into an adapter.

A plugin is a module named by an entry point in the group `rjepa.v2`. Its hooks return descriptors,
which name the adapter, its settings class and a factory; nothing heavy is imported before the
factory is called. Entry points are loaded one by one when a name is needed, those of that name
first, and errors are caught: a plugin that fails to import does not affect commands that do not
need it. A plugin for another version of the hooks is refused without being imported.
"""

from __future__ import annotations

import difflib
import re
import traceback
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Literal, TypeVar

import attrs
import pluggy

from ..errors import AmbiguousPluginError, IncompatiblePluginError, PluginError, UnknownAdapterError
from ..text import count
from ..version import __version__
from .hooks import (
    HOOKS_VERSION,
    KIND_HOOKS,
    KINDS,
    PROJECT,
    Adapter,
    Hooks,
    StoreAdapter,
)

# NAME in `NAME:PLACE`. It must not match a path: no separator, no space, no single drive letter.
STORE_NAME = re.compile(r"\w[\w.+-]+")
A = TypeVar("A", bound=Adapter)


State = Literal["ok", "refused", "failed"]


@attrs.frozen
class Plugin:
    """What is known about one entry point.

    Attributes:
        entry: name of the entry point.
        distribution: name of the distribution it came with.
        version: of that distribution.
        adapters: what its hooks returned.
        state: `ok`; `refused`, made for other hooks and never imported; or `failed` to load.
        error: why it was refused or failed and what to do, in one line, or None.
        details: the full traceback of a failure.
    """

    entry: str
    distribution: str
    version: str
    adapters: tuple[Adapter, ...] = ()
    state: State = "ok"
    error: str | None = None
    details: str = ""

    @property
    def origin(self) -> str:
        """Distribution and version, for messages."""
        return f"{self.distribution} {self.version}".strip()


class Registry:
    """Finds adapters by name. Create one per process; it loads each entry point at most once."""

    def __init__(self, entries: Iterable[EntryPoint] | None = None) -> None:
        if entries is None:
            entries = [entry for group in groups() for entry in entry_points(group=group)]
        self._entries = usable(entries)
        self._loaded: dict[int, Plugin] = {}
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)

    def __repr__(self) -> str:
        return f"<Registry of {count(len(self._entries), 'plugin')}>"

    def find(self, kind: type[A], name: str) -> A:
        """Return the adapter of that kind and name.

        Raises:
            UnknownAdapterError: there is none; the nearest known name is suggested.
            AmbiguousPluginError: two distributions offer the same name.
            PluginError: the plugin of that name failed to load.
            IncompatiblePluginError: the plugin of that name was made for other hooks.
        """
        # Refused plugins come after all that may offer the name instead.
        order = sorted(
            range(len(self._entries)),
            key=lambda i: (self._entries[i].name != name, bool(refusal(self._entries[i]))),
        )
        for position, i in enumerate(order):
            plugin = self._load(i)
            matches = self._offers([plugin], kind, name)
            if matches:
                # Another entry point of the same name may offer it too, which must be reported.
                rivals = [
                    self._load(j) for j in order[position + 1 :] if self._entries[j].name == name
                ]
                matches += self._offers(rivals, kind, name)
                if len(matches) > 1:
                    both = " and ".join(sorted(p.origin for p, _ in matches))
                    raise AmbiguousPluginError(
                        f"{KINDS[kind]} {name!r} is offered by {both}; uninstall one"
                    )
                return matches[0][1]
            if plugin.error and plugin.entry == name:
                what = f"{KINDS[kind]} {name!r} ({plugin.origin})"
                if plugin.state == "refused":
                    raise IncompatiblePluginError(f"{what} is refused: {plugin.error}")
                raise PluginError(f"{what} failed to load: {plugin.error}")
        raise UnknownAdapterError(self._unknown(kind, name))

    def each(self, kind: type[A]) -> list[A]:
        """Return all adapters of a kind, after loading every entry point."""
        adapters = [a for p in self.plugins() for a in p.adapters if isinstance(a, kind)]
        return sorted(adapters, key=lambda a: a.name)

    def plugins(self) -> list[Plugin]:
        """Return every entry point, loaded, including those that failed."""
        return [self._load(i) for i in range(len(self._entries))]

    def _offers(
        self, plugins: Iterable[Plugin], kind: type[A], name: str
    ) -> list[tuple[Plugin, A]]:
        return [
            (p, a) for p in plugins for a in p.adapters if isinstance(a, kind) and a.name == name
        ]

    def _unknown(self, kind: type[Adapter], name: str) -> str:
        known = [a.name for a in self.each(kind)]
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
        for state, words in (("failed", "failed to load"), ("refused", "refused")):
            named = [p.entry for p in self.plugins() if p.state == state]
            if named:
                hint += f" ({words}: {', '.join(named)}; see the plugins)"
        return f"unknown {KINDS[kind]} {name!r}; {hint}"

    def _load(self, index: int) -> Plugin:
        if index not in self._loaded:
            self._loaded[index] = self._load_entry(self._entries[index])
        return self._loaded[index]

    def _load_entry(self, entry: EntryPoint) -> Plugin:
        dist = entry.dist
        origin = (dist.name, dist.version) if dist else ("unknown distribution", "")
        if reason := refusal(entry):
            return Plugin(entry.name, *origin, state="refused", error=reason)
        try:
            adapters = self._call_hooks(entry.load(), f"{' '.join(origin)}:{entry.name}")
        except (Exception, SystemExit) as error:
            line = f"{type(error).__name__}: {error}".splitlines()[0]
            return Plugin(entry.name, *origin, (), "failed", line, traceback.format_exc())
        return Plugin(entry.name, *origin, tuple(adapters))

    def _call_hooks(self, module: ModuleType, name: str) -> list[Adapter]:
        """Return what the hooks of a plugin's module return.

        Raises:
            PluginError: it has no hooks, an unknown one, or one that returns something else than
                descriptors.
        """
        self._manager.register(module, name)
        callers = self._manager.get_hookcallers(module) or []
        try:
            if not callers:
                raise PluginError(
                    f"{module.__name__} has no hooks: mark a function such as rjepa_backends() "
                    "with @rjepa_core.plugins.hookimpl"
                )
            adapters: list[Adapter] = []
            for caller in callers:
                if caller.name not in KIND_HOOKS:
                    raise PluginError(_no_such_hook(caller.name))
                for impl in caller.get_hookimpls():
                    if impl.plugin is module:
                        adapters.extend(_checked(impl.function(), caller.name))
        except BaseException:
            self._manager.unregister(module)
            raise
        return adapters


def _no_such_hook(name: str) -> str:
    near = difflib.get_close_matches(name, KIND_HOOKS, 1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(KIND_HOOKS)}"
    return f"there is no hook {name}; {hint}"


def _checked(result: object, spec: str) -> list[Adapter]:
    wanted = KIND_HOOKS[spec]
    if not isinstance(result, Iterable):
        raise PluginError(
            f"{spec} returned {result!r:.80}; it returns a list of {wanted.__name__} descriptors"
        )
    adapters = list(result)
    for adapter in adapters:
        if not isinstance(adapter, wanted):
            raise PluginError(
                f"{spec} returned {adapter!r:.80}; it returns {wanted.__name__} descriptors"
            )
        if wanted is StoreAdapter and not STORE_NAME.fullmatch(adapter.name):
            raise PluginError(
                f"{spec} offers {adapter.name!r}, which NAME:PLACE cannot name: a store's name has "
                "at least two of letters, digits, '_', '-', '.' and '+'"
            )
    return adapters


_GROUP = re.compile(rf"{PROJECT}(?:\.v([1-9]\d*))?")


def version_of(group: str) -> int | None:
    """Return the version of the hooks that an entry-point group is for; None for other groups."""
    found = _GROUP.fullmatch(group)
    return int(found[1] or 1) if found else None


def groups() -> list[str]:
    """Return the groups, of all versions, that any installed distribution uses."""
    return sorted(group for group in entry_points().groups if version_of(group) is not None)


def usable(entries: Iterable[EntryPoint]) -> list[EntryPoint]:
    """Return the plugins among some entry points, each once.

    Of a plugin in the groups of several versions, only the entry of this version is kept.
    """
    plugins = [e for e in dict.fromkeys(entries) if version_of(e.group) is not None]
    ours = {_identity(e) for e in plugins if version_of(e.group) == HOOKS_VERSION}
    return [e for e in plugins if version_of(e.group) == HOOKS_VERSION or _identity(e) not in ours]


def refusal(entry: EntryPoint) -> str | None:
    """Return why a plugin cannot be used and what to do, in one line; None if it can."""
    made_for = version_of(entry.group)
    if made_for is None or made_for == HOOKS_VERSION:
        return None
    plugin = entry.dist.name if entry.dist else entry.name
    if made_for > HOOKS_VERSION:
        remedy = f"upgrade rjepa, or install an older {plugin}"
    else:
        remedy = f"upgrade {plugin}, or install an older rjepa"
    return (
        f"made for version {made_for} of the plugin hooks, and rjepa {__version__} has version "
        f"{HOOKS_VERSION}: {remedy}"
    )


def _identity(entry: EntryPoint) -> tuple[str, str]:
    return (entry.dist.name if entry.dist else "", entry.name)
