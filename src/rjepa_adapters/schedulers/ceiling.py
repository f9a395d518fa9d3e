"""What is known not to fit, and what is."""

from __future__ import annotations

import math

# What fits is not the same for every batch of a load. A limit keeps this far from what failed.
_MARGIN = 0.8
# The way back up ends this close below what failed.
_NEAR = 1.25
_GROWTH = 6


class Ceiling:
    """A limit on the load (tokens, or rows where tokens are unknown), learned from failures.

    After a failure the limit falls to what has held, or to half. Behind each wait of batches that
    filled it, it rises half way to what failed; each failure makes the wait six times longer.
    Once it is near what failed, only a wait six times longer still tries that again: memory may
    have been freed meanwhile.
    """

    def __init__(self, patience: int) -> None:
        self._wait = float(patience)
        self._patience = patience
        self._passed = 0.0
        self._held = 0.0
        self._bad = math.inf
        self._failures = 0
        self._fitted = True
        self.limit = math.inf

    def failed(self, load: float) -> None:
        """A load did not fit."""
        if load >= self._bad and load > self.limit:
            return  # known already: a problem too large to fit even alone
        if load <= self._held:
            self._held = _MARGIN * load
        self._bad = min(self._bad, load)
        self.limit = min(self.limit, max(self._held, load / 2), _MARGIN * load)
        self._passed = 0.0
        if self._fitted:  # a retry that fails again is the same trouble
            self._wait = float(self._patience * _GROWTH**self._failures)
            self._failures += 1
        self._fitted = False

    def fits(self, load: float, batches: float = 1.0) -> bool:
        """A load did fit, for so many batches' time. True if the limit rose after it."""
        self._fitted = True
        if math.isinf(self.limit):
            self._held = max(self._held, load)
            return False
        if load < 0.7 * self.limit:
            return False
        self._passed += batches
        near = self._bad < _NEAR * self.limit
        if self._passed < (self._wait * _GROWTH if near else self._wait):
            return False
        self._passed = 0.0
        self._held = self.limit
        if near:
            self.limit, self._bad = self._bad, 1.5 * self._bad
        else:
            self.limit = math.sqrt(self.limit * self._bad)
        return True
