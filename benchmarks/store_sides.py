"""The ways of keeping step latents that `store.py` compares, each with its writer and reader.

Every one of them keeps the same records: an id, latents [8, 4096] and a prompt latent [4096] in
float16, and a little text. A reader puts the latents of records into a buffer of the caller's.
"""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
import numpy as np
from numpy.typing import NDArray

from rjepa_core import LatentRecord, RecordKey, open_store
from rjepa_core.testing.samples import sample_identity, sample_record

STEPS, WIDTH = 8, 4096
SHARD = 1000
VALUES = STEPS * WIDTH
_IDENTITY = sample_identity(1, WIDTH)
_SAMPLE = sample_record(sample_identity(1, 8), "p-0", steps=STEPS)
_POOL = np.random.default_rng(0).standard_normal(2**23, np.float32).astype(np.float16)
_COLUMNS = ("domain", "subdomain", "statement")
Buffer = NDArray[np.float16]


def name(number: int) -> str:
    return f"gsm8k-train-{number:06d}"


def block(number: int) -> Buffer:
    """Latents and prompt latent of a record, a view; equal for no two of a million records."""
    start = number * 7919 % (len(_POOL) - VALUES - WIDTH)
    return _POOL[start : start + VALUES + WIDTH]


def record(number: int) -> LatentRecord:
    problem = attrs.evolve(_SAMPLE.trace.problem, id=name(number))
    values = block(number)
    return LatentRecord(
        attrs.evolve(_SAMPLE.trace, problem=problem),
        values[:VALUES].reshape(1, STEPS, WIDTH),
        values[VALUES:].reshape(1, WIDTH),
    )


def row(number: int) -> dict[str, Any]:
    """What the original keeps of a record beside its vectors."""
    return {
        "cot_id": name(number),
        "problem_id": name(number),
        "domain": "math",
        "subdomain": "arithmetic",
        "num_steps": STEPS,
        "hidden_size": WIDTH,
        "statement": _SAMPLE.trace.problem.statement,
    }


class Side(Protocol):
    """A way of keeping records, open for reading."""

    def read(self, numbers: Sequence[int], into: Buffer) -> None:
        """Put the latents of records into the rows [8, 4096] of `into`."""
        ...


def write_store(folder: Path, count: int) -> None:
    with open_store(str(folder), "write") as store:
        store.begin(_IDENTITY)
        for number in range(count):
            store.write([record(number)])


def write_shards(folder: Path, count: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from safetensors.numpy import save_file

    folder.mkdir()
    for shard, numbers in enumerate(_chunks(count, SHARD)):
        stem = str(folder / f"shard-{shard:04d}")
        tensors = {}
        for number in numbers:
            values = block(number)
            tensors[name(number)] = values[:VALUES].reshape(STEPS, WIDTH)
            tensors[f"{name(number)}/prompt"] = values[VALUES:]
        save_file(tensors, stem + ".safetensors")
        table = pa.Table.from_pylist([row(number) for number in numbers])
        pq.write_table(table, stem + ".parquet", compression="zstd")
    _flush(folder)


def write_arrow(folder: Path, count: int) -> None:
    import pyarrow as pa
    from datasets import Features, List, Value
    from datasets.arrow_writer import ArrowWriter

    def column(parts: list[Buffer], size: int) -> Any:
        return pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(parts)), size)

    texts = {key: Value("string") for key in ("cot_id", *_COLUMNS)}
    vectors = {
        "latents": List(Value("float16"), length=VALUES),
        "prompt": List(Value("float16"), length=WIDTH),
    }
    features = Features({**texts, **vectors})
    folder.mkdir()
    # Files of 500 MB, as `save_to_disk` makes them.
    for part, many in enumerate(_chunks(count, 6000)):
        writer = ArrowWriter(features=features, path=str(folder / f"data-{part:05d}.arrow"))
        for start in range(0, len(many), 250):
            numbers = many[start : start + 250]
            rows = [row(number) for number in numbers]
            columns = [pa.array([r[key] for r in rows]) for key in texts]
            columns.append(column([block(n)[:VALUES] for n in numbers], VALUES))
            columns.append(column([block(n)[VALUES:] for n in numbers], WIDTH))
            writer.write_table(pa.table(columns, schema=features.arrow_schema))
        writer.finalize()
        writer.close()
    _flush(folder)


def write_files(folder: Path, count: int) -> None:
    folder.mkdir()
    for numbers in _chunks(count, SHARD):
        for number in numbers:
            np.save(folder / f"{name(number)}.npy", block(number).reshape(STEPS + 1, WIDTH))
    _flush(folder)


