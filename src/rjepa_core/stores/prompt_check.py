"""Whether the prompts of several stores begin alike, where their identities do not tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, islice

import numpy as np

from ..domain.identity import unknown
from ..domain.trace import TokenIds, Trace
from ..errors import IdentityError
from ..ports.store import LatentStore

# Problems whose prompts are compared, and keys looked at for them.
_PROMPTS, _LOOKED_AT = 16, 1000
# Tokens in front of a statement that may depend on its first characters.
_BOUNDARY = 4


def check_prompts_alike(stores: Sequence[LatentStore]) -> None:
    """Compare how the prompts of stores begin, where one's identity lacks what another's tells.

    Raises:
        IdentityError: the token ids in front of the statement differ.
    """
    for one, other in combinations(stores, 2):
        a, b = one.identity, other.identity
        if a is None or b is None or unknown(a.space, b.space) == unknown(b.space, a.space):
            continue
        ours, theirs = _beginnings(one), _beginnings(other)
        for domain in ours.keys() & theirs.keys():
            x, y = ours[domain], theirs[domain]
            size = max(0, min(len(x), len(y)) - _BOUNDARY)
            if not np.array_equal(x[:size], y[:size]):
                raise IdentityError(
                    f"{one.location} and {other.location} were made by different tokenizers, or "
                    "posed on different days, which only one of them tells: in front of the "
                    f"statement {compared(x, y)}"
                )


def traces_with_ids(store: LatentStore) -> Iterator[Trace]:
    """The first of the store that have token ids; imported ones may have none."""
    keys = (key for key, entry in islice(store.entries(), _LOOKED_AT) if entry.tokens)
    traces = (store.get(key).trace for key in keys)
    return (trace for trace in traces if len(trace.prompt_ids))


def different_problems(store: LatentStore) -> Iterator[Trace]:
    seen: set[str] = set()
    for trace in traces_with_ids(store):
        if trace.problem.id not in seen:
            seen.add(trace.problem.id)
            yield trace
        if len(seen) == _PROMPTS:
            return


def _beginnings(store: LatentStore) -> dict[str, TokenIds]:
    """The tokens in front of the statement, of one problem a domain."""
    found: dict[str, TokenIds] = {}
    for trace in different_problems(store):
        found.setdefault(trace.problem.domain, trace.prompt_ids[: trace.statement_span[0]])
    return found


def compared(one: TokenIds, other: TokenIds) -> str:
    """`93 tokens there and 99 here, different from token 12 on`."""
    same = min(len(one), len(other))
    first = next((i for i in range(same) if one[i] != other[i]), same)
    return f"{len(one)} tokens there and {len(other)} here, different from token {first + 1} on"
