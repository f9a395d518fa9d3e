"""Write and read safetensors files tensor by tensor, so that a shard is never wholly in memory.

The library `safetensors` writes only tensors that are all in memory, and reads through a memory
map, where a disk error, or a file truncated meanwhile, ends the process with a signal instead of
an error.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import attrs
import numpy as np

from rjepa_core.domain.latents import Vectors
from rjepa_core.errors import InputError
from rjepa_core.settings import STORE_DTYPES

_LENGTH = struct.Struct("<Q")
_LONGEST_HEADER = 100 * 2**20
_NAMES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}
_CODES = {STORE_DTYPES[name]: code for code, name in _NAMES.items()}


@attrs.frozen
class TensorSpec:
    """Name, dtype and shape of a tensor to be written."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        size = self.dtype.itemsize
        for n in self.shape:
            size *= n
        return size


class TensorWriter:
    """A writer of the tensors announced to `write_tensors`, in that order."""

    def __init__(self, file: BinaryIO, specs: Sequence[TensorSpec]) -> None:
        self._file = file
        self._specs = iter(specs)

    def put(self, tensor: Vectors) -> None:
        spec = next(self._specs)
        if (tensor.dtype, tensor.shape) != (spec.dtype, spec.shape):
            raise ValueError(f"{spec.name}: {tensor.dtype} {tensor.shape} instead of {spec}")
        self._file.write(np.ascontiguousarray(tensor).tobytes())


@contextmanager
def write_tensors(path: Path, specs: Sequence[TensorSpec]) -> Iterator[TensorWriter]:
    """Open a safetensors file for writing tensors whose names, dtypes and shapes are known."""
    header: dict[str, Any] = {"__metadata__": {"format": "np"}}
    offset = 0
    for spec in specs:
        header[spec.name] = {
            "dtype": _CODES[spec.dtype],
            "shape": list(spec.shape),
            "data_offsets": [offset, offset + spec.bytes],
        }
        offset += spec.bytes
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    with open(path, "wb") as file:
        file.write(_LENGTH.pack(len(raw)) + raw)
        yield TensorWriter(file, specs)


class TensorFile:
    """A safetensors file open for reading.

    Raises:
        InputError: it is not a safetensors file, or truncated.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = open(path, "rb")  # noqa: SIM115
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        try:
            self._read_header()
        except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
            self._file.close()
            raise InputError(f"{path}: not a safetensors file ({error})") from error

    def _read_header(self) -> None:
        size = _LENGTH.unpack(self._file.read(_LENGTH.size))[0]
        if size > _LONGEST_HEADER:
            raise ValueError("its header is too long")
        header = json.loads(self._file.read(size))
        header.pop("__metadata__", None)
        self._start = _LENGTH.size + size
        self._tensors: dict[str, tuple[str, tuple[int, ...], int, int]] = {
            name: (t["dtype"], tuple(t["shape"]), *t["data_offsets"]) for name, t in header.items()
        }
        end = max((t[3] for t in self._tensors.values()), default=0)
        if self._path.stat().st_size < self._start + end:
            raise ValueError("it is cut off")

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def get(self, name: str) -> Vectors:
        """Return a tensor.

        Raises:
            InputError: there is no tensor of that name, or stores do not support its dtype.
        """
        if name not in self._tensors:
            raise InputError(f"{self._path}: no tensor {name!r}")
        code, shape, start, end = self._tensors[name]
        if code not in _NAMES:
            raise InputError(f"{self._path}: tensor {name!r} is {code}; known: {', '.join(_NAMES)}")
        self._file.seek(self._start + start)
        raw = self._file.read(end - start)
        try:
            return np.frombuffer(raw, STORE_DTYPES[_NAMES[code]]).reshape(shape).copy()
        except ValueError as error:
            raise InputError(f"{self._path}: tensor {name!r} cannot be read ({error})") from error

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
