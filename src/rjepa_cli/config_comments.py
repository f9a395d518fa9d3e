"""Settings as YAML with comments, taken from the docstrings of the settings classes."""

from __future__ import annotations

import textwrap
from itertools import groupby
from typing import Any, get_type_hints

import attrs
import yaml

from rjepa_core.config import unstructure

from .config import is_visible
from .options import choices_of, describe

_WIDTH = 96


def commented(settings: Any) -> str:
    """Return all sections of a settings object as YAML, with a comment for each key.

    Reading the YAML gives an equal object.
    """
    hints = get_type_hints(type(settings))
    plain = unstructure(settings)
    parts = []
    for section in attrs.fields(type(settings)):
        cls = hints[section.name]
        title = (cls.__doc__ or "").strip().splitlines()[0]
        lines = [*_comment(title, ""), f"{section.name}:", *_keys(cls, plain[section.name])]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _keys(cls: type[Any], values: dict[str, Any]) -> list[str]:
    hints, texts = get_type_hints(cls), describe(cls)
    lines: list[str] = []
    for text, group in groupby(attrs.fields(cls), lambda field: texts.get(field.name, "")):
        fields = list(group)
        choices = choices_of(hints[fields[0].name], fields[0])
        if choices and not all(choice in text for choice in choices):
            text = f"{text} ({', '.join(choices)})"
        keys = [f"  {field.name}: {_value(values[field.name])}" for field in fields]
        beside = f"{keys[0]}  # {text}"
        if len(keys) == 1 and len(beside) <= _WIDTH:
            lines.append(beside)
        else:
            names = f"{', '.join(field.name for field in fields)}: " if len(fields) > 1 else ""
            lines += [*_comment(names + text, "  "), *keys]
    return lines


def _comment(text: str, indent: str) -> list[str]:
    mark = f"{indent}# "
    return textwrap.wrap(
        text, _WIDTH, initial_indent=mark, subsequent_indent=mark, break_on_hyphens=False
    )


def _value(value: Any) -> str:
    text = yaml.safe_dump(
        value,
        default_flow_style=True,
        allow_unicode=is_visible(value),
        width=10**6,
        sort_keys=False,
    )
    return text.removesuffix("\n").removesuffix("\n...")
