"""From plain values to the settings of an extraction, the adapters' own checked with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import SettingsError
from .opening import find_store
from .plugins import Adapter, BackendAdapter, ExecutorAdapter, Registry, SchedulerAdapter
from .prompts import DEFAULT_TEMPLATES
from .settings import ExtractionSettings, PromptSettings
from .structuring import as_section, structure, unstructure

_NAMED: tuple[tuple[str, type[Adapter]], ...] = (
    ("backend", BackendAdapter),
    ("scheduler", SchedulerAdapter),
    ("executor", ExecutorAdapter),
)


def resolve_extraction(
    values: Mapping[str, Any], registry: Registry | None = None
) -> tuple[ExtractionSettings, dict[str, Any]]:
    """The settings of an extraction, and the same as plain values with the adapters' own written
    out.

    Templates that are given stand beside the usual ones.

    Args:
        values: sections and keys, as YAML or JSON has them; `structure` tells what they may be.
        registry: finds the adapters.

    Raises:
        UsageError: a setting is wrong, and the message names its full key; there is no such
            adapter.
    """
    registry = registry or Registry()
    settings = structure(ExtractionSettings, _with_usual_templates(values))
    if settings.problems.traces and settings.problems.samples > 1:
        raise SettingsError(
            "problems.samples: --traces encodes each solution given once; leave it out"
        )
    plain = unstructure(settings)
    adapters = {
        section: registry.find(kind, getattr(settings, section).name) for section, kind in _NAMED
    }
    for section, adapter in (*adapters.items(), ("store", find_store(settings.store, registry)[0])):
        own = adapter.configure(getattr(settings, section).options, section)
        plain[section].update(unstructure(own))
    return settings, plain


def _with_usual_templates(values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    prompt = as_section(PromptSettings, values.get("prompt"))
    given = prompt.get("templates", {}) if isinstance(prompt, Mapping) else None
    if not isinstance(prompt, Mapping) or not isinstance(given, Mapping):
        # `structure` says what is wrong with it.
        return values
    return {**values, "prompt": {**prompt, "templates": {**DEFAULT_TEMPLATES, **given}}}
