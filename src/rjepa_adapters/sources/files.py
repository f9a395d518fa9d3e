"""Read text files line by line, plain or packed; errors name the line."""

from __future__ import annotations

import bz2
import contextlib
import difflib
import gzip
import hashlib
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rjepa_core.errors import InputError, UsageError

from ..optional import install_extra

MAX_LINE = 64 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def check_file(location: str) -> Path:
    """Return the path of an existing file that can be read twice.

    Raises:
        InputError: it is missing, a directory, or not a regular file.
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


def file_digest(location: str) -> str:
    """Return a digest of a file's bytes.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with check_file(location).open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()
    except OSError as error:
        raise InputError(f"{location}: cannot be read: {error.strerror or error}") from None


def _nearest(path: Path) -> str:
    with contextlib.suppress(OSError):
        names = [entry.name for entry in path.parent.iterdir()]
        near = difflib.get_close_matches(path.name, names, 1, cutoff=0.8)
        if near:
            return f"; did you mean {path.parent / near[0]}?"
    return ""


def text_lines(location: str) -> Iterator[tuple[int, str]]:
    """Yield line numbers from 1, and lines with their ends, split at `\\n` only.

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
    # Bounded, so that a file without line ends cannot exhaust memory.
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
            f"{where}: a line of more than {MAX_LINE >> 20} MiB; give one problem per line"
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where}: not UTF-8 (byte {error.start + 1} of the line is "
            f"0x{raw[error.start]:02x}); is it a binary file, or text in another encoding?"
        ) from None


# First bytes of each kind of packed file, and endings of its name.
_READ = {
    "gzip": (b"\x1f\x8b", (".gz",)),
    "bzip2": (b"BZh", (".bz2",)),
    "xz": (b"\xfd7zXZ\x00", (".xz", ".lzma")),
    "Zstandard": (b"\x28\xb5\x2f\xfd", (".zst", ".zstd")),
}
_REFUSED = {
    "tar": (None, (".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")),
    "zip": (b"PK\x03\x04", (".zip",)),
    "7-Zip": (b"7z\xbc\xaf\x27\x1c", (".7z",)),
    "RAR": (b"Rar!", (".rar",)),
    "LZ4": (b"\x04\x22\x4d\x18", (".lz4",)),
    "Brotli": (None, (".br",)),
    "compress": (b"\x1f\x9d", (".z",)),
}
_LONGEST_MARK = 6
# Errors of readers of damaged files, besides an `OSError` without a number, which the system sets.
DAMAGED = (EOFError, zlib.error, lzma.LZMAError)


def bare_name(location: str) -> str:
    """Return the location in lower case, without an ending that says that it is packed."""
    name = location.lower()
    endings = [ending for _, all_of in (*_REFUSED.values(), *_READ.values()) for ending in all_of]
    return name.removesuffix(max(filter(name.endswith, endings), key=len, default=""))


def packed_as(path: Path) -> str | None:
    """Return how an existing file is packed, by its first bytes, else by its name.

    Raises:
        InputError: it is packed in a way that is not supported.
    """
    with path.open("rb") as stream:
        head = stream.read(_LONGEST_MARK)
    if not head:
        return None
    name, kinds = path.name.lower(), {**_REFUSED, **_READ}
    by_mark = [kind for kind, (mark, _) in kinds.items() if mark and head.startswith(mark)]
    by_name = [kind for kind, (_, endings) in kinds.items() if name.endswith(endings)]
    for kind in (*by_mark, *by_name):
        if kind in _REFUSED:
            raise InputError(f"{path}: is packed as {kind}, which is not supported; unpack it")
    return next(iter((*by_mark, *by_name)), None)


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading its bytes, unpacked if it is packed.

    Raises:
        InputError: it is packed in a way that is not supported.
        UsageError: the package that reads it is not installed.
    """
    opener = _OPENERS.get(packed_as(path) or "", _open_plain)
    with opener(path) as stream:
        yield stream


def _open_plain(path: Path) -> IO[bytes]:
    return path.open("rb")


def _open_zstandard(path: Path) -> IO[bytes]:
    try:
        import pyarrow
    except ImportError:
        raise UsageError(
            f"{path}: reading what is packed as Zstandard needs pyarrow: {install_extra('data')}"
        ) from None
    return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))


_OPENERS: Mapping[str, Callable[[Path], Any]] = {
    "gzip": gzip.open,
    "bzip2": bz2.open,
    "xz": lzma.open,
    "Zstandard": _open_zstandard,
}


def is_damage(error: Exception) -> bool:
    """Return whether an error of reading is due to a damaged file, not to the system."""
    return isinstance(error, DAMAGED) or (isinstance(error, OSError) and error.errno is None)
