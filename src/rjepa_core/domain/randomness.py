"""Random numbers that depend on a problem, not on the batch it happens to be in."""

from __future__ import annotations

import hashlib

import numpy as np

from .trace import RecordKey


def row_generator(seed: int, key: RecordKey, purpose: str = "sampling") -> np.random.Generator:
    """Return the random generator of one (problem, sample) pair.

    Its numbers depend only on the seed, the problem's id, the sample's index and the purpose:
    another batch size or order, a resumed run or another machine draws the same ones. Philox is
    counter-based and NumPy keeps its stream stable across versions (Salmon et al. 2011, "Parallel
    random numbers: as easy as 1, 2, 3").
    """
    text = f"{purpose}\0{seed}\0{key.problem_id}\0{key.sample}"
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
