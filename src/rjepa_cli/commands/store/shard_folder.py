"""Read about a directory of shards before a store is made from it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from rjepa_core.errors import InputError

_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}
_LONGEST_HEADER = 2**30


@attrs.frozen
class ShardShape:
    """The shape of the vectors in shards.

    Attributes:
        store_dtype: `float16`, `bfloat16` or `float32`.
        layers: L.
        hidden_size: D.
        logprobs: whether the steps have log-probabilities.
    """

    store_dtype: str
    layers: int
    hidden_size: int
    logprobs: bool


@attrs.frozen
class ShardFolder:
    """A directory of `*.safetensors`, each with its `.parquet` beside it.

    Attributes:
        path: the directory.
        shards: the safetensors files, in order.
    """

    path: Path
    shards: tuple[Path, ...]

    @classmethod
    def find(cls, folder: str) -> ShardFolder:
        """Find the shards in a directory, without reading them.

        Raises:
            InputError: there is no directory, or it contains no shards.
        """
        path = Path(folder)
        if not path.is_dir():
            raise InputError(f"{folder}: no such directory")
        shards = cls(path, tuple(sorted(path.glob("*.safetensors"))))
        if not shards.shards and not shards.has_identity:
            raise InputError(f"{folder}: no *.safetensors file there; name the shards' directory")
        return shards

    @property
    def has_identity(self) -> bool:
        """Whether the shards say how they were made."""
        return (self.path / "identity.json").is_file()

    def shape(self) -> ShardShape:
        """Return dtype, layers and hidden size, from the first shard's header.

        Raises:
            InputError: it cannot be read, or holds no vectors.
        """
        header = _header(self.shards[0])
        name = next((n for n in header if f"{n}/prompt" in header), None)
        if name is None:
            raise InputError(
                f"{self.shards[0]}: no record has a prompt latent (a tensor ID/prompt beside ID); "
                "encode the solutions anew with `rjepa-cli extract --traces`"
            )
        dtype, shape = header[name]["dtype"], header[name]["shape"]
        if dtype not in _DTYPES or len(shape) not in (2, 3):
            raise InputError(
                f"{self.shards[0]}: {name!r} is {dtype} {shape}; expected float16, bfloat16 or "
                "float32 of [steps, hidden size] or [layers, steps, hidden size]"
            )
        layers = shape[0] if len(shape) == 3 else 1
        return ShardShape(_DTYPES[dtype], layers, shape[-1], f"{name}/logprobs" in header)

    def rows(self) -> int:
        """Return the number of records in all shards; 0 without pyarrow, which import requires.

        Raises:
            InputError: a table is missing or cannot be read.
        """
        try:
            import pyarrow.parquet as parquet
        except ImportError:
            return 0
        return sum(_read(parquet.read_metadata, shard).num_rows for shard in self.shards)

    def problem_ids(self) -> set[str]:
        """Return the ids of all problems in the shards.

        Raises:
            InputError: a table is missing or cannot be read.
        """
        import pyarrow.parquet as parquet

        read = functools.partial(parquet.read_table, columns=["problem_id"])
        return {name for shard in self.shards for name in _read(read, shard)[0].to_pylist()}


def _read(read: Callable[[Any], Any], shard: Path) -> Any:
    """Apply `read` to the table beside a shard."""
    table = shard.with_suffix(".parquet")
    if not table.exists():
        raise InputError(f"{shard}: {table.name} is missing beside it")
    try:
        # Arrow cannot open a path that is not UTF-8.
        with table.open("rb") as file:
            return read(file)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{table}: cannot be read ({reason})") from None


def _header(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > _LONGEST_HEADER:
                raise ValueError("not a safetensors file")
            header: dict[str, Any] = json.loads(file.read(size))
        header.pop("__metadata__", None)
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    return header
