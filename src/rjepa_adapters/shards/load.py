"""Import shards of safetensors and Parquet, as `export` writes them, into a store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rjepa_core.domain.grade import Grade, check_grade
from rjepa_core.domain.identity import Identity, check_same
from rjepa_core.domain.latents import LatentRecord, check_fits
from rjepa_core.domain.problem import Problem
from rjepa_core.domain.trace import Failure, RecordKey
from rjepa_core.errors import ArgumentError, InputError, UnsupportedError, UsageError
from rjepa_core.ports.maintenance import Report, ToolProgress, ignore
from rjepa_core.ports.store import KeepsGrades, LatentStore
from rjepa_core.settings import STORE_DTYPES

from ..optional import import_optional
from .manifest import (
    FAILURES,
    GRADES,
    CopyReport,
    check_bytes,
    check_counts,
    check_files,
    read_manifest,
)
from .table import from_row
from .tensors import TensorFile

_ROWS = 256


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
        InputError: the shards cannot be read, are not those that were exported, or do not match
            each other or the identity.
        UsageError: an identity is needed and missing, or pyarrow is missing.
        IdentityError: the store's identity differs.
    """
    parquet = import_optional("pyarrow.parquet", "store import")
    folder = Path(source)
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    manifest = read_manifest(folder)
    if not names and manifest is None:
        raise InputError(f"{source}: no *.safetensors file there; name the shards' directory")
    if manifest is not None:
        check_files(folder, manifest)
        if identity is not None:
            check_same(identity, manifest.identity, source)
        identity = manifest.identity
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
        for path in (folder / name, rows):
            check_bytes(path, manifest)
            size += path.stat().st_size
        with TensorFile(folder / name) as tensors:
            for row in _rows_of(rows, parquet):
                problem = (problems or {}).get(row["problem_id"])
                record = _record(row, tensors, identity, problem, f"{folder.name}/{name}")
                store.write([record])
                count += 1
                report(ToolProgress("importing", count))
    if (folder / FAILURES).exists():
        check_bytes(folder / FAILURES, manifest)
        failures = _import_failures(folder / FAILURES, store, report)
    grades = 0
    if (folder / GRADES).exists():
        check_bytes(folder / GRADES, manifest)
        grades = _import_grades(folder / GRADES, store, report)
    check_counts(folder, manifest, count, failures, grades)
    store.commit()
    for entry in manifest.history if manifest is not None else ():
        store.add_history(entry)
    store.add_history(
        {
            "kind": "import",
            "source": source,
            "records": count,
            "identity": "identity.json" if manifest is not None else "named by the user",
        }
    )
    return CopyReport(count, failures, tuple(names), size, grades)


