"""Export a store as a Hugging Face dataset on disk, which `datasets.load_from_disk` opens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from rjepa_core.domain.identity import Identity
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.trace import RecordKey
from rjepa_core.ports.maintenance import Report, ToolProgress, ignore
from rjepa_core.ports.store import KeepsGrades, LatentStore
from rjepa_core.stores import chunked

from ..optional import import_optional
from ..paths import unfinished
from .manifest import CopyReport, check_exportable
from .table import arrow_schema, to_row

_BATCH = 64
_GRADE = ("grade", "grade_reason", "graded_answer", "grader")


def export_dataset(
    store: LatentStore, target: str, per_shard: int = 1000, report: Report = ignore
) -> CopyReport:
    """Write a store's committed records as a dataset into the new directory `target`.

    Columns are those of the shards' Parquet files, `latents` as lists [L, S, D], `prompt_latent`
    [L, D] and, if the store has them, `logprobs` [S]. bfloat16, which Arrow lacks, becomes float32.
    A store with grades has `grade` (right, wrong or ungraded), `grade_reason`, `graded_answer` and
    `grader` as well. Failures are left out.

    Raises:
        UsageError: `target` is not empty, `per_shard` is below 1, or pyarrow is missing.
    """
    import_optional("pyarrow.ipc", "store export")
    identity = check_exportable(store, per_shard)
    with unfinished(target, "state.json") as folder:
        return _export(store, identity, folder, per_shard, report)


def _export(
    store: LatentStore, identity: Identity, folder: Path, per_shard: int, report: Report
) -> CopyReport:
    pa = import_optional("pyarrow", "store export")
    ipc = import_optional("pyarrow.ipc", "store export")
    schema = _schema(pa, identity)
    graded = isinstance(store, KeepsGrades) and next(store.grades(), None) is not None
    if graded:
        for name in _GRADE:
            schema = schema.append(pa.field(name, pa.string()))
    features = _features(schema, pa)
    described = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    files: list[str] = []
    done = 0
    with store.snapshot() as snapshot:
        total = len(snapshot)
        shards = max(1, -(-total // per_shard))
        groups = chunked(snapshot.keys(), per_shard) if total else iter([[]])
        for number, wanted in enumerate(groups):
            name = f"data-{number:05d}-of-{shards:05d}.arrow"
            with open(folder / name, "wb") as file, ipc.new_stream(file, described) as out:
                for chunk in chunked(wanted, _BATCH):
                    records = [snapshot.get(key) for key in chunk]
                    rows = [to_row(record) for record in records]
                    if graded:
                        rows = [
                            {**r, **_graded(store, k)} for r, k in zip(rows, chunk, strict=True)
                        ]
                    out.write_batch(_batch(pa, records, rows, described))
                    done += len(records)
                    report(ToolProgress("exporting", done, total))
            files.append(name)
    _describe(folder, features, files, store)
    files += ["dataset_info.json", "state.json"]
    size = sum((folder / name).stat().st_size for name in files)
    return CopyReport(done, 0, tuple(files), size)


def _value_type(pa: Any, identity: Identity) -> Any:
    return pa.float16() if identity.space.store_dtype == "float16" else pa.float32()


def _schema(pa: Any, identity: Identity) -> Any:
    vector = pa.list_(_value_type(pa, identity))
    schema = arrow_schema(pa)
    schema = schema.append(pa.field("latents", pa.list_(pa.list_(vector))))
    schema = schema.append(pa.field("prompt_latent", pa.list_(vector)))
    if identity.logprobs:
        schema = schema.append(pa.field("logprobs", pa.list_(pa.float32())))
    return schema


def _features(schema: Any, pa: Any) -> dict[str, Any]:
    """Return the description of the columns in the format of `datasets`."""
    return {field.name: _feature(field.type, pa) for field in schema}


def _feature(kind: Any, pa: Any) -> dict[str, Any]:
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type, pa), "_type": "List"}
    names = {"halffloat": "float16", "float": "float32"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}


def _graded(store: LatentStore, key: RecordKey) -> dict[str, str | None]:
    grade = store.grade(key) if isinstance(store, KeepsGrades) else None
    if grade is None:
        return dict.fromkeys(_GRADE)
    texts = (grade.mark, grade.reason, grade.answer, f"{grade.grader} {grade.version}")
    return {
        name: None if text is None else text.encode("utf-8", "replace").decode("utf-8")
        for name, text in zip(_GRADE, texts, strict=True)
    }


def _batch(pa: Any, records: list[LatentRecord], rows: list[dict[str, Any]], schema: Any) -> Any:
    columns = []
    for field in schema:
        if field.name == "latents":
            columns.append(_nested(pa, [r.latents for r in records]))
        elif field.name == "prompt_latent":
            columns.append(_nested(pa, [r.prompt_latent for r in records]))
        elif field.name == "logprobs":
            columns.append(pa.array([r.logprobs for r in records], type=field.type))
        else:
            columns.append(pa.array([row[field.name] for row in rows], type=field.type))
    return pa.record_batch(columns, schema=schema)


def _nested(pa: Any, arrays: list[Any]) -> Any:
    """Return arrays of equal rank as a column of nested lists, without an object per number."""
    if arrays[0].dtype == ml_dtypes.bfloat16:
        arrays = [array.astype(np.float32) for array in arrays]
    column = pa.array(np.concatenate([array.reshape(-1) for array in arrays]))
    for axis in range(arrays[0].ndim - 1, -1, -1):
        sizes = [array.shape[axis] for array in arrays for _ in range(_product(array.shape[:axis]))]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        column = pa.ListArray.from_arrays(pa.array(offsets), column)
    return column


def _product(sizes: tuple[int, ...]) -> int:
    return int(np.prod(sizes, dtype=np.int64))


def _describe(folder: Path, features: dict[str, Any], files: list[str], store: LatentStore) -> None:
    identity = store.identity
    assert identity is not None
    info = {
        "citation": "",
        "description": "Step latents: " + json.dumps(identity.to_json(), sort_keys=True),
        "features": features,
        "homepage": "",
        "license": "",
    }
    state: dict[str, Any] = {
        "_data_files": [{"filename": name} for name in files],
        "_fingerprint": identity.space.fingerprint,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    (folder / "dataset_info.json").write_text(json.dumps(info, indent=2), encoding="utf-8")
    (folder / "state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")
