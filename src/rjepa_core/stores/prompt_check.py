"""Check that the prompts of stores begin alike, if their identities do not tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, islice

import numpy as np

from ..domain.identity import unknown
from ..domain.trace import TokenIds, Trace
from ..errors import IdentityError
from ..ports.store import LatentStore
from ..text import count

# Number of problems whose prompts are compared, and of keys searched for them.
_PROMPTS, _KEYS_SEARCHED = 16, 1000
# Number of tokens before a statement that may depend on its first characters.
_BOUNDARY = 4


def check_prompts_alike(stores: Sequence[LatentStore]) -> None:
    """Refuse stores whose prompts begin differently, where one identity knows more than another.

    Raises:
        IdentityError: the token ids before the statement differ.
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
    """Yield the first traces of a store that have token ids; imported ones may have none."""
    keys = (key for key, entry in islice(store.entries(), _KEYS_SEARCHED) if entry.tokens)
    traces = (store.get(key).trace for key in keys)
    return (trace for trace in traces if len(trace.prompt_ids))


def different_problems(store: LatentStore) -> Iterator[Trace]:
    """Yield the first traces with token ids, one per problem."""
    seen: set[str] = set()
    for trace in traces_with_ids(store):
        if trace.problem.id not in seen:
            seen.add(trace.problem.id)
            yield trace
        if len(seen) == _PROMPTS:
            return


def _beginnings(store: LatentStore) -> dict[str, TokenIds]:
    """Return the tokens before the statement, of one problem per domain."""
    beginnings: dict[str, TokenIds] = {}
    for trace in different_problems(store):
        beginnings.setdefault(trace.problem.domain, trace.prompt_ids[: trace.statement_span[0]])
    return beginnings


def compared(one: TokenIds, other: TokenIds) -> str:
    """Describe a difference: `93 tokens there and 99 here, different from token 12 on`."""
    same = min(len(one), len(other))
    first = next((i for i in range(same) if one[i] != other[i]), same)
    there = count(len(one), "token")
    return f"{there} there and {len(other)} here, different from token {first + 1} on"
