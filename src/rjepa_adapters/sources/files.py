"""Text files line by line, plain or packed; what cannot be read is named with its line."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from rjepa_core.errors import InputError

from .packing import DAMAGED, is_damage, packed_as, unpacked

MAX_LINE = 64 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def check_file(location: str) -> Path:
    """The path of a file that is there and can be read twice.

    Raises:
        InputError: it is missing, a directory, or something else that is no file.
    """
    path = Path(os.path.expanduser(location))
    if path.is_dir():
        raise InputError(
            f"{location}: is a directory, not a file of problems; give the files in it one by one"
        )
    if not path.exists():
        raise InputError(f"{location}: no such file{_nearest(path)}")
    if not path.is_file():
        raise InputError(
            f"{location}: is not a regular file; problems are read more than once, "
            "so save them to a file first"
        )
    return path


def _nearest(path: Path) -> str:
    with contextlib.suppress(OSError):
        names = [entry.name for entry in path.parent.iterdir()]
        near = difflib.get_close_matches(path.name, names, 1, cutoff=0.8)
        if near:
            return f"; did you mean {path.parent / near[0]}?"
    return ""


def text_lines(location: str) -> Iterator[tuple[int, str]]:
    """Line numbers from 1, and lines with their ends as they are; split at `\\n` alone.

    Raises:
        InputError: the file cannot be read, is empty, is not UTF-8, or is damaged.
    """
    path = check_file(location)
    number = 0
    try:
        with unpacked(path) as stream:
            for number, raw in enumerate(_raw_lines(stream), 1):
                yield number, _decode(raw, number, location)
    except (OSError, *DAMAGED) as error:
        if is_damage(error):
            raise InputError(
                f"{location}:{number + 1}: not a {packed_as(path)} file, or a damaged one ({error})"
            ) from None
        raise InputError(
            f"{location}: cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None
    if not number:
        raise InputError(f"{location}: is empty")


def _raw_lines(stream: IO[bytes]) -> Iterator[bytes]:
    # Bounded, so that a file without line ends cannot fill the memory.
    while raw := stream.readline(MAX_LINE + 1):
        yield raw


def _decode(raw: bytes, number: int, location: str) -> str:
    where = f"{location}:{number}"
    if number == 1:
        if raw.startswith(_UTF16_MARKS):
            raise InputError(
                f"{where}: is UTF-16; convert it first: iconv -f UTF-16 -t UTF-8 OLD > NEW"
            )
        raw = raw.removeprefix(_BYTE_ORDER_MARK)
    if b"\0" in raw:
        raise InputError(f"{where}: a binary file (it holds zero bytes), not text")
    if len(raw) > MAX_LINE:
        raise InputError(
            f"{where}: a line of more than {MAX_LINE >> 20} MiB; give one problem a line"
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where}: not UTF-8 (byte {error.start + 1} of the line is "
            f"0x{raw[error.start]:02x}); is it a binary file, or text in another encoding?"
        ) from None
