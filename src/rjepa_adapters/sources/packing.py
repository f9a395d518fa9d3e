"""Packed text files: known by their first bytes or their name, read or refused by name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rjepa_core.errors import InputError, UsageError

# What each begins with, and how a file's name ends.
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
# What a reader of one raises where the file is damaged; an `OSError` of the system has a number.
DAMAGED = (EOFError, zlib.error, lzma.LZMAError)


def bare_name(location: str) -> str:
    """The location in lower case, without what says that it is packed."""
    name = location.lower()
    endings = [ending for _, all_of in (*_REFUSED.values(), *_READ.values()) for ending in all_of]
    return name.removesuffix(max(filter(name.endswith, endings), key=len, default=""))


def packed_as(path: Path) -> str | None:
    """How a file that is there is packed: by its first bytes, else by its name.

    Raises:
        InputError: in a way that is not read.
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
            raise InputError(f"{path}: is packed as {kind}, which is not read; unpack it")
    return next(iter((*by_mark, *by_name)), None)


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked where it is packed.

    Raises:
        InputError: it is packed in a way that is not read.
        UsageError: what reads it is not installed.
    """
    opener = _OPENERS.get(packed_as(path) or "", _plain)
    with opener(path) as stream:
        yield stream


def _plain(path: Path) -> IO[bytes]:
    return path.open("rb")


def _zstandard(path: Path) -> IO[bytes]:
    try:
        import pyarrow
    except ImportError:
        raise UsageError(
            f"{path}: reading what is packed as Zstandard needs pyarrow: pip install 'rjepa[data]'"
        ) from None
    return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))


_OPENERS: Mapping[str, Callable[[Path], Any]] = {
    "gzip": gzip.open,
    "bzip2": bz2.open,
    "xz": lzma.open,
    "Zstandard": _zstandard,
}


def is_damage(error: Exception) -> bool:
    """Whether it is the packed file that a read failed of, not the system."""
    return isinstance(error, DAMAGED) or (isinstance(error, OSError) and error.errno is None)
