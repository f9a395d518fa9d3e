"""What the commands of `rjepa-cli store` share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from rjepa_core.plugins import StorePlace
from rjepa_core.ports.maintenance import Damage
from rjepa_core.ports.store import LatentStore, StoreMode

DAMAGED = 3
# What a command without anything to commit does when a signal arrives.
LEAVING = "leaving what is half done"
_DAMAGES_SHOWN = 50
F = TypeVar("F", bound=Callable[..., Any])


def usual_options(function: F) -> F:
    """Add `--json` (as `as_json`) and `--debug`."""
    function = click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")(
        function
    )
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object instead of text."
    )(function)


@contextmanager
def opened(place: StorePlace, mode: StoreMode = "read") -> Iterator[LatentStore]:
    """Open the store and close it afterwards."""
    store = place.open(mode)
    try:
        yield store
    finally:
        store.close()


def damage_lines(damages: Sequence[Damage]) -> list[str]:
    """Return a line for each of the first damages, and one that counts the others."""
    lines = [f"  {damage}" for damage in damages[:_DAMAGES_SHOWN]]
    if len(damages) > _DAMAGES_SHOWN:
        lines.append(f"  … and {len(damages) - _DAMAGES_SHOWN:,} more; --json lists all")
    return lines
