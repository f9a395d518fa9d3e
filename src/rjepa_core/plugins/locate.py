"""Open stores, sources, world models and probes by name or location."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from ..config import path_text, unknown_key
from ..errors import (
    InputError,
    SettingsError,
    StoreNotFoundError,
    UnknownAdapterError,
    UnsupportedError,
    UsageError,
)
from ..ports.maintenance import Maintenance
from ..ports.probe import MemoryProbe
from ..ports.source import ProblemSource
from ..ports.store import LatentStore, StoreMode, check_mode
from ..ports.world_model import WorldModel
from ..settings import ProblemSettings, StoreSettings
from .hooks import (
    PretrainedRunAdapter,
    ProbeAdapter,
    SourceAdapter,
    StoreAdapter,
    WorldModelAdapter,
)
from .registry import STORE_NAME, Registry

if TYPE_CHECKING:
    from os import PathLike


DEFAULT_STORE = "lmdb"
# The pretrained world models of this project, and the distributions that carry them.
PRETRAINED = {"gsm8k-smollm2": "rjepa-smollm2-gsm8k"}


@attrs.frozen
class StorePlace:
    """The location of a store, before it is opened or created.

    Attributes:
        path: as given, a path or `NAME:PLACE`.
        adapter: the adapter for it.
        place: the location without the adapter's name.
    """

    path: str
    adapter: StoreAdapter
    place: str

    @property
    def exists(self) -> bool:
        """Whether the store exists."""
        return self.adapter.exists(self.place)

    def open(
        self, mode: StoreMode = "read", options: Mapping[str, Any] | None = None
    ) -> LatentStore:
        """Open the store; in mode `write` it is created if it does not exist.

        Raises:
            ArgumentError: the mode is invalid.
        """
        check_mode(mode)
        settings = self.adapter.configure(options or {}, "store")
        return self.adapter.create(self.place, mode, settings)

    @property
    def beside(self) -> str:
        """The location beside which what is made from the store is kept."""
        return self.adapter.beside(self.place) if self.adapter.beside is not None else self.path

    def require(self) -> None:
        """Raise `StoreNotFoundError` unless the store exists."""
        if not self.exists:
            # The adapter knows best what is wrong with the location.
            self.open("read").close()
            raise StoreNotFoundError(f"{self.path}: there is no store; check the path")

    def maintenance(self) -> Maintenance:
        """Return what verifies, repairs and compacts the adapter's stores.

        Raises:
            UnsupportedError: the adapter offers no maintenance.
        """
        if self.adapter.maintenance is None:
            raise UnsupportedError(
                f"{self.path}: the store {self.adapter.name!r} offers no maintenance: it cannot "
                "verify, repair or compact its stores"
            )
        return self.adapter.maintenance()


def locate(path: str | PathLike[str], registry: Registry | None = None) -> StorePlace:
    """Return the location that a path (LMDB) or `NAME:PLACE` names, without opening anything.

    Raises:
        ArgumentError: it is neither a string nor a path.
        UnknownAdapterError: no adapter has that name.
    """
    path = path_text(path)
    return StorePlace(path, *_find(path, DEFAULT_STORE, registry or Registry()))


def open_store(
    path: str | PathLike[str],
    mode: StoreMode = "read",
    registry: Registry | None = None,
    options: Mapping[str, Any] | None = None,
) -> LatentStore:
    """Open a store by its location: a path (LMDB), or `NAME:PLACE` for another adapter.

    Args:
        path: a string, or a path of `pathlib`; `hf:USER/NAME` for one on the Hugging Face Hub.
        mode: `read`, or `write` to be its only writer, creating it if necessary.
        registry: finds the adapter.
        options: settings of the adapter, by name.

    Returns:
        The store; close it, or use it in a `with` block, which does so at its end.

    Raises:
        ArgumentError: path or mode is invalid.
        UnknownAdapterError, SettingsError: there is no such adapter, or option of it.
        StoreNotFoundError: mode `read`, and there is no store.
        StoreLockedError: mode `write`, and the store has another writer.
    """
    return locate(path, registry).open(mode, options)


def split_location(path: str, default: str = DEFAULT_STORE) -> tuple[str, str]:
    """Return an adapter's name and a location; a single letter before `:` is a Windows drive."""
    name, colon, place = path.partition(":")
    return (name, place) if colon and STORE_NAME.fullmatch(name) else (default, path)


def find_store(settings: StoreSettings, registry: Registry) -> tuple[StoreAdapter, str]:
    """Return the adapter of a run's store, and the store's location."""
    return _find(settings.path, settings.name, registry)


def _find(path: str, default: str, registry: Registry) -> tuple[StoreAdapter, str]:
    name, place = split_location(path, default)
    try:
        return registry.find(StoreAdapter, name), place
    except UnknownAdapterError as error:
        if place == path:
            raise
        # `runs:2` may be the name of a directory.
        adapter = registry.find(StoreAdapter, default)
        if adapter.exists(path):
            return adapter, path
        raise UnknownAdapterError(f"{path}: {error}; for a path with a colon: ./{path}") from None


def is_store(location: str, registry: Registry) -> bool:
    """Return whether a location is a store, rather than a file, a dataset or nothing."""
    try:
        return locate(location, registry).exists
    except UnknownAdapterError:
        return False


