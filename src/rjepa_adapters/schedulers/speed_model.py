"""A model of each batch size's speed, to decide whether a larger one is worth it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from statistics import median

import attrs
import numpy as np

from rjepa_core.ports.backend import Observation

# Reading a prompt token takes about this share of the time of generating one.
PROMPT_WEIGHT = 0.2
# Measurements kept per size, and the number of new ones, of any size, that halves their weight.
_KEPT = 64
_HALF_LIFE = 96
_RECENT = 48
# Prior: doubling the rows brings about 19 % (a gain of 0.17 in logarithms), with a standard
# deviation of 35 %; a batch's time varies by 25 %, a belief worth six pairs of batches.
_USUAL_GAIN = 0.25
_DOUBT = 0.35
_NOISE = 0.25
_NOISE_WEIGHT = 6
_LEAST_NOISE = 0.02
# One slow batch must neither dominate the noise of all batches nor move a mean far.
_LARGEST_STEP = 0.5
_OUTLIER = 2.0
# Three measurements in a row that fall by 40 % (this much in logarithms) are no accident.
_COLLAPSE = 0.5


def work_of(prompt_tokens: int, new_tokens: int) -> float:
    """Return the work done, in generated tokens, so that batches of any lengths are comparable."""
    return new_tokens + PROMPT_WEIGHT * prompt_tokens


@attrs.frozen
class Gain:
    """An estimate of how much faster a larger size is than a smaller one.

    Attributes:
        mean, sd: of the logarithm of the ratio of their speeds; above 0, the larger is faster.
    """

    mean: float
    sd: float

    @property
    def ratio(self) -> float:
        return math.exp(self.mean)


class Speeds:
    """The speeds (work per second) measured at each size, and a curve through them.

    The curve is a random walk over the logarithm of the size: a prior, corrected by the
    measurements, of which older ones count less. A size in between profits from its neighbours,
    and a single odd batch changes little.
    """

    def __init__(self) -> None:
        self._seen: dict[int, deque[tuple[int, float]]] = {}
        self._steps: deque[float] = deque(maxlen=48)
        self._now = 0

    def add(self, size: int, speed: float) -> None:
        """Add a measurement; with each, older ones of all sizes count less."""
        self._now += 1
        kept = self._seen.setdefault(size, deque(maxlen=_KEPT))
        value = math.log(speed)
        if kept and self._now - kept[-1][0] <= _RECENT:
            step = max(-_LARGEST_STEP, min(_LARGEST_STEP, value - kept[-1][1]))
            self._steps.append(step * step / 2)
        kept.append((self._now, value))

    def typical(self, size: int) -> float | None:
        """Return the median speed of the last measurements of a size, in work per second."""
        seen = [value for _, value in self._seen.get(size, ())][-9:]
        return math.exp(median(seen)) if seen else None

    def measured_below(self, size: int) -> int | None:
        """Return the largest smaller size with a recent measurement."""
        recent = (s for s, seen in self._seen.items() if self._now - seen[-1][0] < _RECENT)
        return max((s for s in recent if s < size), default=None)

    def count(self, size: int) -> int:
        """Return the number of measurements of a size that are kept."""
        return len(self._seen.get(size, ()))

    def gain(self, larger: int, smaller: int) -> Gain:
        """Estimate the gain from the measurements and the prior."""
        sizes = sorted({*self._seen, larger, smaller})
        widths = np.diff(np.log(sizes))
        trust = 1 / (_DOUBT**2 * widths / math.log(2))
        slopes = np.diff(np.eye(len(sizes)), axis=0)
        centres, weights = self._summaries(sizes)
        precision = slopes.T @ (trust[:, None] * slopes) + np.diag(weights)
        # Speeds are known only relative to each other; their common level is left almost free.
        precision += 1e-6 * np.eye(len(sizes))
        spread = np.linalg.inv(precision)
        curve = spread @ (slopes.T @ (trust * _USUAL_GAIN * widths) + weights * centres)
        ends = np.zeros(len(sizes))
        ends[sizes.index(larger)], ends[sizes.index(smaller)] = 1, -1
        variance = float(ends @ spread @ ends)
        return Gain(float(ends @ curve), math.sqrt(max(0.0, variance)))

    def _summaries(self, sizes: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return centre and weight of each size's measurements, on the logarithmic scale."""
        level = median(v for seen in self._seen.values() for _, v in seen) if self._seen else 0.0
        noise, found = self.noise, []
        for size in sizes:
            seen = self._seen.get(size)
            if not seen:
                found.append((0.0, 0.0))
                continue
            middle, reach = median(value for _, value in seen), _OUTLIER * noise
            shares = [0.5 ** ((self._now - at) / _HALF_LIFE) for at, _ in seen]
            near = [min(middle + reach, max(middle - reach, value)) for _, value in seen]
            total = sum(shares)
            mean = sum(s * value for s, value in zip(shares, near, strict=True)) / total
            found.append((mean - level, total / noise**2))
        centres, weights = zip(*found, strict=True)
        return np.array(centres), np.array(weights)

    @property
    def noise(self) -> float:
        """Standard deviation of a batch's logarithmic speed, from one batch to the next."""
        total = _NOISE_WEIGHT * _NOISE**2 + sum(self._steps)
        return max(_LEAST_NOISE, math.sqrt(total / (_NOISE_WEIGHT + len(self._steps))))

    def collapsed(self, size: int) -> bool:
        """Return whether the last three measurements of a size are far below those before."""
        seen = [value for _, value in self._seen.get(size, ())][-12:]
        if len(seen) < 7:
            return False
        return median(seen[:-3]) - median(seen[-3:]) > max(_COLLAPSE, 3.5 * self.noise)

    def forget_before(self, size: int, last: int) -> None:
        """Keep only the last measurements of one size, after its speed has changed."""
        kept = list(self._seen.get(size, ()))[-last:]
        self._seen = {size: deque(kept, maxlen=_KEPT)}


class Measuring:
    """The sum of observations until as many rows have ended as were in flight.

    A backend that runs whole batches gives a measurement with each observation. One that refills
    rows gives one per average completion, whatever part of it an observation covers; its first
    after a change of size is dropped, because new rows are read and old ones drain meanwhile.
    """

    def __init__(self) -> None:
        self._size = 0
        self._settling = False
        self._rows = self._ended = 0
        self._work = self._seconds = 0.0

    def add(self, seen: Observation, size: int, filled: bool) -> float | None:
        """Add an observation made at a size.

        Args:
            seen: the observation.
            size: rows that were asked for.
            filled: whether there were as many rows as asked for, or as memory allowed.

        Returns:
            work per second once a measurement is complete, else None.
        """
        ended = seen.rows if seen.ended is None else seen.ended
        if size != self._size:
            self._clear()
            self._size, self._settling = size, ended < seen.rows
        if not filled:
            self._clear()
            return None
        self._work += work_of(seen.prompt_tokens, seen.new_tokens)
        self._seconds += seen.seconds
        self._rows = max(self._rows, seen.rows)
        self._ended += ended
        if self._ended < self._rows:
            return None
        work, seconds, settling = self._work, self._seconds, self._settling
        self._clear()
        self._settling = False
        if settling or work <= 0 or seconds <= 0:
            return None
        return work / seconds

    def _clear(self) -> None:
        self._work = self._seconds = 0.0
        self._rows = self._ended = 0