class StoreSide:
    """This project's store; `read_latents` reads no text."""

    def __init__(self, folder: Path, check: bool = True) -> None:
        self._store = open_store(str(folder), options={"verify_reads": check})

    def read(self, numbers: Sequence[int], into: Buffer) -> None:
        keys = [RecordKey(name(number)) for number in numbers]
        self._store.read_latents(keys, into[:, None])


class WholeShards:
    """The original's `LatentDataset`: every shard is loaded when it is opened."""

    def __init__(self, folder: Path) -> None:
        import pyarrow.parquet as pq
        from safetensors.torch import load_file

        self._rows: list[dict[str, Any]] = []
        self._latents: dict[str, Any] = {}
        for path in sorted(folder.glob("shard-*.parquet")):
            self._rows.extend(pq.read_table(path).to_pylist())
            self._latents.update(load_file(path.with_suffix(".safetensors")))

    def read(self, numbers: Sequence[int], into: Buffer) -> None:
        for place, number in enumerate(numbers):
            into[place] = self._latents[self._rows[number]["cot_id"]].numpy()


class OneShard:
    """The original's `LatentDatasetMultiShard`: the shard of the record is loaded and kept."""

    def __init__(self, folder: Path) -> None:
        import pyarrow.parquet as pq
        from safetensors.torch import load_file

        self._paths = sorted(folder.glob("shard-*.parquet"))
        self._rows: list[dict[str, Any]] = []
        for path in self._paths:
            self._rows.extend(pq.read_table(path).to_pylist())
        self._current = -1
        self._read_table, self._load_file = pq.read_table, load_file

    def read(self, numbers: Sequence[int], into: Buffer) -> None:
        for place, number in enumerate(numbers):
            shard = number // SHARD
            if shard != self._current:
                self._read_table(self._paths[shard]).to_pylist()
                self._latents = self._load_file(self._paths[shard].with_suffix(".safetensors"))
                self._current = shard
            into[place] = self._latents[self._rows[number]["cot_id"]].numpy()


class LazyShards:
    """Shards through `safe_open`, all of them kept open."""

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open

        paths = sorted(folder.glob("*.safetensors"))
        self._files = [safe_open(path, framework="np") for path in paths]

    def read(self, numbers: Sequence[int], into: Buffer) -> None:
        for place, number in enumerate(numbers):
            into[place] = self._files[number // SHARD].get_tensor(name(number))


class ArrowSide:
    """A Hugging Face dataset, mapped into memory, read in numpy's format."""

    def __init__(self, folder: Path) -> None:
        from datasets import Dataset, concatenate_datasets

        parts = [Dataset.from_file(str(path)) for path in sorted(folder.glob("*.arrow"))]
        self._data = concatenate_datasets(parts).with_format(
            "numpy", columns=["latents"], dtype=np.float16
        )

    def read(self, numbers: Sequence[int], into: Buffer) -> None:
        if len(numbers) == 1:
            into[0] = self._data[int(numbers[0])]["latents"].reshape(STEPS, WIDTH)
        else:
            into[: len(numbers)] = self._data[list(numbers)]["latents"].reshape(-1, STEPS, WIDTH)


class FileSide:
    """One `.npy` a record."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, numbers: Sequence[int], into: Buffer) -> None:
        for place, number in enumerate(numbers):
            into[place] = np.load(self._folder / f"{name(number)}.npy")[:STEPS]


@attrs.frozen
class Kind:
    """A line of the comparison.

    Attributes:
        title: for the table.
        folder: which files it reads.
        open: its reader.
        slow: read fewer records a turn.
    """

    title: str
    folder: str
    open: Callable[[Path], Side]
    slow: bool = False


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "store": write_store,
    "shards": write_shards,
    "arrow": write_arrow,
    "npy": write_files,
}
KINDS = {
    "store": Kind("this store", "store", StoreSide),
    "unchecked": Kind(
        "this store, checksum off", "store", lambda folder: StoreSide(folder, check=False)
    ),
    "whole": Kind("shards, all loaded (the original)", "shards", WholeShards),
    "one": Kind("shards, one loaded (the original)", "shards", OneShard, slow=True),
    "lazy": Kind("shards, `safe_open`", "shards", LazyShards),
    "arrow": Kind("Hugging Face dataset (Arrow)", "arrow", ArrowSide),
    "npy": Kind("one `.npy` a record", "npy", FileSide),
}


def _chunks(count: int, size: int) -> Iterator[list[int]]:
    numbers = iter(range(count))
    while chunk := list(itertools.islice(numbers, size)):
        yield chunk


def _flush(folder: Path) -> None:
    """Wait until what was written is on the disk, as each commit of the store does."""
    subprocess.run(["sync", "--file-system", str(folder)], check=True)
