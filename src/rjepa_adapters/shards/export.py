"""Export a store as shards of safetensors and Parquet, in the original project's layout.

Per record, `shard-0000.safetensors` holds a tensor `ID` [S, D] ([L, S, D] for several layers),
`ID/prompt` ([D] or [L, D]) and, if the store has them, `ID/logprobs` [S], and `shard-0000.parquet`
a row. `identity.json` holds latent space, generation, run history and the export's files,
`failures.jsonl` the failures, `grades.jsonl` the grades if there are any. `load` reads them.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import attrs
import numpy as np

from rjepa_core.domain.identity import Identity
from rjepa_core.domain.latents import Vectors
from rjepa_core.domain.trace import RecordKey
from rjepa_core.ports.maintenance import Report, ToolProgress, ignore
from rjepa_core.ports.store import KeepsGrades, LatentStore
from rjepa_core.settings import STORE_DTYPES
from rjepa_core.stores import chunked

from ..optional import import_optional
from ..paths import unfinished
from .manifest import (
    FAILURES,
    GRADES,
    MANIFEST,
    CopyReport,
    check_exportable,
    write_manifest,
)
from .table import arrow_schema, tensor_name, to_row
from .tensors import TensorSpec, write_tensors

_ROWS = 256


def export_shards(
    store: LatentStore, target: str, per_shard: int = 1000, report: Report = ignore
) -> CopyReport:
    """Write a store's committed records and failures as shards into the new directory `target`.

    Raises:
        UsageError: `target` is not empty, `per_shard` is below 1, or pyarrow is missing.
    """
    import_optional("pyarrow.parquet", "store export")
    identity = check_exportable(store, per_shard)
    with unfinished(target, MANIFEST) as folder:
        return _export(store, identity, folder, per_shard, report)


def _export(
    store: LatentStore, identity: Identity, folder: Path, per_shard: int, report: Report
) -> CopyReport:
    pa = import_optional("pyarrow", "store export")
    parquet = import_optional("pyarrow.parquet", "store export")
    files: list[str] = []
    done = failures = shards = 0
    with store.snapshot() as snapshot:
        total = len(snapshot)
        for entries in chunked(snapshot.entries(), per_shard):
            stem = folder / f"shard-{shards:04d}"
            specs = [s for key, entry in entries for s in _specs(identity, key, entry.steps)]
            schema = arrow_schema(pa)
            with (
                write_tensors(stem.with_suffix(".safetensors"), specs) as tensors,
                # Arrow cannot open a path whose bytes are not UTF-8.
                open(stem.with_suffix(".parquet"), "wb") as rows_file,
                parquet.ParquetWriter(rows_file, schema) as table,
            ):
                for keys in chunked((key for key, _ in entries), _ROWS):
                    rows = []
                    for key in keys:
                        record = snapshot.get(key)
                        tensors.put(_drop_single_layer(record.latents))
                        tensors.put(_drop_single_layer(record.prompt_latent))
                        if record.logprobs is not None:
                            tensors.put(record.logprobs)
                        rows.append(to_row(record))
                        done += 1
                        report(ToolProgress("exporting", done, total))
                    table.write_table(pa.Table.from_pylist(rows, schema=schema))
            files += [stem.name + ".safetensors", stem.name + ".parquet"]
            shards += 1
        with open(folder / FAILURES, "w", encoding="utf-8") as out:
            for failure in snapshot.failures():
                out.write(json.dumps(attrs.asdict(failure)) + "\n")
                failures += 1
                report(ToolProgress("exporting failures", failures))
    files.append(FAILURES)
    grades = _write_grades(folder / GRADES, store)
    files += [GRADES] if grades else []
    counts = {"records": done, "failures": failures, "shards": shards}
    if grades:
        counts["grades"] = grades
    write_manifest(folder, identity, store.history(), counts, files)
    files.append(MANIFEST)
    size = sum((folder / name).stat().st_size for name in files)
    return CopyReport(done, failures, tuple(files), size, grades)


def _write_grades(path: Path, store: LatentStore) -> int:
    """The grades, one a line; how many there are, and no file where there are none."""
    if not isinstance(store, KeepsGrades):
        return 0
    count = 0
    with ExitStack() as stack:
        out = None
        for grade in store.grades():
            count += 1
            out = out or stack.enter_context(open(path, "w", encoding="utf-8"))
            out.write(json.dumps(attrs.asdict(grade)) + "\n")
    return count


def _specs(identity: Identity, key: RecordKey, steps: int) -> list[TensorSpec]:
    """Return the tensors of a record, in the order of writing."""
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


def _drop_single_layer(vectors: Vectors) -> Vectors:
    """Return vectors without the dimension of layers if there is only one layer."""
    return vectors[0] if vectors.shape[0] == 1 else vectors
