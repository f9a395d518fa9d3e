"""`rjepa-cli store export`: write a store as shards or as a Hugging Face dataset."""

from __future__ import annotations

import functools
import os
from typing import Any

import attrs
import click

from rjepa_core.plugins import locate, open_store
from rjepa_core.text import count, size

from ...completion import folders, stores
from ...console import Screen
from ...help import OUTPUT, GroupedCommand
from ...progress import ToolMeter
from ...signals import Interrupts
from .options import LEAVING, opened, usual_options


@click.command(
    "export",
    cls=GroupedCommand,
    groups={OUTPUT: ["--format", "--per-shard", "--workers"]},
    epilog="""\b
Examples:
  rjepa-cli store export runs/qwen shards
  rjepa-cli store export runs/qwen shards --per-shard 5000
  rjepa-cli store export runs/qwen dataset --format dataset
""",
)
@click.argument("store", metavar="STORE", shell_complete=stores)
@click.argument("folder", metavar="DIR", shell_complete=folders)
@click.option(
    "--format",
    "layout",
    type=click.Choice(["shards", "dataset"]),
    default="shards",
    show_default=True,
    help="Shards of safetensors and Parquet, or a Hugging Face dataset on disk.",
)
@click.option(
    "--per-shard",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Records per shard.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Processes that write shards.  [default: one for each core]",
)
@usual_options
def command(
    store: str, folder: str, layout: Any, per_shard: int, workers: int | None, as_json: bool
) -> int:
    """Write the records and failures of STORE into the new directory DIR.

    Shards can be read back with `rjepa-cli store import`; a dataset, with datasets.load_from_disk.
    """
    # Arrow loads slowly, and `--help` does not need it.
    from rjepa_adapters.shards import export_dataset, export_shards

    if workers is not None and layout != "shards":
        raise click.UsageError("--workers: a dataset is written by one process; leave it out")
    screen = Screen()
    with screen, Interrupts(LEAVING) as interrupts:
        place = locate(store)
        with (
            opened(place) as source,
            ToolMeter(screen, interrupts) as meter,
            interrupts.holding(),
        ):
            if layout == "shards":
                count_of = workers or os.cpu_count() or 1
                reopen = functools.partial(open_store, store)
                report = export_shards(source, folder, per_shard, meter, count_of, reopen)
            else:
                report = export_dataset(source, folder, per_shard, meter)
    if as_json:
        screen.json({"store": store, "folder": folder, "format": layout, **attrs.asdict(report)})
    else:
        screen.result(
            f"exported {count(report.records, 'record')} and {count(report.failures, 'failure')} "
            f"to {folder}: {count(len(report.files), 'file')}, {size(report.bytes)}"
        )
    return 0
