"""Hugging Face datasets: by name from the hub, or saved on disk by `save_to_disk`."""

from __future__ import annotations

import re
from typing import Any

import attrs

from rjepa_core.errors import InputError, UsageError
from rjepa_core.settings import ProblemSettings

from ..optional import install_extra
from .locations import HUB_PREFIX, is_saved_dataset
from .reader import RowReader
from .rows import Records, RecordSource, as_text_source, short_floats

DEFAULT_SPLIT = "train"
_SPLIT = re.compile(r"(?P<name>.+):(?P<split>[\w.-]+(?:\[[^\]/]*\])?)")


def source(
    location: str,
    problems: ProblemSettings,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
) -> RecordSource:
    """Return the source of a dataset, which is loaded, memory-mapped, when first read.

    Raises:
        UsageError: `datasets` is not installed.
    """
    library = _datasets(location)
    name = location.removeprefix(HUB_PREFIX)
    if not is_saved_dataset(name) and (match := _SPLIT.fullmatch(name)):
        name, split = match["name"], match["split"]
    if not name:
        raise InputError(f"{location}: name a dataset: hf:OWNER/NAME or hf:OWNER/NAME:SPLIT")
    dataset = _Dataset(location, library, name, config, split, revision)
    return RecordSource(location, dataset.records, RowReader.of(problems))


def _datasets(location: str) -> Any:
    try:
        import datasets
    except ImportError:
        what = "reading a Hugging Face dataset"
        if not (location.startswith(HUB_PREFIX) or is_saved_dataset(location)):
            what = "no such file; reading the Hugging Face dataset of that name"
        raise UsageError(
            f"{location}: {what} needs the package datasets: {install_extra('data')}"
        ) from None
    return datasets


@attrs.define
class _Dataset:
    location: str
    library: Any
    name: str
    config: str | None
    split: str | None
    revision: str | None
    _table: Any = None

    def records(self) -> Records:
        if self._table is None:
            self._table = self._load()
        types = {name: getattr(kind, "dtype", None) for name, kind in self._table.features.items()}
        short = short_floats(types)
        for number, record in enumerate(self._table, 1):
            yield f"{self.location}, row {number}", as_text_source(record, short)

    def _load(self) -> Any:
        try:
            if is_saved_dataset(self.name):
                return self._load_saved()
            return self.library.load_dataset(
                self.name, self.config, split=self.split or DEFAULT_SPLIT, revision=self.revision
            )
        except InputError:
            raise
        except Exception as error:  # the library, its builders and the network may raise anything
            raise InputError(f"{self.location}: {self._explain(error)}") from None

    def _load_saved(self) -> Any:
        found = self.library.load_from_disk(self.name)
        if not isinstance(found, self.library.DatasetDict):
            if self.split is not None:
                raise InputError(
                    f"{self.location}: this folder holds one split; leave out {self.split!r}"
                )
            return found
        names = sorted(map(str, found))
        split = self.split or (names[0] if len(names) == 1 else DEFAULT_SPLIT)
        if split not in found:
            raise InputError(
                f"{self.location}: no split {split!r}; it has {', '.join(names)}: "
                f"hf:{self.name}:{names[0] if names else 'SPLIT'}"
            )
        return found[split]

    def _explain(self, error: Exception) -> str:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        text = " ".join(lines[:2]) or type(error).__name__
        if "onfig name is missing" in text or "BuilderConfig" in text:
            return f"{text} (choose one: problems.huggingface.config=NAME)"
        if "home directory" in text:
            return f"{text} Set HOME, or HF_HOME to a folder for what is downloaded"
        if "split" in text.lower():
            return f"{text} (choose one with hf:{self.name}:SPLIT)"
        return f"no such file, and the dataset {self.name!r} cannot be loaded: {text}"
