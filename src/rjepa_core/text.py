"""Format numbers for people, and escape text for a terminal."""

from __future__ import annotations

import shlex
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any


def duration(seconds: float) -> str:
    """Format a duration in seconds, minutes, hours or days."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes / 1440:.1f} days"


def rate(value: float) -> str:
    """Format a rate with three significant digits, or as a whole number from 100 on."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def count(number: int, noun: str) -> str:
    """Format a number with its noun: `1 problem`, `2,000 problems`, `2 batches`, `3 entries`."""
    return f"{number:,} {noun if number == 1 else _plural(noun)}"


def _plural(noun: str) -> str:
    if noun.endswith(("s", "x", "z", "ch", "sh")) and not noun.endswith("epoch"):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def number(value: float) -> str:
    """Format an integer in full, any other number with four significant digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


# Categories of characters that a terminal interprets rather than shows: control and format
# characters (some change the writing direction), line and paragraph separators, lone surrogates.
_INTERPRETED = {"Cc", "Cf", "Zl", "Zp", "Cs"}
# Format characters that scripts and emoji need.
_JOINERS = "\u200c\u200d"


def visible(text: str, keep: str = "\t") -> str:
    """Escape control characters and those that change the writing direction."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape", "surrogatepass").decode("ascii")
        if character not in keep and _is_interpreted(character)
        else character
        for character in text
    )


def visible_json(text: str) -> str:
    """Escape the characters in a JSON text that a terminal interprets, as JSON does."""
    unsafe = {character for character in set(text) - {"\n"} if _is_interpreted(character)}
    return text.translate({ord(character): _json_escape(character) for character in unsafe})


def shell_word(word: str) -> str:
    """Quote a word for a shell command; control characters become escapes of bash and zsh."""
    if not any(map(_is_interpreted, word)):
        return shlex.quote(word)
    escaped = word.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(_bytes_escape(c) if _is_interpreted(c) else c for c in escaped) + "'"


def _is_interpreted(character: str) -> bool:
    return character not in _JOINERS and unicodedata.category(character) in _INTERPRETED


def _bytes_escape(character: str) -> str:
    # Python represents a byte of a path that is not UTF-8 as a lone surrogate.
    errors = "surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", errors))


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def html_table(title: str, rows: Mapping[str, str]) -> str:
    """Return names and values as a table for a notebook."""
    # Not loaded where nothing is shown.
    from html import escape

    keep = "\t\n"
    cells = "".join(
        f'<tr><th style="text-align:left">{escape(visible(name))}</th>'
        f'<td style="text-align:left">{escape(visible(value, keep))}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table><caption>{escape(visible(title))}</caption>{cells}</table>"


def excerpt(text: str, most: int = 40) -> str:
    """Return the beginning of a text on one line, quoted."""
    line = " ".join(text.split())
    return repr(line if len(line) <= most else f"{line[: most - 1]}…")


def shape_text(array: Any) -> str:
    """Return the dtype and shape of an array: `float16[1, 5, 576]`; of anything else its repr."""
    shape = getattr(array, "shape", None)
    return repr(array) if shape is None else f"{array.dtype}{list(shape)}"


def brief(instance: Any, most: int = 200) -> str:
    """Return a repr on one line for a class of values: what differs from the defaults, long values
    as their sizes. It is cut where it gets longer than `most` characters."""
    # Not loaded where nothing is shown.
    import attrs

    name, parts = type(instance).__name__, list[str]()
    room = most - len(name) - len("(, …)")
    for field in attrs.fields(type(instance)):
        value, default = getattr(instance, field.name), field.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            default = None if default.takes_self else default.factory()
        if field.repr is False or value is default or _equal(value, default):
            continue
        parts.append(f"{field.alias}={_brief_value(value)}")
        room -= len(parts[-1]) + len(", ")
        if room < 0:
            parts[-1] = "…"
            break
    return f"{name}({', '.join(parts)})"


def _equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and not hasattr(one, "shape") and bool(one == other)


def _brief_value(value: Any, most: int = 60) -> str:
    if hasattr(value, "shape"):
        return shape_text(value)
    if isinstance(value, str):
        return excerpt(value, most)
    if hasattr(value, "__attrs_attrs__"):
        text = repr(value)
        return text if len(text) <= 2 * most else f"{type(value).__name__}(…)"
    if isinstance(value, float):
        return min(repr(value), f"{value:.4g}", key=len)
    # Not all of a long value is written only to be thrown away.
    if isinstance(value, Mapping | tuple | list) and len(value) > most:
        return f"<{count(len(value), 'value')}>"
    text = repr(value)
    if len(text) <= most and "\n" not in text:
        return text
    sized = isinstance(value, Mapping | tuple | list)
    return f"<{count(len(value), 'value')}>" if sized else f"<{type(value).__name__}>"


def size(count: float) -> str:
    """Format a number of bytes in a suitable unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or (unit == "B" and count < 10_000):
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def table(
    rows: Sequence[Sequence[str]],
    width: int | None = None,
    kept: int = 1,
    gap: int = 2,
    left: Sequence[int] = (0,),
) -> list[str]:
    """Return rows of cells as lines with aligned columns.

    Args:
        rows: all of the same length; the first holds the headings.
        width: of a line; a wider table is cut into parts that stand one below the other.
        kept: number of first columns that each part repeats.
        gap: spaces between columns.
        left: columns that are aligned to the left; others are to the right.
    """
    columns = [[row[i] for row in rows] for i in range(len(rows[0]))]
    widths = [max(map(len, column)) for column in columns]
    parts: list[list[int]] = [[]]
    for i in range(kept, len(columns)):
        taken = sum(widths[j] + gap for j in (*range(kept), *parts[-1], i)) - gap
        if parts[-1] and width is not None and taken > width:
            parts.append([])
        parts[-1].append(i)
    return [
        (" " * gap)
        .join(
            row[i].ljust(widths[i]) if i in left else row[i].rjust(widths[i])
            for i in (*range(kept), *part)
        )
        .rstrip()
        for part in parts
        for row in rows
    ]


def hanging(line: str, width: int | None, indent: int) -> list[str]:
    """Return a line cut at spaces into lines of a width, all but the first indented."""
    if width is None or len(line) <= width:
        return [line]
    if max(map(len, line.split())) > width - indent:
        # A long path, which the terminal cuts: a line break of ours would be copied with it.
        return [line]
    return textwrap.wrap(
        line,
        max(width, indent + 20),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def shortened(text: str, width: int) -> str:
    """Return a text without its middle if it is longer than a width."""
    half = (width - 1) // 2
    return text if len(text) <= width else f"{text[: width - 1 - half]}…{text[-half:]}"
