"""`rjepa-cli store import`: read shards into a new store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import click

from rjepa_core.domain.identity import Identity
from rjepa_core.domain.problem import Problem
from rjepa_core.errors import InputError, RJepaError, StoreExistsError, UsageError
from rjepa_core.plugins import (
    DEFAULT_STORE,
    Registry,
    StoreAdapter,
    StorePlace,
    locate,
    open_sources,
)
from rjepa_core.ports.store import LatentStore
from rjepa_core.settings import ProblemSettings
from rjepa_core.text import count, shell_word

from ...completion import files, folders, stores
from ...config import field_pairs
from ...console import Screen
from ...errors import InterruptedRunError
from ...help import GroupedCommand
from ...program import program
from ...progress import ToolMeter
from ...signals import Interrupts
from ...wording import wording
from .named_identity import IDENTITY_GROUPS, MARK, given_options, identity_options, named_identity
from .options import LEAVING, opened, usual_options
from .shard_folder import ShardFolder


@click.command(
    "import",
    cls=GroupedCommand,
    groups={**IDENTITY_GROUPS, "Statements": ["--problems", "--field", "--problem-id"]},
    epilog="""\b
Examples:
  rjepa-cli store import shards runs/again         (what `store export` wrote)

\b
  Shards of the original project, which do not say how they were made:
  rjepa-cli store import gsm8k_train_smollm2 runs/gsm8k \\
      --model SmolLM2-135M-Instruct --layer -2 --hidden-states 31 \\
      --pooling mean --compute-dtype float32 --quantisation none \\
      --steps lines --generation given \\
      --problems gsm8k_train.jsonl --field statement=question \\
      --problem-id "gsm8k-train-{line:05d}"
