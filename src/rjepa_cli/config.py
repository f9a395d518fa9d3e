"""Merge settings from a YAML file, `--set` and flags, and remember where each value came from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import attrs
import click
import yaml
from click.core import ParameterSource

from rjepa_core.config import as_section
from rjepa_core.errors import SettingsError
from rjepa_core.text import count, visible

from . import completion
from .options import Flag
from .wording import wording

Tree = dict[str, Any]
# Full key, where it was given (such as a flag), and value.
Given = tuple[str, str, Any]
# Far more than any settings need.
_LONGEST, _MOST_KEYS = 2**20, 10_000


@attrs.define
class Layers:
    """Plain settings, merged layer by layer.

    Attributes:
        root: the settings class whose sections they are.
        tree: the values so far, as `structure` takes them.
        origins: where the value of a full key came from (`run.yaml, line 3`; `--set`; `--dtype`).
    """

    root: type[Any]
    tree: Tree = attrs.field(factory=dict)
    origins: dict[str, str] = attrs.field(factory=dict)

    def add_file(self, path: str) -> None:
        """Merge a YAML file over the values so far."""
        values, lines = read_yaml(path)
        hints = get_type_hints(self.root)
        for key in list(values):
            if key in hints and attrs.has(hints[key]):
                values[key] = as_section(hints[key], values[key])
        _merge(self.tree, values)
        self.origins.update({key: f"{path}, line {line}" for key, line in lines.items()})

    def add_given(self, settings: Iterable[str], flags: Iterable[Given]) -> None:
        """Merge `--set KEY=VALUE` and flags (key, flag, value) over the values so far.

        Raises:
            SettingsError: an assignment is malformed, or a key is given two values.
        """
        given: dict[str, tuple[str, Any]] = {}
        items = [(key, "--set", value) for key, value in map(parse_assignment, settings)]
        for key, origin, value in [*((self._full_key(k), o, v) for k, o, v in items), *flags]:
            if key in given and _text(given[key][1]) != _text(value):
                raise SettingsError(
                    f"{key}: {given[key][0]} says {_text(given[key][1])} and {origin} says "
                    f"{_text(value)}; give one"
                )
            given[key] = (origin, value)
        for key, (origin, value) in given.items():
            self._put(key, value)
            self.origins[key] = origin

    def _full_key(self, key: str) -> str:
        """Expand a section's key: `--set backend=seeded` means `--set backend.name=seeded`."""
        hint = get_type_hints(self.root).get(key)
        if hint is not None and attrs.has(hint):
            section = as_section(hint, "")
            if isinstance(section, Mapping) and section:
                return f"{key}.{next(iter(section))}"
        return key

    def _put(self, key: str, value: Any) -> None:
        *parents, last = key.split(".")
        node = self.tree
        for i, part in enumerate(parents):
            child = node.setdefault(part, {})
            if not isinstance(child, dict):
                above = ".".join(parents[: i + 1])
                raise SettingsError(f"{key}: {above} is {child!r}, which has no keys")
            node = child
        node[last] = value


def parse_assignment(text: str) -> tuple[str, Any]:
    """Parse `KEY=VALUE`; a value in brackets or braces is read as YAML, any other as text."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key or any(not part for part in key.split(".")):
        raise SettingsError(f"--set {text!r}: write it as KEY=VALUE, for example run.max_hours=2")
    if value.lstrip()[:1] in ("[", "{"):
        try:
            return key, yaml.safe_load(value)
        except yaml.YAMLError:
            raise SettingsError(f"--set {text!r}: the value is not valid YAML") from None
    return key, value


def read_yaml(path: str) -> tuple[Tree, dict[str, int]]:
    """Return a YAML file's values, and the line of every full key.

    Raises:
        SettingsError: the file is invalid; the message names file and line.
    """
    text = read_text(path, "--config")
    if len(text) > _LONGEST:
        raise SettingsError(
            f"--config {path}: holds no settings, but {count(len(text), 'character')}"
        )
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        values = loader.construct_document(node) if node is not None else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}, line {mark.line + 1}" if mark is not None else path
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SettingsError(f"{place}: not valid YAML: {problem}") from None
    except RecursionError:
        raise SettingsError(f"{path}: too deeply nested") from None
    if values is None:
        raise SettingsError(f"{path}: holds no settings")
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: expected sections with keys, got {values!r:.60}")
    lines: dict[str, int] = {}
    for key, line in _lines(node, ""):
        if len(lines) > _MOST_KEYS:
            # An alias of an alias of …, or of itself.
            raise SettingsError(f"{path}: more than {_MOST_KEYS:,} keys")
        if key in lines:
            raise SettingsError(f"{path}, line {line}: {key} is already on line {lines[key]}")
        lines[key] = line
    return values, lines


def to_yaml(tree: Mapping[str, Any]) -> str:
    """Return settings as YAML, with texts of several lines as blocks."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=is_visible(tree))


def is_visible(value: Any) -> bool:
    """Return whether a value in YAML contains nothing that a terminal would interpret."""
    text = yaml.safe_dump(value, allow_unicode=True)
    return visible(text, keep="\n") == text