def _rows_of(path: Path, parquet: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table.

    Raises:
        InputError: it is not a Parquet file, damaged, or lacks the columns that name a record.
    """
    arrow = import_optional("pyarrow", "store import")
    try:
        with open(path, "rb") as file, parquet.ParquetFile(file) as table:
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
    """Return the record of a row.

    Raises:
        InputError: a part of it is missing, or its parts do not match; the message names the row.
    """
    name = row["cot_id"]
    try:
        record = _assemble(row, tensors, identity, problem, where)
        check_fits(record, identity)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise InputError(f"{where}: the row of {name!r} cannot be used ({error})") from error
    _check_steps(row, record, where)
    _check_finite(record, f"{where}: {name!r}")
    return record


def _assemble(
    row: Mapping[str, Any],
    tensors: TensorFile,
    identity: Identity,
    problem: Problem | None,
    where: str,
) -> LatentRecord:
    name = row["cot_id"]
    space = identity.space
    layers = len(space.layers)
    latents = tensors.get(name)
    if f"{name}/prompt" not in tensors:
        raise InputError(
            f"{where}: {name!r} has no prompt latent (tensor {name}/prompt); encode the solutions "
            "again (problems.traces)"
        )
    prompt = tensors.get(f"{name}/prompt")
    if layers == 1:
        latents, prompt = latents[None], prompt[None]
    logprobs = tensors.get(f"{name}/logprobs") if identity.logprobs else None
    wanted = STORE_DTYPES[space.store_dtype]
    if latents.dtype != wanted or latents.ndim != 3 or latents.shape[2] != space.hidden_size:
        raise InputError(
            f"{where}: {name!r} is {latents.dtype} {list(latents.shape)}; the identity says "
            f"{wanted} with {layers} layers and hidden size {space.hidden_size}"
        )
    return LatentRecord(from_row(row, problem, where), latents, prompt, logprobs)


def _check_steps(row: Mapping[str, Any], record: LatentRecord, where: str) -> None:
    """Check that a row has as many steps as vectors.

    Shards without token ids have no spans, and may have no texts.
    """
    trace, steps = record.trace, record.latents.shape[1]
    spans = len(trace.spans)
    counts = {"num_steps": row.get("num_steps"), "spans": spans, "steps": len(trace.step_texts)}
    if row.get("thinking") is not None:
        counts["thinking"] = len(row["thinking"])
    if not len(trace.completion_ids):
        counts = {what: number for what, number in counts.items() if number}
    for what, number in counts.items():
        if number is not None and number != steps:
            raise InputError(
                f"{where}: {row['cot_id']!r} has {steps} vectors of steps and {number} in its "
                f"{what}; the shard and its table do not belong together"
            )
    if spans and trace.spans[-1].stop > len(trace.completion_ids):
        raise InputError(
            f"{where}: {row['cot_id']!r} has {len(trace.completion_ids)} tokens, and a step that "
            f"ends at token {trace.spans[-1].stop}"
        )


def _check_finite(record: LatentRecord, name: str) -> None:
    """Refuse NaN and infinite values, as an extraction does."""
    parts = {"vectors": record.latents, "prompt latent": record.prompt_latent}
    if record.logprobs is not None:
        parts["log-probabilities"] = record.logprobs
    for what, values in parts.items():
        finite = np.isfinite(values)
        if not finite.all():
            bad = int(finite.size - finite.sum())
            raise InputError(
                f"{name}: {bad} of {finite.size} values of its {what} are NaN or infinite; encode "
                "it again, or leave it out of the shard"
            )


def _import_grades(path: Path, store: LatentStore, report: Report) -> int:
    """Grades of the records that were imported before.

    Raises:
        UnsupportedError: the store keeps none.
        InputError: a line is no grade, or of a record that is not there.
    """
    if not isinstance(store, KeepsGrades):
        raise UnsupportedError(
            f"{store.location}: keeps no grades, and {path} holds some; import into another kind "
            f"of store, or take {path.name} away"
        )
    count = 0
    with open(path, encoding="utf-8", errors="surrogateescape") as lines:
        for count, line in enumerate(lines, 1):
            try:
                fields = json.loads(line)
                key = RecordKey(str(fields["key"]["problem_id"]), int(fields["key"]["sample"]))
                grade = Grade(**{**fields, "key": key})
                check_grade(grade)
                store.write_grades([grade])
            except KeyError as error:
                raise InputError(f"{path}:{count}: no grade ({error} is missing)") from error
            except (ValueError, TypeError, ArgumentError) as error:
                reason = str(error).replace("Grade.__init__() ", "")
                raise InputError(f"{path}:{count}: no grade ({reason})") from error
            report(ToolProgress("importing grades", count))
    return count


def _import_failures(path: Path, store: LatentStore, report: Report) -> int:
    count = 0
    with open(path, encoding="utf-8", errors="surrogateescape") as lines:
        for count, line in enumerate(lines, 1):
            try:
                fields = json.loads(line)
                key = RecordKey(str(fields["key"]["problem_id"]), int(fields["key"]["sample"]))
                failure = Failure(**{**fields, "key": key})
            except KeyError as error:
                raise InputError(f"{path}:{count}: no failure ({error} is missing)") from error
            except (ValueError, TypeError) as error:
                reason = str(error).replace("Failure.__init__() ", "")
                raise InputError(f"{path}:{count}: no failure ({reason})") from error
            store.write([], [failure])
            report(ToolProgress("importing failures", count))
    return count
