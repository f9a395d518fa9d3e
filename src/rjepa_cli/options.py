"""Flags derived from settings classes, which hold their types, defaults and help texts."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
import click

from rjepa_core.plugins import (
    BackendAdapter,
    ExecutorAdapter,
    GraderAdapter,
    SchedulerAdapter,
)
from rjepa_core.settings import (
    AdapterSettings,
    EncodingSettings,
    ExtractionSettings,
    ModelSettings,
    ProblemSettings,
    PromptSettings,
    RunSettings,
    SamplingSettings,
    StepSettings,
    StoreSettings,
)

from . import completion

# What a shell completes for a setting, by its full key or by the last part of it.
_COMPLETED: Mapping[str, completion.Completer] = {
    "store.path": completion.stores,
    "stores": completion.stores,
    "store": completion.stores,
    "world_model": completion.runs,
    "world_models": completion.runs,
    "model.name": completion.models,
    "backend.name": completion.adapters(BackendAdapter),
    "scheduler.name": completion.adapters(SchedulerAdapter),
    "executor.name": completion.adapters(ExecutorAdapter),
    "grader.name": completion.adapters(GraderAdapter),
    "problems.sources": completion.problems,
    "problems.traces": completion.traces,
    "labelled": completion.files,
    "token_file": completion.files,
    "prompt.thinking": completion.choices(("on", "off")),
    "device": completion.choices(("auto", "cpu", "cuda")),
}


@attrs.frozen
class Flag:
    """A flag and the setting that it sets.

    Attributes:
        name: `--top-p`.
        key: full key of the setting, `sampling.top_p`.
        cls: the settings class that the key's last part belongs to.
        on: whether the flag takes no value and means true.
        metavar: what help shows for the value; derived from the type by default.
        extra: appended to the setting's description.
        commas: whether a repeatable flag also takes several values separated by commas.
        among: the values there are, where the settings class does not say them.
    """

    name: str
    key: str
    cls: type[Any]
    on: bool = False
    metavar: str | None = None
    extra: str = ""
    commas: bool = False
    among: Iterable[str] = ()

    @property
    def parameter(self) -> str:
        """Name of the parameter in click."""
        return self.name.removeprefix("--").replace("-", "_")

    @property
    def field(self) -> attrs.Attribute[Any]:
        """The attribute of the settings class."""
        return getattr(attrs.fields(self.cls), self.key.rpartition(".")[2])

    def option(self) -> click.Option:
        """Return the click option. Values stay text; the settings class checks them."""
        hint = get_type_hints(self.cls)[self.field.name]
        text = describe(self.cls).get(self.field.name, "")
        text = ". ".join(part for part in (text[:1].upper() + text[1:], self.extra) if part)
        default = default_text(self.field)
        if default not in ("", "false") and not self.on:
            text = f"{text}  [default: {default}]"
        if self.on:
            return click.Option([self.name], is_flag=True, default=None, help=text)
        if hint is bool and self.metavar is None:
            off = self.name.replace("--", "--no-", 1)
            return click.Option([f"{self.name}/{off}"], is_flag=True, default=None, help=text)
        return click.Option(
            [self.name],
            metavar=self.metavar or _metavar(hint, self.field),
            multiple=is_list(hint),
            default=None,
            help=text,
            shell_complete=self._completer(hint),
        )

    def _completer(self, hint: Any) -> completion.Completer | None:
        known = tuple(self.among) or choices_of(hint, self.field)
        if known:
            return completion.choices(known, self.commas)
        return _COMPLETED.get(self.key) or _COMPLETED.get(self.field.name)


def flags_of(sections: Iterable[tuple[str, type[Any]]], taken: Iterable[str]) -> list[Flag]:
    """Return flags for adapters' own settings, given as (section, settings class).

    A name that is taken, or shared by two adapters, gets its section in front
    (`--scheduler-window`); settings whose name still clashes are left to `--set`.
    """
    sections = list(sections)
    used = set(taken)
    wanted = [
        (section, cls, field, f"--{field.name.replace('_', '-')}")
        for section, cls in sections
        for field in attrs.fields(cls)
        if field.init and _is_simple(get_type_hints(cls)[field.name])
    ]
    names = [name for *_, name in wanted]
    flags = []
    for section, cls, field, name in wanted:
        if name in used or names.count(name) > 1:
            name = f"--{section}-{name.removeprefix('--')}"
        if name not in used:
            used.add(name)
            flags.append(Flag(name, f"{section}.{field.name}", cls))
    return flags


_ENTRY = re.compile(r"^(\w+(?:, \w+)*): (.*)$")


def describe(cls: type[Any]) -> Mapping[str, str]:
    """Return each attribute's description, from `Attributes:` in the class's docstring."""
    texts: dict[str, str] = {}
    current: tuple[str, ...] = ()
    for line in _attribute_lines(cls.__doc__ or ""):
        if match := _ENTRY.match(line):
            current = tuple(match[1].split(", "))
            texts.update(dict.fromkeys(current, match[2]))
        else:
            texts.update({name: f"{texts[name]} {line}" for name in current})
    return {name: text.rstrip(".") for name, text in texts.items()}


def type_text(hint: Any, field: attrs.Attribute[Any]) -> str:
    """Return a setting's type in words, or its choices."""
    choices = choices_of(hint, field)
    if choices:
        return " | ".join(choices)
    names = {int: "whole number", float: "number", str: "text", bool: "true | false"}
    if get_origin(hint) in (Union, types.UnionType):
        inner = [a for a in get_args(hint) if a is not type(None)]
        none = " or none" if len(inner) < len(get_args(hint)) else ""
        return " | ".join(type_text(a, field) for a in inner) + none
    if is_list(hint):
        inner = get_args(hint)[0]
        return f"list of {names.get(getattr(inner, '__supertype__', inner), 'value')}s"
    if get_origin(hint) is not None:
        return "keys and values"
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def choices_of(hint: Any, field: attrs.Attribute[Any]) -> tuple[str, ...]:
    """Return the allowed values, if they are listed."""
    if get_origin(hint) is Literal:
        return tuple(str(a) for a in get_args(hint))
    # That of a setting which may be left open stands inside another validator.
    validator = getattr(field.validator, "validator", field.validator)
    options = getattr(validator, "options", None)
    if isinstance(options, list | tuple | set | frozenset):
        return tuple(str(o) for o in options)
    return ()


