"""`rjepa-cli store merge`: merge the records of several stores into one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import combinations
from typing import Any

import attrs
import click

from rjepa_core.domain.identity import differences
from rjepa_core.errors import IdentityError, MergeConflictError, UsageError
from rjepa_core.plugins import Registry, StorePlace, locate
from rjepa_core.ports.store import LatentStore
from rjepa_core.stores import MergeReport, check_prompts_alike
from rjepa_core.stores import merge as merge_stores
from rjepa_core.text import count, shell_word

from ...completion import stores
from ...console import Screen
from ...errors import InterruptedRunError
from ...help import GroupedCommand
from ...program import program
from ...progress import ToolMeter
from ...signals import Interrupts
from .options import opened, usual_options


@click.command(
    "merge",
    cls=GroupedCommand,
    groups={"Records that differ": ["--on-conflict"]},
    epilog="""\b
Examples:
  rjepa-cli store merge runs/all runs/machine-1 runs/machine-2
  rjepa-cli store merge runs/all runs/redone --on-conflict source
""",
)
@click.argument("target", metavar="TARGET", shell_complete=stores)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, shell_complete=stores)
@click.option(
    "--on-conflict",
    "winner",
    type=click.Choice(["refuse", "target", "source"]),
    default="refuse",
    show_default=True,
    help="Which record is kept if two differ; of several sources, the last one's.",
)
@usual_options
def command(target: str, sources: tuple[str, ...], winner: Any, as_json: bool) -> int:
    """Add the records and failures of the SOURCE stores to TARGET, a new store or one like them.

    All must have the same latent space and generation. A record replaces a failure; equal records
    are skipped. The sources are not changed.
    """
    screen = Screen()
    with screen, Interrupts() as interrupts:
        registry = Registry()
        into = locate(target, registry)
        places = [locate(source, registry) for source in sources]
        _refuse_repeated([into, *places])
        with ExitStack() as stack:
            stores = [stack.enter_context(opened(place)) for place in places]
            if into.exists:
                with opened(into) as before:
                    _check_identities([before, *stores])
            else:
                _check_identities(stores)
            report = None
            with _target(into) as whole, screen.noted(whole.add_history):
                with (
                    suppress(KeyboardInterrupt),
                    _naming_the_option(),
                    ToolMeter(screen, interrupts) as meter,
                    interrupts.holding(),
                ):
                    report = merge_stores(whole, stores, winner, meter)
                stats = whole.stats()
            if report is None:
                raise InterruptedRunError(
                    "interrupted; repeat the command to continue: what was merged counts as equal"
                )
    if as_json:
        facts = {"sources": list(sources), **attrs.asdict(report), "total": stats.records}
        screen.json({"target": target, **facts, "total_failures": stats.failures})
    else:
        screen.result(*_merge_lines(report, target, stats.records))
    return 0


@contextmanager
def _target(into: StorePlace) -> Iterator[LatentStore]:
    """Open the store to merge into; a new one appears only if the merge is not refused.

    If its adapter cannot build stores, it is created at once.
    """
    if into.exists or into.adapter.maintenance is None:
        with opened(into, "write") as whole:
            yield whole
    else:
        with into.maintenance().build(into.place) as whole:
            yield whole


@contextmanager
def _naming_the_option() -> Iterator[None]:
    """Add the option that decides to the message of a refused merge."""
    try:
        yield
    except MergeConflictError as error:
        raise MergeConflictError(f"{error} (--on-conflict)") from None


def _refuse_repeated(places: Sequence[StorePlace]) -> None:
    seen: set[tuple[str, str]] = set()
    for place in places:
        where = (place.adapter.name, os.path.realpath(place.place))
        if where in seen:
            raise UsageError(f"{place.path} is named twice; a store is not merged with itself")
        seen.add(where)


def _check_identities(stores: Sequence[LatentStore]) -> None:
    """Refuse stores that cannot be merged, before the target is created.

    Raises:
        IdentityError: they differ; the message names the settings.
    """
    known = [(store, store.identity) for store in stores if store.identity is not None]
    for (first, ours), (store, identity) in combinations(known, 2):
        if differing := differences(ours, identity):
            named = "; ".join(f"{key} is {a:.60} and {b:.60}" for key, a, b in differing)
            raise IdentityError(
                f"{first.location} and {store.location} hold different kinds of records, which "
                f"cannot be merged: {named}"
            )
    check_prompts_alike(stores)


def _merge_lines(report: MergeReport, target: str, total: int) -> list[str]:
    parts = [f"{count(report.added, 'record')} added"]
    for number, what in (
        (report.equal, "equal"),
        (report.replaced, "replaced by the source's"),
        (report.kept, "kept as the target's"),
    ):
        if number:
            parts.append(f"{number:,} {what}")
    if report.failures:
        parts.append(f"{count(report.failures, 'failure')} added")
    if report.grades:
        parts.append(f"{count(report.grades, 'grade')} added")
    if report.grades_left:
        parts.append(f"{count(report.grades_left, 'grade')} left out: {target} keeps none")
    return [
        f"merged: {', '.join(parts)}; {target} holds {count(total, 'record')}",
        f"look at it: {program()} show {shell_word(target)}",
    ]
