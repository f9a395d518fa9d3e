"""What is known not to fit, and what is."""

from __future__ import annotations

import math

# The way back up ends this close below what failed: nearer, long problems decide what fits.
_NEAR = 1.25
_GROWTH = 4


class Ceiling:
    """A limit on the load (tokens, or rows where tokens are unknown), learned from failures.

    After a failure the limit falls to what is known to fit. Behind each wait of batches that
    filled it, it rises half way to what failed; each failure makes the wait four times longer.
    Once it is within a quarter of what failed, only a wait four times longer tries that again:
    memory may have been freed meanwhile.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._wait = patience
        self._passed = 0.0
        self._good = 0.0
        self._bad = math.inf
        self._failures = 0
        self._fitted = True
        self.limit = math.inf

    @property
    def known_bad(self) -> float:
        """The smallest load that failed; infinite where none did."""
        return self._bad

    def failed(self, load: float) -> None:
        """A load did not fit."""
        if load >= self._bad and load > self.limit:
            return  # known already: a problem too large to fit even alone
        self._bad = min(self._bad, load) if load > self._good else load
        self._good = min(self._good, 0.8 * load)
        self.limit = min(self.limit, max(self._good, load / 2))
        self._passed = 0.0
        if self._fitted:  # a retry that fails again is the same trouble
            self._wait = self._patience * _GROWTH**self._failures
            self._failures += 1
        self._fitted = False

    def fits(self, load: float, batches: float = 1.0) -> bool:
        """A load did fit, for so many batches' time. True if the limit rose after it."""
        self._good = max(self._good, load)
        self._fitted = True
        if math.isinf(self.limit) or load < 0.7 * self.limit:
            return False
        self._passed += batches
        near = self._bad / self.limit < _NEAR
        if self._passed < (self._wait * _GROWTH if near else self._wait):
            return False
        self._passed = 0.0
        if near:
            self._good, self.limit, self._bad = self.limit, self._bad, 2 * self._bad
        else:
            self.limit = math.sqrt(self.limit * self._bad)
        return True
