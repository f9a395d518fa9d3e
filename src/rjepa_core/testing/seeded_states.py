"""Hidden states of the seeded backend: what a causal model would have, from hashes alone.

The state of a token is a random vector of its own, times a number that follows from all tokens up
to it. So a vector changes with every token that a model's would, and with no other; pooling is
pooling; and nothing depends on threads or batches.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Words = NDArray[np.uint64]

VOCABULARY = 257
# Pooled over about thirty tokens, values are then about 1.
_SIZE = 8.0
_FACTOR = 6364136223846793005  # of Knuth's linear congruential generator
_INVERSE = pow(_FACTOR, -1, 2**64)


def hidden_states(
    ids: NDArray[np.int32], positions: slice, layer: int, key: str, width: int
) -> Floats:
    """float32 [T, D], the states of the tokens at `positions`, after all tokens before them.

    Args:
        ids: int32, of prompt and completion together.
        positions: T of them.
        layer: absolute.
        key: what the model's weights are.
        width: D.
    """
    chosen = ids[positions]
    past = _mixed(_history(ids[: positions.stop], key)[positions] + np.uint64(layer))
    factors = (past >> np.uint64(40)).astype(np.float32) / np.float32(2**23) - np.float32(1)
    return _table(layer, key, width)[chosen % VOCABULARY] * (factors * np.float32(_SIZE))[:, None]


def pool(states: Floats, pooling: str) -> Floats:
    """float32 [D] of states [T, D]."""
    pooled: Floats = states[-1]
    if pooling == "mean":
        pooled = states.mean(0)
    elif pooling == "max":
        pooled = states.max(0)
    return pooled


def _history(ids: NDArray[np.int32], key: str) -> Words:
    """A hash of each token and all before it: h[t] = factor · (h[t-1] + id[t] + 1)."""
    powers = np.full(len(ids), _FACTOR, np.uint64).cumprod(dtype=np.uint64)
    inverses = np.full(len(ids), _INVERSE, np.uint64).cumprod(dtype=np.uint64)
    added = (ids.astype(np.uint64) + np.uint64(1)) * inverses * np.uint64(_FACTOR)
    begun = np.uint64(_number(key) % 2**64)
    history: Words = (added.cumsum(dtype=np.uint64) + begun) * powers
    return history


def _mixed(words: Words) -> Words:
    """Every bit of the result depends on every bit of a word (the finaliser of splitmix64)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


@lru_cache(maxsize=64)
def _table(layer: int, key: str, width: int) -> Floats:
    """float32 [vocabulary, D]."""
    random = np.random.Generator(np.random.Philox(key=_number(f"{key}:{layer}")))
    return random.standard_normal((VOCABULARY, width), np.float32)


def _number(text: str) -> int:
    return int.from_bytes(
        hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16], "little"
    )
