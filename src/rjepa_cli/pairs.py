"""Options with two parts: `--field OURS=THEIRS` and `--prompt-template [DOMAIN=]FILE`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from rjepa_core.errors import SettingsError

from .config import read_text


def field_pairs(pairs: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Our field's name and the source's, of each `OURS=THEIRS`; `OURS=` drops it."""
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not equals or not re.fullmatch(r"\w+", ours):
            raise SettingsError(
                f"--field {pair!r}: write it as OURS=THEIRS, for example statement=question"
            )
        yield ours, theirs


def template_files(values: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Domain, where it comes from, and text, of each `[DOMAIN=]FILE`."""
    for value in values:
        domain, equals, file = value.partition("=")
        if not equals or not re.fullmatch(r"[\w-]+", domain) or Path(value).exists():
            domain, file = "default", value
        text = read_text(file, "--prompt-template").rstrip("\n")
        yield domain, f"--prompt-template {file}", text
