"""Shows attrs classes in the API reference as they are called: an extension for Griffe.

Griffe reads the source and knows dataclasses only. Here a class decorated by attrs gets the
`__init__` that attrs makes of its fields; each name of `a, b: text` in a docstring gets a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import griffe

DECORATORS = {"attrs.frozen", "attrs.define", "attrs.mutable"}
_SEVERAL = re.compile(r"^( {4})(\w+(?:, \w+)+): (.*(?:\n {6,}.*)*)", re.MULTILINE)


class AttrsClasses(griffe.Extension):
    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        for found in _objects(pkg):
            if found.docstring:
                found.docstring.value = _SEVERAL.sub(_one_each, found.docstring.value)
            if isinstance(found, griffe.Class) and "__init__" not in found.members:
                _add_init(found)


def _objects(parent: griffe.Object) -> Iterator[griffe.Object]:
    yield parent
    for member in list(parent.members.values()):
        if isinstance(member, griffe.Object):
            yield from _objects(member)


def _one_each(several: re.Match[str]) -> str:
    indent, names, text = several.groups()
    return "\n".join(f"{indent}{name}: {text}" for name in names.split(", "))


def _arguments(value: Any) -> dict[str, Any]:
    if not isinstance(value, griffe.ExprCall):
        return {}
    return {a.name: a.value for a in value.arguments if isinstance(a, griffe.ExprKeyword)}


def _decorated(found: griffe.Class) -> dict[str, Any] | None:
    """Return the arguments of a class's attrs decorator; None if it has none."""
    for decorator in found.decorators:
        if decorator.callable_path in DECORATORS:
            return _arguments(decorator.value)
    return None


def _add_init(found: griffe.Class) -> None:
    if _decorated(found) is None:
        return
    try:
        parents = [base for base in reversed(found.mro()) if _decorated(base) is not None]
    except ValueError:
        parents = []
    parameters = {p.name: p for one in [*parents, found] for p in _parameters(one)}
    first = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
    ordered = sorted(parameters.values(), key=lambda p: p.kind is griffe.ParameterKind.keyword_only)
    init = griffe.Function(
        "__init__", parent=found, parameters=griffe.Parameters(first, *ordered), returns="None"
    )
    found.set_member("__init__", init)


def _parameters(found: griffe.Class) -> Iterator[griffe.Parameter]:
    keyword_only = str((_decorated(found) or {}).get("kw_only")) == "True"
    for field in found.attributes.values():
        if field.is_alias or field.annotation is None or "property" in field.labels:
            continue
        if isinstance(field.value, griffe.ExprCall) and "field" in str(field.value.function):
            said = _arguments(field.value)
            default = said.get("default")
            if "factory" in said:
                default = griffe.ExprCall(said["factory"], [])
        else:
            said, default = {}, field.value
        if str(said.get("init")) == "False" or "ClassVar" in str(field.annotation):
            continue
        keyword = keyword_only or str(said.get("kw_only")) == "True"
        yield griffe.Parameter(
            field.name.lstrip("_"),
            annotation=field.annotation,
            kind=griffe.ParameterKind.keyword_only
            if keyword
            else griffe.ParameterKind.positional_or_keyword,
            default=default,
        )
