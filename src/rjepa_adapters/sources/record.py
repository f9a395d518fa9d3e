"""One record as it was read: its values, where it stood, and its fields by their plain names."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from rjepa_core.errors import InputError


def kind_of(value: Any) -> str:
    """What a value is, in the words of a message."""
    if value is None:
        return "null"
    names = ((bool, "a truth value"), (str, "a text"), (int | float, "a number"), (list, "a list"))
    return next((name for cls, name in names if isinstance(value, cls)), "an object")


def is_null(value: Any) -> bool:
    """Null, or the NaN that table programs write for it."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def scalar_text(value: Any) -> str | None:
    """A text, number or truth value as text; None for anything else.

    Table programs turn whole numbers into floats where a column has gaps; 3.0 is 3 again here.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) and not is_null(value) else None


@functools.lru_cache(maxsize=4096)
def plain_name(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


@attrs.frozen
class Record:
    """A row as it was read: its values, and its fields by their plain names."""

    values: Mapping[str, Any]
    where: str
    plain: Mapping[str, str]

    @classmethod
    def of(cls, values: Mapping[str, Any], where: str) -> Record:
        # Reversed, so that the first of two fields with the same plain name stands.
        return cls(values, where, {plain_name(k): k for k in reversed(list(values))})

    def present(self, names: Iterable[str]) -> list[str]:
        """The fields that go by one of these names, in the names' order."""
        return [self.plain[name] for name in names if name in self.plain]

    def error(self, message: str) -> InputError:
        return InputError(f"{self.where}: {message}")

    def listed(self) -> str:
        """The fields, for a message."""
        names = [repr(name) for name in self.values]
        more = f" and {len(names) - 12} more" if len(names) > 12 else ""
        return (", ".join(names[:12]) + more) or "no fields"

    def text(self, field: str, what: str, value: Any = None) -> str:
        """A field's value (or that given) which must be a text that can be stored."""
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
                    f"(\\u{ord(value[error.start]):04x}, a lone surrogate); mend that row"
                ) from None
        return value
