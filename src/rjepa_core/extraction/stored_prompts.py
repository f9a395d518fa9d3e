"""What a store's token ids tell of its tokenizer and its date, where its identity does not.

An unknown field agrees with every value, so that the records themselves have to be compared before
others are put beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

from ..domain.identity import Identity, unknown
from ..domain.latents import LatentRecord
from ..domain.problem import GivenSolution
from ..domain.trace import CONTROL_TOKEN, TOO_LONG, Failure, RecordKey, Trace, Work
from ..errors import IdentityError, UnsupportedError
from ..ports.executor import Executor, Watch
from ..ports.store import LatentStore
from ..stores import compared, different_problems, traces_with_ids
from ..text import count
from .queue import Pending

# Completions whose end is compared.
_ENDINGS = 200
# Failures that another tokenizer would not have.
_OF_TOKENS = (CONTROL_TOKEN, TOO_LONG)
_SOLUTION = GivenSolution(steps=("Step",))


def compare_with_run(store: LatentStore, run: Identity, executor: Executor) -> list[str]:
    """Compare what the store holds with what the run would make, for what its identity lacks.

    Returns:
        lines about what the two identities do not tell each other.

    Raises:
        IdentityError: a stored prompt has other token ids, or a completion ends otherwise.
    """
    identity, doubts = store.identity, []
    assert identity is not None
    lacking = unknown(identity, run)
    if "generation.end_ids" in lacking:
        _check_endings(store, run.generation.end_ids or ())
    if lacking:
        agreed, other_days = 0, 0
        if any(key.startswith("space.") for key in lacking):
            agreed, other_days = _compare_prompts(store, run, executor)
        how = f"{count(agreed, 'stored prompt')} compared" if agreed else "nothing to compare"
        doubts.append(
            f"{store.location} did not keep its {_named(lacking)} when it was begun: from "
            f"now on it keeps this run's ({how})"
        )
        if other_days:
            doubts.append(
                f"{store.location}: {other_days} of {agreed + other_days} prompts were posed on "
                f"other days than the store's, {run.space.prompt.date}"
            )
    if lacking := unknown(run, identity):
        doubts.append(
            f"this run does not know its {_named(lacking)}, which {store.location} does; unchecked"
        )
    return doubts


def _compare_prompts(store: LatentStore, run: Identity, executor: Executor) -> tuple[int, int]:
    """How many stored prompts are posed as they were, and how many on another day."""
    traces = {trace.key: trace for trace in different_problems(store)}
    # As given solutions, the prompts are posed and tokenised, and nothing is generated.
    work = [Work(trace.problem, trace.sample, _SOLUTION) for trace in traces.values()]
    posed = _Posed()
    if work:
        try:
            executor.run(run.space.layers, Pending(work), len(work), posed, Watch())
        except UnsupportedError:
            return 0, 0
    other_days = []
    for key, trace in posed.traces.items():
        known = traces[key]
        why = compared(known.prompt_ids, trace.prompt_ids)
        if known.prompt_text != trace.prompt_text:
            other_days.append(f"{key} is posed otherwise, {why}")
        elif not np.array_equal(known.prompt_ids, trace.prompt_ids):
            raise _other_prompts(store, f"{key}, the same text, has {why}: use its tokenizer")
    for failure in posed.failed:
        raise _other_prompts(store, f"{failure.key}: {failure.detail}: use its tokenizer")
    day = run.space.prompt.date
    if other_days and day is None:
        raise _other_prompts(store, f"{other_days[0]}: use its tokenizer_config and chat template")
    if other_days and len(other_days) == len(posed.traces):
        hint = f"set prompt.date to the day on which it was begun; {day} is not that"
        raise _other_prompts(store, f"{other_days[0]}: {hint}")
    return len(posed.traces) - len(other_days), len(other_days)


def _other_prompts(store: LatentStore, why: str) -> IdentityError:
    return IdentityError(
        f"{store.location} holds other prompts than this run's: {why}, or another store"
    )


def _check_endings(store: LatentStore, end_ids: Sequence[int]) -> None:
    for trace in islice(traces_with_ids(store), _ENDINGS):
        ids = trace.completion_ids
        ended = trace.finish_reason == "stop"
        inside, last = (ids[:-1], ids[-1:]) if ended else (ids, ids[:0])
        early = inside[np.isin(inside, list(end_ids))]
        if len(early) or not np.isin(last, list(end_ids)).all():
            what = f"goes on after token {early[0]}" if len(early) else f"ends with token {last[0]}"
            ours = ", ".join(map(str, end_ids)) or "none"
            raise IdentityError(
                f"{store.location} was made with other generation.end_ids than this run's ({ours}):"
                f" {trace.key} {what}; use its end-of-sequence tokens, or another store"
            )


class _Posed:
    """A sink that keeps traces, not records."""

    def __init__(self) -> None:
        self.traces: dict[RecordKey, Trace] = {}
        self.failed: list[Failure] = []

    def write(self, records: Sequence[LatentRecord], failures: Sequence[Failure] = ()) -> None:
        self.traces.update((record.key, record.trace) for record in records)
        self.failed += [failure for failure in failures if failure.reason in _OF_TOKENS]

    def commit(self) -> None:
        """Nothing is kept."""


def _named(keys: Sequence[str]) -> str:
    return ", ".join(key.partition(".")[2] for key in keys)
