"""Register the built-in problem sources; the modules that read files are imported when needed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
from attrs import validators as v

from rjepa_core.plugins import SourceAdapter, hookimpl
from rjepa_core.ports.source import ProblemSource
from rjepa_core.settings import ProblemSettings

from . import locations


@attrs.frozen(kw_only=True)
class CsvSettings:
    """Settings of CSV files.

    Attributes:
        delimiter: one character; by default the most frequent of `,`, `;` and tab in the header.
    """

    delimiter: str | None = attrs.field(
        default=None, validator=v.optional(v.and_(v.min_len(1), v.max_len(1)))
    )


@attrs.frozen(kw_only=True)
class DatasetSettings:
    """Settings of Hugging Face datasets: which part is read.

    Attributes:
        config: the dataset's configuration (`main` of `openai/gsm8k`).
        split: the split, also a slice (`train[:100]`); `hf:NAME:SPLIT` overrides it.
        revision: branch, tag or commit on the hub.
    """

    config: str | None = None
    split: str | None = None
    revision: str | None = None


def _jsonl(location: str, problems: ProblemSettings, settings: Any) -> ProblemSource:
    from . import jsonl

    return jsonl.source(location, problems)


def _csv(location: str, problems: ProblemSettings, settings: CsvSettings) -> ProblemSource:
    from . import csv_file

    return csv_file.source(location, problems, settings.delimiter)


def _parquet(location: str, problems: ProblemSettings, settings: Any) -> ProblemSource:
    from . import parquet

    return parquet.source(location, problems)


def _huggingface(
    location: str, problems: ProblemSettings, settings: DatasetSettings
) -> ProblemSource:
    from . import hub

    return hub.source(location, problems, settings.config, settings.split, settings.revision)


def _demo(location: str, problems: ProblemSettings, settings: Any) -> ProblemSource:
    from . import demo

    return demo.source(problems)


@hookimpl
def rjepa_sources() -> Iterable[SourceAdapter]:
    return [
        SourceAdapter(
            name="jsonl",
            summary="JSON Lines: one object per line (.jsonl, .ndjson, .json, also packed)",
            create=_jsonl,
            claims=locations.is_jsonl,
        ),
        SourceAdapter(
            name="csv",
            summary="CSV with a header line (.csv, .tsv, also packed)",
            settings=CsvSettings,
            create=_csv,
            claims=locations.is_csv,
        ),
        SourceAdapter(
            name="parquet",
            summary="Parquet (.parquet; needs rjepa[data])",
            create=_parquet,
            claims=locations.is_parquet,
        ),
        SourceAdapter(
            name="huggingface",
            summary="a dataset: hf:NAME[:SPLIT], OWNER/NAME, or saved on disk (rjepa[data])",
            settings=DatasetSettings,
            create=_huggingface,
            claims=locations.is_dataset,
        ),
        SourceAdapter(
            name="demo",
            summary="two dozen problems written for this project",
            create=_demo,
            claims=lambda location: location == "demo",
        ),
    ]
