"""Stores as shards of safetensors and Parquet, the original project's layout, out and in.

`shard-0000.safetensors` holds a tensor `ID` [S, D] ([L, S, D] for several layers), `ID/prompt`
([D] or [L, D]) and, where they are kept, `ID/logprobs` [S] a record; `shard-0000.parquet` a row a
record; `identity.json` latent space, generation and run history; `failures.jsonl` the failures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from rjepa_core.errors import InputError, UsageError
from rjepa_core.identity import Identity, check_same
from rjepa_core.latents import STORE_DTYPES, LatentRecord, Vectors
from rjepa_core.ports.latent_store import LatentStore
from rjepa_core.ports.store_tools import CopyReport, Report, ToolProgress
from rjepa_core.problems import Problem
from rjepa_core.traces import Failure, RecordKey

from .extras import need
from .merging import chunked
from .repairing import ignore
from .rows import arrow_schema, from_row, tensor_name, to_row
from .tensors import TensorFile, TensorSpec, write_tensors

FORMAT = "rjepa-shards"
VERSION = 1
_ROWS = 256


def export_shards(
    store: LatentStore, target: str, per_shard: int = 1000, report: Report = ignore
) -> CopyReport:
    """Write a store's committed records and failures as shards into the new directory `target`.

    Raises:
        UsageError: `target` holds something already, or pyarrow is missing.
    """
    pa = need("pyarrow", "store export")
    parquet = need("pyarrow.parquet", "store export")
    identity = store.identity
    if identity is None:
        raise UsageError(f"{store.location}: it was never written to; there is nothing to export")
    folder = new_folder(target)
    files: list[str] = []
    done = failures = 0
    with store.snapshot() as snapshot:
        total = len(snapshot)
        for number, entries in enumerate(chunked(snapshot.entries(), per_shard)):
            stem = folder / f"shard-{number:04d}"
            specs = [s for key, entry in entries for s in _specs(identity, key, entry.steps)]
            schema = arrow_schema(pa)
            with (
                write_tensors(stem.with_suffix(".safetensors"), specs) as tensors,
                parquet.ParquetWriter(stem.with_suffix(".parquet"), schema) as table,
            ):
                for keys in chunked((key for key, _ in entries), _ROWS):
                    rows = []
                    for key in keys:
                        record = snapshot.get(key)
                        tensors.put(_thin(record.latents))
                        tensors.put(_thin(record.prompt_latent))
                        if record.logprobs is not None:
                            tensors.put(record.logprobs)
                        rows.append(to_row(record))
                        done += 1
                        report(ToolProgress("exporting", done, total))
                    table.write_table(pa.Table.from_pylist(rows, schema=schema))
            files += [stem.name + ".safetensors", stem.name + ".parquet"]
        with open(folder / "failures.jsonl", "w", encoding="utf-8") as out:
            for failure in snapshot.failures():
                out.write(json.dumps(attrs.asdict(failure)) + "\n")
                failures += 1
    fields = {
        "format": FORMAT,
        "version": VERSION,
        "identity": identity.to_json(),
        "history": store.history(),
    }
    (folder / "identity.json").write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    files += ["failures.jsonl", "identity.json"]
    size = sum((folder / name).stat().st_size for name in files)
    return CopyReport(done, failures, tuple(files), size)


def import_shards(
    source: str,
    store: LatentStore,
    identity: Identity | None = None,
    problems: Mapping[str, Problem] | None = None,
    report: Report = ignore,
) -> CopyReport:
    """Read the shards in the directory `source` into `store`.

    Args:
        identity: latent space and generation of shards that have no `identity.json`.
        problems: statements, by problem id, for shards that have none.

    Raises:
        InputError: the shards cannot be read, or do not fit together or the identity.
        UsageError: an identity is needed and missing, or pyarrow is.
        IdentityError: the store's identity differs.
    """
    parquet = need("pyarrow.parquet", "store import")
    folder = Path(source)
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    ours = _read_identity(folder)
    if not names and ours is None:
        raise InputError(f"{source}: no *.safetensors file there; name the shards' directory")
    if ours is not None:
        theirs = Identity.from_json(ours["identity"])
        if identity is not None:
            check_same(identity, theirs, source)
        identity = theirs
    if identity is None:
        raise UsageError(
            f"{source}: shards without identity.json; name the model, layer, pooling and dtype "
            "that made them"
        )
    store.begin(identity)
    count = size = failures = 0
    for name in names:
        rows = folder / Path(name).with_suffix(".parquet")
        if not rows.exists():
            raise InputError(f"{folder / name}: {rows.name} is missing beside it")
        size += rows.stat().st_size + (folder / name).stat().st_size
        with TensorFile(folder / name) as tensors:
            for row in _rows_of(rows, parquet):
                problem = (problems or {}).get(row["problem_id"])
                record = _record(row, tensors, identity, problem, f"{folder.name}/{name}")
                store.write([record])
                count += 1
                report(ToolProgress("importing", count))
    if (folder / "failures.jsonl").exists():
        failures = _import_failures(folder / "failures.jsonl", store)
    store.commit()
    for entry in (ours or {}).get("history", ()):
        store.add_history(entry)
    store.add_history(
        {
            "kind": "import",
            "source": source,
            "records": count,
            "identity": "identity.json" if ours is not None else "named by the user",
        }
    )
    return CopyReport(count, failures, tuple(names), size)


def new_folder(target: str) -> Path:
    """Make an empty directory.

    Raises:
        UsageError: it is there and holds something, or cannot be made.
    """
    folder = Path(target)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"{target}: holds something already; name a new directory")
    except OSError as error:
        raise UsageError(f"{target}: cannot be made ({error.strerror})") from error
    return folder


def _specs(identity: Identity, key: RecordKey, steps: int) -> list[TensorSpec]:
    """Tensors of a record, in the order in which they are written."""
    space = identity.space
    dtype = STORE_DTYPES[space.store_dtype]
    several = (len(space.layers),) if len(space.layers) > 1 else ()
    name = tensor_name(key)
    specs = [
        TensorSpec(name, dtype, (*several, steps, space.hidden_size)),
        TensorSpec(f"{name}/prompt", dtype, (*several, space.hidden_size)),
    ]
    if identity.logprobs:
        specs.append(TensorSpec(f"{name}/logprobs", np.dtype(np.float32), (steps,)))
    return specs


def _thin(vectors: Vectors) -> Vectors:
    """Without the dimension of layers where there is one layer."""
    return vectors[0] if vectors.shape[0] == 1 else vectors


def _rows_of(path: Path, parquet: Any) -> Iterator[dict[str, Any]]:
    """Rows of a table.

    Raises:
        InputError: it is no Parquet file, damaged, or lacks the columns that name a record.
    """
    arrow = need("pyarrow", "store import")
    try:
        with parquet.ParquetFile(path) as table:
            missing = {"cot_id", "problem_id"} - {*table.schema_arrow.names}
            if missing:
                raise InputError(f"{path}: it has no column {' or '.join(sorted(missing))}")
            for batch in table.iter_batches(batch_size=_ROWS):
                yield from batch.to_pylist()
    except (arrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error


def _record(
    row: Mapping[str, Any],
    tensors: TensorFile,
    identity: Identity,
    problem: Problem | None,
    where: str,
) -> LatentRecord:
    name = row["cot_id"]
    layers = len(identity.space.layers)
    latents = tensors.get(name)
    if f"{name}/prompt" not in tensors:
        raise InputError(
            f"{where}: {name!r} has no prompt latent (tensor {name}/prompt); encode the solutions "
            "anew with `rjepa-cli extract --traces`"
        )
    prompt = tensors.get(f"{name}/prompt")
    if layers == 1:
        latents, prompt = latents[None], prompt[None]
    logprobs = tensors.get(f"{name}/logprobs") if identity.logprobs else None
    wanted = STORE_DTYPES[identity.space.store_dtype]
    space = identity.space
    if latents.dtype != wanted or latents.ndim != 3 or latents.shape[2] != space.hidden_size:
        raise InputError(
            f"{where}: {name!r} is {latents.dtype} {list(latents.shape)}; the identity says "
            f"{wanted} with {layers} layers and hidden size {space.hidden_size}"
        )
    return LatentRecord(from_row(row, problem, where), latents, prompt, logprobs)


def _read_identity(folder: Path) -> dict[str, Any] | None:
    path = folder / "identity.json"
    if not path.exists():
        return None
    try:
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known, version = fields["format"], int(fields["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if known != FORMAT or version > VERSION:
        raise InputError(f"{path}: format {known!r} version {version}; update rjepa")
    return fields


def _import_failures(path: Path, store: LatentStore) -> int:
    count = 0
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            fields = json.loads(line)
            fields["key"] = RecordKey(**fields["key"])
            store.write([], [Failure(**fields)])
            count += 1
    return count