def default_text(field: attrs.Attribute[Any]) -> str:
    """Return a setting's default as the user would write it; empty if there is none."""
    default: Any = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return ""
    if default is attrs.NOTHING or default is None:
        return ""
    if isinstance(default, tuple | list):
        return ",".join(str(v) for v in default)
    return str(default).lower() if isinstance(default, bool) else str(default)


def is_list(hint: Any) -> bool:
    """Return whether a setting takes several values."""
    return get_origin(hint) in (tuple, list)


def _is_simple(hint: Any) -> bool:
    """Return whether a flag can set it; mappings and nested classes are left to `--set`."""
    if get_origin(hint) in (Union, types.UnionType):
        return all(_is_simple(a) for a in get_args(hint))
    if get_origin(hint) is Literal or is_list(hint):
        return True
    return hint in (int, float, str, bool, type(None))


def _metavar(hint: Any, field: attrs.Attribute[Any]) -> str:
    choices = choices_of(hint, field)
    if choices:
        return f"[{'|'.join(choices)}]"
    inner = [a for a in get_args(hint) if a is not type(None)] or [hint]
    return {int: "N", float: "X"}.get(inner[0], "TEXT")


def _attribute_lines(doc: str) -> Iterator[str]:
    inside, indent = False, 0
    for line in doc.expandtabs().splitlines():
        stripped = line.strip()
        if stripped == "Attributes:":
            inside, indent = True, len(line) - len(line.lstrip())
        elif inside and stripped:
            if len(line) - len(line.lstrip()) <= indent:
                return
            yield stripped