def open_sources(problems: ProblemSettings, registry: Registry) -> list[ProblemSource]:
    """Open the sources of a run, in order.

    Raises:
        UsageError: no source is named, or both problems and traces are.
        InputError: no adapter reads one of them.
    """
    adapters = registry.each(SourceAdapter)
    check_options(problems, adapters)
    if problems.traces and problems.sources:
        raise UsageError("give either problems.sources or problems.traces, not both")
    if not problems.traces and not problems.sources:
        raise UsageError(
            "problems.sources: no problems are named; name a file, a data set, or demo"
        )
    sources = []
    for location in problems.traces or problems.sources:
        adapter = next((a for a in adapters if a.claims(location)), None)
        if adapter is None:
            raise InputError(
                f"{location}: no such file, or a folder or a file of a kind that no source reads; "
                "write one JSON object a line, CSV or Parquet "
                f"(sources: {', '.join(a.name for a in adapters)})"
            )
        options = adapter.configure(
            problems.options.get(adapter.name, {}), f"problems.{adapter.name}"
        )
        sources.append(adapter.create(location, problems, options))
    return sources


def check_options(problems: ProblemSettings, adapters: list[SourceAdapter]) -> None:
    """Refuse options that are not settings under a source's name."""
    names = [a.name for a in adapters]
    known = [a.name for a in attrs.fields(ProblemSettings) if a.name != "options"]
    for key, value in problems.options.items():
        if key not in names:
            raise SettingsError(unknown_key(f"problems.{key}", known + names))
        if not isinstance(value, Mapping):
            raise SettingsError(
                f"problems.{key}: expected the settings of source {key!r}, got {value!r}"
            )


def open_stored_traces(problems: ProblemSettings, registry: Registry) -> LatentStore | None:
    """Open the store that `problems.traces` names, if it names one."""
    for location in problems.traces:
        if is_store(location, registry):
            if len(problems.traces) > 1 or problems.sources:
                raise UsageError(f"problems.traces: {location} is a store; give it alone")
            store = open_store(location, "read", registry)
            if store.identity is None:
                store.close()
                raise UsageError(f"{location} holds no records to encode")
            without_ids = next((key for key, entry in store.entries() if not entry.tokens), None)
            if without_ids is not None:
                store.close()
                raise UnsupportedError(
                    f"{location} cannot be encoded again: {without_ids} was imported without token "
                    "ids; extract from the problems or solutions themselves"
                )
            return store
    return None


def locate_world_model(
    location: str | PathLike[str], registry: Registry
) -> tuple[WorldModelAdapter, str]:
    """Return the adapter for a trained world model, and the place that it opens.

    Args:
        location: a run's folder, another location that an adapter knows, or the name of a
            pretrained run.
        registry: finds the adapters.

    Raises:
        ArgumentError: the location is neither a string nor a path.
        InputError: no adapter knows the location.
        UsageError: it names both a pretrained run and a folder here; or its package is missing.
    """
    location = path_text(location, "location")
    pretrained = {one.name: one for one in registry.each(PretrainedRunAdapter)}
    here = _claiming(location, registry)
    if location not in pretrained:
        if here is None:
            raise _no_world_model(location, list(pretrained), registry)
        return here, location
    if here is not None:
        raise UsageError(
            f"{location}: is a pretrained world model and a run here, too; the run is ./{location}"
        )
    place = registry.find(PretrainedRunAdapter, location).location()
    if (adapter := _claiming(place, registry)) is None:
        raise _no_world_model(place, [], registry)
    return adapter, place


def _claiming(location: str, registry: Registry) -> WorldModelAdapter | None:
    return next((a for a in registry.each(WorldModelAdapter) if a.claims(location)), None)


def _no_world_model(location: str, pretrained: list[str], registry: Registry) -> UsageError:
    if location in PRETRAINED:
        package = PRETRAINED[location]
        return UsageError(
            f"{location}: this world model comes with a package of this project that is not "
            f"installed; install {package}"
        )
    names = sorted({*pretrained, *PRETRAINED})
    near = difflib.get_close_matches(location, names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    known = ", ".join(a.name for a in registry.each(WorldModelAdapter)) or "none"
    return InputError(
        f"{location}: there is no trained world model: neither the folder of a run nor "
        f"anything else that {known} can open, nor the name of a pretrained one{hint}"
    )


def open_world_model(
    location: str | PathLike[str], device: str = "auto", registry: Registry | None = None
) -> WorldModel:
    """Open a trained world model.

    Args:
        location: a run's folder, the address of a service (`http://…`), `hf:USER/NAME` on the
            Hugging Face Hub, or the name of a pretrained run.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ….
        registry: finds the adapter.

    Returns:
        A world model, which takes float32 latents [S, D] per trace; to be closed by the caller.

    Raises:
        ArgumentError: the location is neither a string nor a path.
        InputError: no adapter knows the location.
        UsageError: it cannot be opened: no checkpoint is whole, there is no such device, the name
            is ambiguous, or the package that carries the run is missing.
    """
    adapter, place = locate_world_model(location, registry or Registry())
    return adapter.open(place, device)


def find_probe(registry: Registry, device: str) -> MemoryProbe | None:
    """Return a memory probe for the device, if any adapter has one."""
    for adapter in registry.each(ProbeAdapter):
        if adapter.claims(device):
            return adapter.create(device, adapter.configure({}, "probe"))
    return None