""",
)
@click.argument("folder", metavar="DIR", shell_complete=folders)
@click.argument("store", metavar="STORE", shell_complete=stores)
@identity_options
@click.option(
    "--problems",
    "sources",
    multiple=True,
    metavar="FILE",
    help="Statements by problem id, for shards that have none. Repeatable.",
    shell_complete=files,
)
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="OURS=THEIRS",
    help="Which field of --problems holds ours: statement=question. Repeatable.",
)
@click.option(
    "--problem-id",
    "pattern",
    metavar="PATTERN",
    help="Ids for rows of --problems without one: {line} is the row's number, from 0.",
)
@usual_options
def command(
    folder: str,
    store: str,
    sources: tuple[str, ...],
    fields: tuple[str, ...],
    pattern: str | None,
    as_json: bool,
    **named: Any,
) -> int:
    """Read the shards in DIR into the new STORE.

    For shards without identity.json, name it with the options; the store keeps a note of that.
    Records without token ids can be trained on and scored, but not encoded again.
    """
    from rjepa_adapters.shards import import_shards

    wording().learn({"problems.sources": "--problems", "problems.fields": "--field"})
    screen = Screen()
    with screen, Interrupts(LEAVING) as interrupts:
        registry = Registry()
        _refuse_store(folder, registry)
        shards, place = ShardFolder.find(folder), locate(store, registry)
        identity = _identity(shards, folder, named)
        problems = _problems(sources, fields, pattern, shards, registry)
        total = shards.rows()
        meter = ToolMeter(screen, interrupts, total)
        with _new_store(place) as target, screen.noted(target.add_history):
            with meter, interrupts.holding():
                report = import_shards(folder, target, identity, problems, meter)
            stats = target.stats()
    without_ids = report.records > 0 and not stats.tokens
    if as_json:
        facts = {**attrs.asdict(report), "steps": stats.steps, "token_ids": not without_ids}
        marked = MARK if identity is not None else None
        screen.json({"folder": folder, "store": store, **facts, "identity": marked})
        return 0
    lines = [
        f"imported {count(report.records, 'record')} of {count(stats.steps, 'step')} and "
        f"{count(report.failures, 'failure')} from {folder} into {store}"
    ]
    if without_ids:
        lines.append("no token ids: it can be trained on and scored, not encoded again")
    screen.result(*lines, f"look at it: {program()} show {shell_word(store)}")
    return 0


def _refuse_store(folder: str, registry: Registry) -> None:
    """Refuse a store given in place of shards; both have an identity.json.

    Raises:
        UsageError: the folder is a store and contains no shards.
    """
    if any(Path(folder).glob("*.safetensors")):
        return
    if registry.find(StoreAdapter, DEFAULT_STORE).exists(folder):
        raise UsageError(
            f"{folder}: is a store, not the shards of one; copy the directory, or use "
            f"`{program()} store merge NEW_STORE {shell_word(folder)}`"
        )


@contextmanager
def _new_store(place: StorePlace) -> Iterator[LatentStore]:
    """Open the store to import into; if its adapter can build stores, a failed import leaves none.

    Raises:
        StoreExistsError: the store is not empty.
        InterruptedRunError: Ctrl-C was pressed; the message says what is left.
    """
    if not place.exists and place.adapter.maintenance is not None:
        try:
            with place.maintenance().build(place.place) as store:
                yield store
        except KeyboardInterrupt:
            raise InterruptedRunError(f"interrupted; nothing is left of {place.path}") from None
        return
    left = f"{place.path} holds a part, remove it before the next try"
    with opened(place, "write") as store:
        held = len(store)
        if held or next(store.failures(), None) is not None:
            raise StoreExistsError(
                f"{place.path} holds {count(held, 'record')}; import into a new store, then "
                f"`{program()} store merge` brings the two together"
            )
        try:
            yield store
        except RJepaError as error:
            raise type(error)(f"{error}; {left}") from error
        except KeyboardInterrupt:
            raise InterruptedRunError(f"interrupted; {left}") from None


def _identity(shards: ShardFolder, folder: str, named: dict[str, Any]) -> Identity | None:
    """Return the identity that the options name; None for shards that have their own."""
    if not shards.has_identity:
        return named_identity(named, shards.shape(), folder)
    if given := given_options(named):
        raise UsageError(
            f"{folder} has an identity.json, which says how its vectors were made; "
            f"leave out {', '.join(given)}"
        )
    return None


def _problems(
    sources: Sequence[str],
    fields: Sequence[str],
    pattern: str | None,
    shards: ShardFolder,
    registry: Registry,
) -> dict[str, Problem]:
    """Return the shards' problems found in the sources, by id.

    Raises:
        InputError: none is found, or an id has two statements.
    """
    if not sources:
        if fields or pattern:
            raise UsageError("--field and --problem-id belong to --problems FILE")
        return {}
    wanted = shards.problem_ids()
    settings = ProblemSettings(sources=tuple(sources), fields=dict(field_pairs(fields)))
    found: dict[str, Problem] = {}
    example = None
    for source in open_sources(settings, registry):
        for line, row in enumerate(source.rows()):
            problem = row.problem
            if pattern is not None:
                problem = attrs.evolve(problem, id=_formatted(pattern, line))
            example = example or problem.id
            if problem.id not in wanted:
                continue
            if problem.id in found and found[problem.id].statement != problem.statement:
                raise InputError(
                    f"{row.where}: problem {problem.id!r} is there already with another statement"
                )
            found[problem.id] = problem
    if wanted and not found:
        raise InputError(
            f"{', '.join(sources)}: none of the shards' problems is there; theirs are called "
            f"{min(wanted)!r}, those in the file {example!r} (see --problem-id)"
        )
    return found


def _formatted(pattern: str, line: int) -> str:
    try:
        text = pattern.format(line=line)
    except (LookupError, ValueError) as error:
        raise UsageError(
            f"--problem-id {pattern!r}: only {{line}} can be in braces ({error})"
        ) from None
    if "{line" not in pattern:
        raise UsageError(f"--problem-id {pattern!r}: it must contain {{line}}")
    return text
