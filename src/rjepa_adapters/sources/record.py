"""A record as it was read: its values, its location, and its fields by their plain names."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import attrs

from rjepa_core.errors import InputError

from .chat import ChatError, read_chat


def kind_of(value: Any) -> str:
    """Return the kind of a value, for a message."""
    if value is None:
        return "null"
    names = (
        (bool, "a truth value"),
        (str, "a text"),
        (int | float | Decimal, "a number"),
        (list, "a list"),
        (bytes, "binary data"),
    )
    return next((name for cls, name in names if isinstance(value, cls)), "an object")


def is_null(value: Any) -> bool:
    """Return whether a value is null, or the NaN that table programs write for it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def scalar_text(value: Any) -> str | None:
    """Return a text, number or truth value as text; None for anything else.

    Table programs turn integers into floats if a column has gaps; 3.0 becomes 3 again here.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float) and value.is_integer() and Decimal(repr(value)) == int(value):
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) and not is_null(value) else None


@functools.lru_cache(maxsize=4096)
def plain_name(name: str) -> str:
    """Return a field's name in lower case with underscores, by which it is compared."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


# The rows of a source have the same fields, mostly all of them.
@functools.lru_cache(maxsize=256)
def _plain_names(names: tuple[str, ...]) -> Mapping[str, str]:
    """Return fields by their plain names; the first of two with the same one counts."""
    return MappingProxyType({plain_name(name): name for name in reversed(names)})


@functools.lru_cache(maxsize=4096)
def _present(names: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    plain = _plain_names(names)
    return tuple(plain[name] for name in wanted if name in plain)


@attrs.frozen
class Record:
    """A row as it was read.

    Attributes:
        values: by field, and those joined from several fields.
        where: file and line.
        plain: fields by their plain names.
        names: of the row's own fields, in its order.
    """

    values: Mapping[str, Any]
    where: str
    plain: Mapping[str, str]
    names: tuple[str, ...]

    @classmethod
    def of(cls, values: Mapping[str, Any], where: str) -> Record:
        names = tuple(values)
        return cls(values, where, _plain_names(names), names)

    def with_values(self, more: Mapping[str, Any]) -> Record:
        """Return the record with additional values, which no field of the row holds."""
        return attrs.evolve(self, values={**self.values, **more}) if more else self

    def without(self, field: str | None) -> Record:
        """Return the record without a field."""
        return self.of({k: v for k, v in self.values.items() if k != field}, self.where)

    def present(self, names: Iterable[str]) -> list[str]:
        """Return the fields with one of these plain names, in the order of the names."""
        return list(_present(self.names, tuple(names)))

    def find(self, name: str) -> tuple[bool, Any]:
        """Return whether there is such a field, and its value.

        The name may be of a nested field (`reward_model.ground_truth`), or of what a role says in a
        conversation (`messages.system`).
        """
        if name in self.values:
            return True, self.values[name]
        head, *path = name.split(".")
        value = self.values.get(head)
        if not path or value is None:
            return False, None
        try:
            chat = read_chat(value)
        except ChatError as error:
            raise self.error(f"the conversation in field {head!r} {error}") from None
        if chat is not None and len(path) == 1:
            texts = chat.said_by(path[0])
            return bool(texts), "\n\n".join(texts)
        for key in path:
            if not isinstance(value, Mapping) or key not in value:
                return False, None
            value = value[key]
        return True, value

    def error(self, message: str) -> InputError:
        return InputError(f"{self.where}: {message}")

    def listed(self) -> str:
        """Return the names of the fields, for a message."""
        names = [repr(name) for name in self.names]
        more = f" and {len(names) - 12} more" if len(names) > 12 else ""
        return (", ".join(names[:12]) + more) or "no fields"

    def text(self, field: str, what: str, value: Any = None) -> str:
        """Return a field's value (or `value`), which must be a text that can be stored.

        Raises:
            InputError: it is not.
        """
        value = self.values[field] if value is None else value
        if not isinstance(value, str):
            raise self.error(
                f"the {what} in field {field!r} is {kind_of(value)}; it must be a text"
            )
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError as error:
                raise self.error(
                    f"the {what} in field {field!r} holds half a character "
                    f"(\\u{ord(value[error.start]):04x}, a lone surrogate); correct that row"
                ) from None
        return value
