"""Export a store as shards of safetensors and Parquet, in the original project's layout.

Per record, `shard-0000.safetensors` holds a tensor `ID` [S, D] ([L, S, D] for several layers),
`ID/prompt` ([D] or [L, D]) and, if the store has them, `ID/logprobs` [S], and `shard-0000.parquet`
a row. `identity.json` holds latent space, generation, run history and the export's files,
`failures.jsonl` the failures, `grades.jsonl` the grades if there are any. `load` reads them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import attrs

from rjepa_core.domain.identity import Identity
from rjepa_core.ports.maintenance import Report, ToolProgress, ignore
from rjepa_core.ports.store import KeepsGrades, LatentStore
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
from .shard import ShardWriters, write_shard


def export_shards(
    store: LatentStore,
    target: str,
    per_shard: int = 1000,
    report: Report = ignore,
    workers: int = 1,
    reopen: Callable[[], LatentStore] | None = None,
) -> CopyReport:
    """Write a store's committed records and failures as shards into the new directory `target`.

    Args:
        store: open for reading.
        target: a directory.
        per_shard: records per shard.
        report: called with the progress.
        workers: processes that write shards; the files are the same. With several, a record that is
            replaced meanwhile may be the new one.
        reopen: opens the same store in each of several processes; it can be pickled.

    Raises:
        StoreError: several processes were to write, and one was lost, or a record was removed.
        UsageError: `target` is not empty, `per_shard` is below 1, or pyarrow is missing.
    """
    import_optional("pyarrow.parquet", "store export")
    identity = check_exportable(store, per_shard)
    with unfinished(target, MANIFEST) as folder, ExitStack() as stack:
        pool = None
        workers = min(workers, -(-len(store) // per_shard))
        if workers > 1 and reopen is not None:
            pool = stack.enter_context(ShardWriters(workers, reopen, identity, store.location))
        return _export(store, identity, folder, per_shard, report, pool)


def _export(
    store: LatentStore,
    identity: Identity,
    folder: Path,
    per_shard: int,
    report: Report,
    pool: ShardWriters | None,
) -> CopyReport:
    files: list[str] = []
    done = failures = shards = 0
    with store.snapshot() as snapshot:
        total = len(snapshot)

        def count(records: int) -> None:
            nonlocal done
            done += records
            report(ToolProgress("exporting", done, total))

        for entries in chunked(snapshot.entries(), per_shard):
            stem = folder / f"shard-{shards:04d}"
            if pool is None:
                write_shard(snapshot, identity, entries, stem, count)
            else:
                pool.submit(entries, stem, count)
            files += [stem.name + ".safetensors", stem.name + ".parquet"]
            shards += 1
        if pool is not None:
            pool.finish(count)
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
