"""Shows attrs classes in the API reference as they are called: an extension for Griffe.

Griffe reads the source and knows dataclasses only. Here a class decorated by attrs gets the
`__init__` that attrs makes of its fields; each name of `a, b: text` in a docstring gets a line, and
each error that a docstring names a link. Defaults are shown as values.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any

import griffe

DECORATORS = {"attrs.frozen", "attrs.define", "attrs.mutable"}
FIELDS = {"field", "later"}
ERRORS = "rjepa_core.errors"
_SEVERAL = re.compile(r"^( *)(\w+(?:, \w+)+): (.*(?:\n\1 {2,}.*)*)", re.MULTILINE)
_RAISES = re.compile(r"^( *)Raises:\n((?:\1 +.*\n?|\n)+)", re.MULTILINE)
_RETURNS = re.compile(r"^( *Returns:\n +)(?=\S)", re.MULTILINE)
# What a reader cannot look up: a function without a name, a private name.
_INTERNAL = re.compile(r"\blambda\b|\b_[A-Za-z]|^__")
_SHORT = 72


class AttrsClasses(griffe.Extension):
    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        for found in list(_objects(pkg)):
            if found.docstring:
                found.docstring.value = _SEVERAL.sub(_one_each, found.docstring.value)
                _link_errors(found)
            if isinstance(found, griffe.Class) and "__init__" not in found.members:
                _add_init(found)
            if isinstance(found, griffe.Function):
                _name_returned(found)
                for parameter in found.parameters:
                    parameter.default = _shown(parameter.default, found)
        for found in list(_objects(pkg)):
            _show_functions(found)


def _objects(parent: griffe.Object) -> Iterator[griffe.Object]:
    yield parent
    for member in list(parent.members.values()):
        if isinstance(member, griffe.Object):
            yield from _objects(member)


def _one_each(several: re.Match[str]) -> str:
    indent, names, text = several.groups()
    return "\n".join(f"{indent}{name}: {text}" for name in names.split(", "))


def _link_errors(found: griffe.Object) -> None:
    """Let the errors that a docstring raises be found, imported by its module or not."""
    module = found.module
    for section in _RAISES.finditer(found.docstring.value if found.docstring else ""):
        for name in re.findall(r"^ *(\w+Error): ", section[2], re.MULTILINE):
            if hasattr(importlib.import_module(ERRORS), name) and name not in module.members:
                alias = griffe.Alias(name, f"{ERRORS}.{name}", parent=module, runtime=False)
                module.imports[name] = alias.target_path
                module.set_member(name, alias)


def _name_returned(found: griffe.Function) -> None:
    """Put the type before what is said of it: the first colon of a sentence is no end of a type."""
    if found.docstring and found.returns is not None:
        found.docstring.value = _RETURNS.sub(
            lambda it: f"{it[1]}{found.returns}: ", found.docstring.value
        )


def _show_functions(found: griffe.Object) -> None:
    """Let a name that a package takes from a module of the same name be the function."""
    for name, member in list(found.members.items()):
        if isinstance(member, griffe.Alias) and member.target_path.rpartition(".")[2] == name:
            try:
                target = member.final_target
            except griffe.GriffeError:
                continue
            if isinstance(target, griffe.Module) and name in target.members:
                found.set_member(name, griffe.Alias(name, f"{target.path}.{name}", parent=found))


def _shown(default: Any, where: griffe.Object) -> Any:
    """Return a default as a value, or `…` where it is an internal of the code."""
    if default is None or not _INTERNAL.search(str(default)):
        return default
    try:
        value = eval(str(default), vars(importlib.import_module(where.module.path)))
    except (ImportError, NameError, AttributeError, SyntaxError, TypeError):
        # It names what stands inside a function or a class: an internal.
        return "…"
    text = repr(value)
    return "…" if " at 0x" in text or len(text) > _SHORT else text


def _arguments(value: Any) -> dict[str, Any]:
    if not isinstance(value, griffe.ExprCall):
        return {}
    named = {a.name: a.value for a in value.arguments if isinstance(a, griffe.ExprKeyword)}
    first = [a for a in value.arguments if not isinstance(a, griffe.ExprKeyword)][:1]
    return {"default": first[0], **named} if first else named


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
        call = field.value if isinstance(field.value, griffe.ExprCall) else None
        if call and str(call.function).rpartition(".")[2] in FIELDS:
            said = _arguments(call)
            # `later()` is a field that is None where it is not known.
            default = said.get("default", "None" if str(call.function) == "later" else None)
            if "factory" in said:
                factory = str(said["factory"])
                default = f"({factory})()" if "lambda" in factory else f"{factory}()"
        else:
            said, default = {}, field.value
        # Of a class alone: a ClassVar, which Griffe has taken off the annotation.
        if str(said.get("init")) == "False" or "instance-attribute" not in field.labels:
            continue
        keyword = keyword_only or str(said.get("kw_only")) == "True"
        yield griffe.Parameter(
            field.name.lstrip("_"),
            annotation=field.annotation,
            kind=griffe.ParameterKind.keyword_only
            if keyword
            else griffe.ParameterKind.positional_or_keyword,
            default=_shown(default, found),
        )