# Defaults are those of the settings classes.
_PLAIN = ExtractionSettings(model=ModelSettings(name="-"), store=StoreSettings(path="-"))
DEFAULTS = {
    "backend": _PLAIN.backend.name,
    "scheduler": _PLAIN.scheduler.name,
    "executor": _PLAIN.executor.name,
    "store": _PLAIN.store.name,
}
FLAGS = (
    Flag(
        "--problems",
        "problems.sources",
        ProblemSettings,
        metavar="FILE",
        extra="JSON Lines (.gz too), CSV, Parquet, a Hugging Face dataset, or demo; repeatable",
    ),
    Flag("--traces", "problems.traces", ProblemSettings, metavar="PATH", extra="Repeatable"),
    Flag("--domain", "problems.domain", ProblemSettings, metavar="NAME"),
    Flag("--keep-notes", "problems.keep_notes", ProblemSettings, on=True),
    Flag("--limit", "problems.limit", ProblemSettings),
    Flag("--shard", "problems.shard", ProblemSettings, metavar="I/N"),
    Flag("--samples", "problems.samples", ProblemSettings),
    Flag("--model", "model.name", ModelSettings, metavar="NAME"),
    Flag("--device", "model.device", ModelSettings),
    Flag("--dtype", "model.dtype", ModelSettings),
    Flag("--thinking", "prompt.thinking", PromptSettings, metavar="[on|off]"),
    Flag("--system", "prompt.system", PromptSettings),
    Flag("--max-new-tokens", "sampling.max_new_tokens", SamplingSettings),
    Flag("--temperature", "sampling.temperature", SamplingSettings),
    Flag("--top-p", "sampling.top_p", SamplingSettings),
    Flag("--top-k", "sampling.top_k", SamplingSettings),
    Flag("--seed", "sampling.seed", SamplingSettings),
    Flag("--stop", "sampling.stop", SamplingSettings, metavar="TEXT", extra="Repeatable"),
    Flag("--steps", "steps.strategy", StepSettings),
    Flag("--thinking-steps", "steps.thinking", StepSettings),
    Flag("--layer", "encoding.layers", EncodingSettings, metavar="N", extra="Repeatable"),
    Flag("--pooling", "encoding.pooling", EncodingSettings),
    Flag("--logprobs", "encoding.logprobs", EncodingSettings, on=True),
    Flag("--store-dtype", "encoding.store_dtype", EncodingSettings),
    Flag("--store", "store.path", StoreSettings, metavar="[NAME:]PLACE"),
    Flag(
        "--backend",
        "backend.name",
        AdapterSettings,
        metavar="NAME",
        extra=f"[default: {DEFAULTS['backend']}]",
    ),
    Flag(
        "--scheduler",
        "scheduler.name",
        AdapterSettings,
        metavar="NAME",
        extra=f"[default: {DEFAULTS['scheduler']}]",
    ),
    Flag(
        "--executor",
        "executor.name",
        AdapterSettings,
        metavar="NAME",
        extra=f"[default: {DEFAULTS['executor']}]",
    ),
    Flag("--resume", "run.resume", RunSettings, on=True),
    Flag("--retry-failed", "run.retry_failed", RunSettings, on=True),
    Flag("--allow-failures", "run.allow_failures", RunSettings, metavar="1%"),
    Flag("--max-hours", "run.max_hours", RunSettings),
    Flag("--force", "run.force", RunSettings, on=True),
)
GROUPS = {
    "problems": "Problems",
    "model": "Model",
    "prompt": "Prompt",
    "sampling": "Sampling",
    "steps": "Steps",
    "encoding": "Vectors",
    "run": "Run",
}
