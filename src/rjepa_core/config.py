"""Turn plain mappings (YAML, an adapter's options) into settings classes, and back.

Messages name the full key of a mistake and suggest the nearest valid one.
"""

from __future__ import annotations

import collections.abc
import difflib
import enum
import functools
import re
import types
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import date
from typing import (
    Any,
    Literal,
    NewType,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import attrs

from .errors import ArgumentError, SettingsError

T = TypeVar("T")
# Text that is taken literally: commas and white space are part of it.
Verbatim = NewType("Verbatim", str)
# The type stubs of attrs declare it as a function.
_FACTORY: type[Any] = attrs.Factory  # type: ignore[assignment]


def structure(cls: type[T], data: Mapping[str, Any], where: str = "") -> T:
    """Return an instance of a settings class built from a mapping.

    A class with a field `options` takes unknown keys as options, to be checked against the
    adapter's own class later. Text is accepted for numbers, booleans and (comma-separated) lists,
    as it comes from a command line; `1%` is the number 0.01.

    Raises:
        SettingsError: unknown or missing key, wrong type, or a value out of range.
    """
    if not isinstance(data, Mapping):
        raise SettingsError(f"{where or cls.__name__}: expected a section with keys, got {data!r}")
    instance = cls.__new__(cls)
    _fill(instance, _UNCHECKED.get(cls, cls.__init__), data, where, _convert)
    return instance


def checked(section: str = "") -> Callable[[type[T]], type[T]]:
    """Return a class decorator: a settings class that converts and refuses arguments as `structure`
    does, with the same messages.

    What text stands for is not guessed, as it is for a command line: it is no number, and a text
    alone is one item of a list, commas included.

    Args:
        section: put in front of the settings' names in messages.
    """

    def decorate(cls: type[T]) -> type[T]:
        plain = _UNCHECKED[cls] = cls.__init__

        @functools.wraps(plain)
        def init(self: Any, *unnamed: Any, **given: Any) -> None:
            if unnamed:
                first = attrs.fields(cls)[0].name  # type: ignore[arg-type]
                raise SettingsError(
                    f"{section or cls.__name__}: settings are given by name: "
                    f"{cls.__name__}({first}={unnamed[0]!r:.40})"
                )
            _fill(self, plain, given, section, _convert_argument)

        cls.__init__ = init  # type: ignore[method-assign]
        return cls

    return decorate


# What `checked` put its own in place of.
_UNCHECKED: dict[type[Any], Callable[..., None]] = {}
_Convert = Callable[[Any, Any, str], Any]


def settings_of(cls: type[T], given: T | Mapping[str, Any], name: str = "settings") -> T:
    """Return settings that a function was given, as an instance or as sections and keys.

    Raises:
        ArgumentError: they are neither.
        SettingsError: as `structure`.
    """
    if isinstance(given, cls):
        return given
    if not isinstance(given, Mapping):
        raise ArgumentError(
            f"{name}: got {given!r:.80}, expected {cls.__name__}, or its keys and values"
        )
    return structure(cls, given)


def _fill(
    instance: Any, init: Callable[..., None], data: Mapping[str, Any], where: str, convert: _Convert
) -> None:
    """Initialise an instance of a settings class with values that were converted."""
    cls = type(instance)
    # Defaults of one section may depend on another.
    data = getattr(cls, "with_defaults", lambda given: given)(data)
    hints = _hints(cls)  # type: ignore[arg-type]
    fields = [a for a in attrs.fields(cls) if a.init]
    known = [a.name for a in fields]
    defaults = {a.name: a.default for a in fields}
    values: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for key, value in data.items():
        path = _join(where, str(key))
        if key == "options" and "options" in known:
            options.update(convert(hints[key], value or {}, path))
        elif key in known:
            value = _with_default_name(hints[key], defaults[key], value)
            values[key] = convert(hints[key], value, path)
        elif "options" in known:
            options[str(key)] = value
        else:
            raise SettingsError(unknown_key(path, known))
    if "options" in known:
        values["options"] = options
    for field in fields:
        if field.default is attrs.NOTHING and field.name not in values:
            values[field.name] = _missing(hints[field.name], field.name, options, where)
    try:
        init(instance, **values)
    except SettingsError:
        raise
    except (ValueError, TypeError) as error:
        raise SettingsError(explain(error, where)) from None


@functools.cache
def _hints(cls: Hashable) -> dict[str, Any]:
    return get_type_hints(cls)


def unstructure(settings: Any) -> dict[str, Any]:
    """Return a settings object as plain values, from which `structure` builds an equal one.

    Options are placed beside the keys of their section, as in YAML.
    """
    plain: dict[str, Any] = {}
    for field in attrs.fields(type(settings)):
        value = getattr(settings, field.name)
        if field.name == "options":
            plain.update(_plain(value))
        else:
            plain[field.name] = _plain(value)
    return plain


def as_section(cls: type[Any], value: Any) -> Any:
    """Expand the short form of a section: `backend: template` means `backend: {name: template}`,
    and None an empty section.

    It is that of the only required setting, or of the one that the class names in `SHORT`.
    """
    value = _path_as_text(value)
    several: str | None = getattr(cls, "SHORT", None)
    if several is not None and isinstance(value, str | list | tuple):
        return {several: [value] if isinstance(value, str) else list(value)}
    if several is not None and attrs.has(type(value)) and not isinstance(value, cls):
        # Refused with the name of the setting.
        return {several: [value]}
    if isinstance(value, str):
        required = [a.name for a in attrs.fields(cls) if a.default is attrs.NOTHING]
        if len(required) == 1:
            return {required[0]: value}
    return {} if value is None else value


def unknown_key(path: str, known: Sequence[str]) -> str:
    """Return the message for an unknown key, with the nearest known one."""
    parent, dot, key = path.rpartition(".")
    near = difflib.get_close_matches(key, known, 1)
    if near:
        hint = f"did you mean {parent}{dot}{near[0]}?"
    else:
        hint = "known keys: " + (", ".join(known) or "none")
    return f"{path}: unknown setting; {hint}"


_OUT_OF_RANGE = re.compile(r"^'(?P<key>\w+)' must be (?P<wanted>[<>]=? .*): (?P<got>.*)$", re.S)
_LENGTH = re.compile(r"^Length of '(?P<key>\w+)' must be (?P<wanted>[<>]=) (?P<n>\d+): (?P<got>.*)")
_GOT = re.compile(r"^'(?P<key>\w+)' (?P<wanted>.*) \(got (?P<got>.*)\)\.?$", re.S)
_CLASS = re.compile(r"<class '(?:builtins\.)?([\w.]+)'>")
_NAMED = re.compile(r"^'?(?P<key>\w+)'? (?P<wanted>must .*)$", re.S)


def explain(error: Exception, where: str) -> str:
    """Return the message of a failed validator, of attrs or our own, with the full key in front."""
    text = str(error.args[0]) if error.args else str(error)
    if match := _OUT_OF_RANGE.match(text):
        wanted, got = _number(match["wanted"]), _number(match["got"])
        return f"{_join(where, match['key'])}: must be {wanted}, got {got}"
    if match := _LENGTH.match(text):
        path, few = _join(where, match["key"]), match["wanted"] == ">="
        if few and match["n"] == "1":
            return f"{path}: must not be empty"
        return f"{path}: must have at {'least' if few else 'most'} {match['n']}, got {match['got']}"
    choices = error.args[2] if len(error.args) > 3 else None
    if " must be in " in text and isinstance(choices, collections.abc.Iterable):
        key, value = error.args[1].name, error.args[3]
        return f"{_join(where, key)}: {_not_among(value, [str(c) for c in choices])}"
    if match := _GOT.match(text):
        message = f"{_join(where, match['key'])}: {match['wanted']}, got {match['got']}"
        return _CLASS.sub(r"\1", message)
    if match := _NAMED.match(text):
        return f"{_join(where, match['key'])}: {match['wanted']}"
    return f"{where}: {text}" if where else text


def _not_among(value: Any, choices: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(value), choices, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"must be one of {', '.join(choices)}; got {value!r}{hint}"


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _number(text: str) -> str:
    return re.sub(r"\b(\d+)\.0\b", r"\1", text)


def _with_default_name(hint: Any, default: Any, value: Any) -> Any:
    """Fill in what a section requires but omits from its default: `scheduler: {batch_size: 4}`
    configures the default scheduler."""
    if not attrs.has(hint) or not isinstance(default, _FACTORY):
        return value
    section = as_section(hint, value)
    if not isinstance(section, Mapping):
        return value
    defaults = default.factory()
    required = [a.name for a in attrs.fields(hint) if a.default is attrs.NOTHING]
    return {**{name: getattr(defaults, name) for name in required}, **section}


def _missing(hint: Any, name: str, options: Mapping[str, Any], where: str) -> Any:
    """Return a required section made of defaults; refuse any other missing value."""
    path = _join(where, name)
    if attrs.has(hint):
        return structure(hint, {}, path)
    near = difflib.get_close_matches(name, list(options), 1)
    if near:
        raise SettingsError(
            f"{_join(where, near[0])}: unknown setting; did you mean {path}? It is missing"
        )
    raise SettingsError(f"{path}: missing; it has no default")


def _convert(hint: Any, value: Any, path: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(args, value, path)
    if origin is Literal:
        chosen = next((a for a in args if value == a or str(value) == str(a)), None)
        if chosen is None:
            raise SettingsError(f"{path}: {_not_among(value, [str(a) for a in args])}")
        return chosen
    if attrs.has(hint):
        if isinstance(value, hint):
            return value
        return structure(hint, as_section(hint, value), path)
    if origin in (tuple, list, collections.abc.Sequence):
        inner = args[0] if args else Any
        is_verbatim = inner is Verbatim and isinstance(value, str)
        parts = [value] if is_verbatim else _items(value)
        items = [_convert(inner, x, f"{path}[{i}]") for i, x in enumerate(parts)]
        return items if origin is list else tuple(items)
    if origin in (dict, collections.abc.Mapping):
        if not isinstance(value, Mapping):
            raise SettingsError(f"{path}: expected keys and values, got {value!r}")
        return {str(k): _convert(args[1], item, f"{path}.{k}") for k, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _convert_enum(hint, value, path)
    return _scalar(hint, value, path)


def _convert_argument(hint: Any, value: Any, path: str) -> Any:
    """Convert an argument of a settings class: text is taken for nothing but text."""
    args = get_args(hint)
    if not isinstance(value, str) or hint in (Any, str):
        return _convert(hint, value, path)
    if get_origin(hint) in (tuple, list, collections.abc.Sequence):
        return _convert(hint, [value], path)
    if get_origin(hint) in (Union, types.UnionType):
        if str in args:
            return value
        hint = next(a for a in args if a is not type(None))
    if hint in (int, float, bool):
        raise SettingsError(f"{path}: expected {_WANTED[hint]}, got {value!r}")
    return _convert(hint, value, path)


def _convert_union(args: tuple[Any, ...], value: Any, path: str) -> Any:
    is_none = value is None or (isinstance(value, str) and value.lower() in ("none", "null", ""))
    if is_none and type(None) in args:
        return None
    candidates = [a for a in args if a is not type(None)]
    for candidate in candidates[:-1]:
        try:
            return _convert(candidate, value, path)
        except SettingsError:
            continue
    return _convert(candidates[-1], value, path)


def _convert_enum(hint: type[enum.Enum], value: Any, path: str) -> enum.Enum:
    for member in hint:
        if value is member or str(value) in (member.name, str(member.value)):
            return member
    raise SettingsError(f"{path}: {_not_among(value, [str(m.value) for m in hint])}")


def _items(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return list(value) if isinstance(value, list | tuple) else [value]


_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_WANTED = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def _scalar(hint: Any, value: Any, path: str) -> Any:
    hint = str if hint is Verbatim else hint
    if hint is str:
        value = _path_as_text(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is bool and isinstance(value, str) and value.lower() in _TRUE + _FALSE:
        return value.lower() in _TRUE
    if hint is float and number:
        try:
            return float(value)
        except OverflowError:
            raise SettingsError(f"{path}: expected a number, got one that is too large") from None
    if hint in (int, float) and isinstance(value, str):
        parsed = _parse_number(hint, value)
        if parsed is not None:
            return parsed
    # YAML reads 2026-11-03 as a date.
    if hint is str and (number or isinstance(value, date)):
        return str(value)
    if hint in _WANTED and (not isinstance(value, hint) or (hint is int and not number)):
        raise SettingsError(f"{path}: expected {_WANTED[hint]}, got {value!r}")
    return value


def _parse_number(hint: type[int] | type[float], text: str) -> int | float | None:
    try:
        if hint is float and text.strip().endswith("%"):
            return float(text.strip()[:-1]) / 100
        return hint(text)
    except ValueError:
        return None


def _plain(value: Any) -> Any:
    if attrs.has(type(value)):
        return unstructure(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value.value if isinstance(value, enum.Enum) else value


def _path_as_text(value: Any) -> Any:
    """Return the text of a path object, or the location of an open store or world model; anything
    else unchanged."""
    if hasattr(type(value), "__fspath__"):
        return value.__fspath__()
    for one in (value, getattr(value, "info", None)):
        if isinstance(location := getattr(one, "location", None), str):
            return location
    return value


def path_text(path: object, name: str = "path") -> str:
    """Return a path, or the location of an open store or world model, as text; `name` is the
    argument's name, for the message.

    Raises:
        ArgumentError: it is neither a string nor an `os.PathLike` of one.
    """
    text: Any = _path_as_text(path)
    if not isinstance(text, str):
        raise ArgumentError(f"{name}: got {path!r:.80}, expected a string or a path")
    return text
