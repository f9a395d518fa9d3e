"""`--out DIR`: where a command leaves its reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rjepa_core.errors import UsageError


def new_reports(out: str | None, names: Sequence[str]) -> Path | None:
    """The folder for reports of these names, made before hours are spent; None where none is asked.

    Raises:
        UsageError: it cannot be made, or holds one of them.
    """
    if out is None:
        return None
    if not out:
        raise UsageError("--out names no folder")
    place = Path(out)
    if place.exists() and not place.is_dir():
        raise UsageError(f"--out {out}: is not a folder")
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name in names:
            if (place / name).exists():
                raise UsageError(f"--out {out}: holds a {name} already; give another folder")
            (place / name).touch()
            (place / name).unlink()
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror}") from None
    return place
