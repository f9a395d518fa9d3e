"""`rjepa-cli store compact`: rewrite a store without unused space."""

from __future__ import annotations

import click

from rjepa_core.plugins import locate
from rjepa_core.text import count, size

from ...completion import stores
from ...console import Screen
from ...help import GroupedCommand
from ...progress import ToolMeter
from ...signals import Interrupts
from .options import LEAVING, opened, usual_options


@click.command(
    "compact",
    cls=GroupedCommand,
    epilog="""\b
Examples:
  rjepa-cli store compact runs/qwen
""",
)
@click.argument("store", metavar="STORE", shell_complete=stores)
@usual_options
def command(store: str, as_json: bool) -> int:
    """Rewrite STORE without the space that removed and replaced records left.

    This needs space for a second copy, and no other process may have the store open.
    """
    screen = Screen()
    with screen, Interrupts(LEAVING) as interrupts:
        place = locate(store)
        maintenance = place.maintenance()
        place.require()
        with ToolMeter(screen, interrupts) as meter, interrupts.holding():
            saved = maintenance.compact(place.place, meter)
        with opened(place) as after:
            stats = after.stats()
    if as_json:
        screen.json({"store": store, "bytes_saved": saved, "bytes": stats.bytes_on_disk})
    else:
        screen.result(
            f"compacted: {store} takes {size(stats.bytes_on_disk)}, {size(max(0, saved))} less; "
            f"{count(stats.records, 'record')}"
        )
    return 0
