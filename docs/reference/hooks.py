"""Writes `hooks.md` beside it, from the hook specifications: `python docs/reference/hooks.py`."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from rjepa_core import plugins
from rjepa_core.extraction import BatchBackend
from rjepa_core.ports import backend as llm_backend
from rjepa_core.ports import executor, grader, maintenance, world_model
from rjepa_core.ports import probe as memory_probe
from rjepa_core.ports import progress as progress_bars
from rjepa_core.ports import scheduler as batch_scheduler
from rjepa_core.ports import source as problem_source
from rjepa_core.ports import store as latent_store
from rjepa_core.scoring import serving

# Special methods that a port's users call.
SHOWN = ("__len__", "__getitem__", "__contains__", "__iter__")
PAGE = Path(__file__).with_suffix(".md")

# Of each kind of adapter: the port's classes, and the suites that test it.
PORTS: dict[str, tuple[list[type], list[str]]] = {
    "backend": (
        [llm_backend.LLMBackend, llm_backend.Session, BatchBackend],
        ["backend_suite.BackendContract"],
    ),
    "store": (
        [
            latent_store.LatentStore,
            latent_store.Snapshot,
            latent_store.Discards,
            latent_store.KeepsGrades,
            latent_store.HasDigest,
            maintenance.Maintenance,
        ],
        [
            "store_suite.StoreContract",
            "store_suite.GradesContract",
            "store_suite.DigestContract",
            "store_suite.MaintenanceContract",
        ],
    ),
    "scheduler": (
        [batch_scheduler.BatchScheduler, batch_scheduler.Explains],
        ["scheduler_suite.SchedulerContract"],
    ),
    "executor": ([executor.Executor, executor.Watch], ["executor_suite.ExecutorContract"]),
    "source": (
        [problem_source.ProblemSource, problem_source.Fingerprints],
        ["source_suite.SourceContract"],
    ),
    "probe": ([memory_probe.MemoryProbe], ["probe_suite.ProbeContract"]),
    "world_model": ([world_model.WorldModel], ["world_model_suite.WorldModelContract"]),
    # What it names is opened by the adapter of a world model.
    "pretrained_run": ([], ["world_model_suite.PretrainedRunContract"]),
    "grader": ([grader.Grader, grader.Submission], ["grader_suite.GraderContract"]),
    "progress_bar": ([progress_bars.ProgressBar], []),
    # It is handed what it answers with; what it answers to is the service's own.
    "service": ([serving.Served], []),
}

HEAD = """\
<!-- Written by `docs/reference/hooks.py` from the hook specifications; edit those. -->

# Hooks

A plugin is a module behind an entry point:

```toml
[project.entry-points."{group}"]
my-name = "my_package.my_module"
```

In it stand functions marked with `rjepa_core.plugins.hookimpl`, named as below. They take no
argument and return a list of descriptors: a name, a settings class, and functions that are called
late, so that importing the module loads nothing heavy. A module may have several hooks. An adapter
is found fastest where the entry point has its name.

**Version {version}.** The group says which version of the hooks, descriptors and ports a plugin was
made for; version 1 was `rjepa` alone. A plugin that stands in the group
of another version only is refused by name before it is imported, and `rjepa-cli plugins` says so;
one that serves several versions stands in several groups. What is only added (an optional field of
a descriptor, another hook) does not change the version.

Every descriptor has these fields first:

{adapter}

`rjepa_core.testing.plugin_suite.PluginContract` tests that a plugin is installed, loads, and
describes its settings.
"""


def render() -> str:
    """The page."""
    head = HEAD.format(
        group=plugins.GROUP, version=plugins.HOOKS_VERSION, adapter=_fields(plugins.Adapter)
    )
    hooks = [getattr(plugins.Hooks, name) for name in vars(plugins.Hooks) if name[0] != "_"]
    return "\n".join([head, *(_hook(hook) for hook in hooks)])


def _hook(hook: Any) -> str:
    descriptor = plugins.KIND_HOOKS[hook.__name__]
    kind = plugins.KINDS[descriptor]
    ports, suites = PORTS[kind]
    lines = [
        f"## `{hook.__name__}`",
        "",
        inspect.getdoc(hook) or "",
        "",
        "```python",
        "@hookimpl",
        f"def {hook.__name__}() -> Iterable[{descriptor.__name__}]: ...",
        "```",
        "",
        f"`{descriptor.__name__}`, beside the fields of every descriptor:",
        "",
        _fields(descriptor, beside=plugins.Adapter),
        "",
    ]
    if suites:
        named = " and ".join(f"`rjepa_core.testing.{suite}`" for suite in suites)
        lines += [f"Tested by {named}.", ""]
    for port in ports:
        lines += [f"### `{port.__module__}.{port.__name__}`", "", _prose(port), "", *_methods(port)]
    return "\n".join(lines)


def _fields(cls: type, beside: type | None = None) -> str:
    known = {field.name for field in attrs.fields(beside)} if beside else set()
    texts = _described(cls)
    rows = ["| field | type | default | |", "| --- | --- | --- | --- |"]
    for field in attrs.fields(cls):
        if field.name not in known:
            default = "required" if field.default is attrs.NOTHING else f"`{_shown(field.default)}`"
            # A bar would end the cell, and between backticks an escaped one shows the escape.
            kind = f"`{field.type}`"
            if "|" in kind:
                kind = f"<code>{str(field.type).replace('|', '&#124;')}</code>"
            rows.append(f"| `{field.name}` | {kind} | {default} | {texts[field.name]} |")
    return "\n".join(rows)


def _shown(value: Any) -> str:
    return value.__name__ if callable(value) else repr(value)


def _described(cls: type) -> dict[str, str]:
    """What a class says under `Attributes:` of each."""
    section = (inspect.getdoc(cls) or "").partition("Attributes:\n")[2]
    entries = re.split(r"^    (?=\w+: )", section, flags=re.MULTILINE)[1:]
    pairs = (entry.partition(": ") for entry in entries)
    return {name: " ".join(text.split()) for name, _, text in pairs}


def _prose(thing: Any) -> str:
    """A docstring as Markdown: its sections as paragraphs of their own."""
    text = inspect.getdoc(thing) or ""
    return re.sub(
        r"^(Raises|Returns|Args|Attributes):\n((?:    .*\n?)+)", _section, text, flags=re.M
    )


def _section(found: re.Match[str]) -> str:
    lines = textwrap.dedent(" " * 4 + found[2].strip()).splitlines()
    entries: list[str] = []
    for line in lines:
        if entries and (line.startswith(" ") or found[1] == "Returns"):
            entries[-1] += f" {line.strip()}"
        else:
            entries.append(line)
    return f"{found[1]}:\n\n" + "\n".join(f"- {entry}" for entry in entries)


def _methods(port: type) -> Iterator[str]:
    for owner in reversed(port.__mro__):
        if owner.__module__.startswith("rjepa_core"):
            for name, member in vars(owner).items():
                function = member.fget if isinstance(member, property) else member
                if (name.startswith("_") and name not in SHOWN) or not inspect.isfunction(function):
                    continue
                signature = re.sub(r"'|\bself(?:, )?", "", str(inspect.signature(function)))
                shown = signature.partition(" -> ")[2] if isinstance(member, property) else ""
                yield f"- `{name}: {shown}`" if shown else f"- `{name}{signature}`"
                if text := _prose(function):
                    yield "\n".join(f"  {line}".rstrip() for line in ["", *text.splitlines(), ""])
    yield ""


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