class _Dumper(yaml.SafeDumper):
    pass


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


_Dumper.add_representer(str, _represent_text)


def read_text(path: str, flag: str) -> str:
    """Return the content of a text file named on the command line.

    Raises:
        SettingsError: missing, a directory, unreadable, or not UTF-8.
    """
    try:
        return Path(path).read_text("utf-8-sig")
    except FileNotFoundError:
        raise SettingsError(f"{flag} {path}: no such file") from None
    except IsADirectoryError:
        raise SettingsError(f"{flag} {path}: is a directory, not a file") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{flag} {path}: not a text file in UTF-8") from None
    except OSError as error:
        raise SettingsError(f"{flag} {path}: {error.strerror}") from None


def _lines(node: yaml.Node | None, where: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            path = f"{where}.{key.value}" if where else str(key.value)
            yield path, key.start_mark.line + 1
            yield from _lines(value, path)


def _merge(into: Tree, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(str(v) for v in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


FIELD = click.Option(
    ["--field"],
    multiple=True,
    metavar="OURS=THEIRS",
    help="Which of the source's fields holds ours: statement=question; "
    "statement=Body+Question joins two; id= for none. Repeatable",
)
JSON = click.Option(["--json"], is_flag=True, help="Print one JSON object instead of text")
PRINT_CONFIG = click.Option(
    ["--print-config"], is_flag=True, help="Print the settings as YAML and exit"
)
DEBUG = click.Option(["--debug"], is_flag=True, expose_value=False, help="Show tracebacks")
# Flags that set entries of a mapping rather than a setting.
_ENTRIES = {"problems.fields": "--field", "prompt.templates": "--prompt-template"}


def config_options(example: str) -> tuple[click.Option, click.Option]:
    """Return `--config` and `--set`, with an example of what to set."""
    return (
        click.Option(
            ["--config"],
            metavar="FILE",
            help="YAML file of settings; --set and flags override it",
            shell_complete=completion.files,
        ),
        click.Option(["--set"], multiple=True, metavar="KEY=VALUE", help=f"{example}. Repeatable"),
    )


CONFIG_OPTIONS = (*config_options("Any setting, an adapter's too: model.dtype=float32"), DEBUG)


def gather(
    ctx: click.Context,
    root: type[Any],
    flags: Iterable[Flag],
    given: Iterable[Given] = (),
    *,
    defaults: Tree | None = None,
    config: str | None = None,
) -> Tree:
    """Return all settings that were given: a file over defaults, `--set` and flags over the file.

    From then on, messages name the command's flags and where values came from.

    Args:
        ctx: holds the values of the options.
        root: the settings class whose sections they are.
        flags: of the command.
        given: other values that the command was given (key, where, value).
        defaults: of the command, where they differ from the settings class's.
        config: a YAML file to read unless `--config` names one.

    Raises:
        SettingsError: a file cannot be read, an option is malformed, or a key has two values.
    """
    flags, more, params = list(flags), list(given), ctx.params
    layers = Layers(root, {} if defaults is None else defaults)
    if config := params.get("config") or config:
        layers.add_file(config)
    values: list[Given] = []
    for flag in flags:
        if ctx.get_parameter_source(flag.parameter) is ParameterSource.COMMANDLINE:
            value = params[flag.parameter]
            if isinstance(value, tuple):
                value = ",".join(value) if flag.commas else list(value)
            values.append((flag.key, flag.name, value))
    for ours, theirs in field_pairs(params.get("field", ())):
        values.append((f"problems.fields.{ours}", "--field", theirs))
    for domain, where, text in template_files(params.get("prompt_template", ())):
        values.append((f"prompt.templates.{domain}", where, text))
    layers.add_given(params["set"], [*values, *more])
    named = {key: flag for key, flag in _ENTRIES.items() if _has(ctx, flag)}
    named |= {key: origin for key, origin, _ in more}
    named |= {flag.key: flag.name for flag in flags}
    if any(flag.name == "--batch-size" for flag in flags):
        # The advice for running out of memory does not know which flag sets the size.
        named["a smaller batch size"] = "--batch-size"
    wording(ctx).learn(named, layers.origins)
    return layers.tree


def _has(ctx: click.Context, flag: str) -> bool:
    return any(flag in option.opts for option in ctx.command.params)


def field_pairs(pairs: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield our field's name and the source's for each `OURS=THEIRS`; `OURS=` drops the field."""
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not equals or not re.fullmatch(r"\w+", ours):
            raise SettingsError(
                f"--field {pair!r}: write it as OURS=THEIRS, for example statement=question"
            )
        yield ours, theirs


def template_files(values: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Yield domain, origin and text for each `[DOMAIN=]FILE`."""
    for value in values:
        domain, equals, file = value.partition("=")
        if not equals or not re.fullmatch(r"[\w-]+", domain) or Path(value).exists():
            domain, file = "default", value
        text = read_text(file, "--prompt-template").rstrip("\n")
        yield domain, f"--prompt-template {file}", text
