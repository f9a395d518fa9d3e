"""The batch sizes that are tried."""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class Ladder:
    """The powers of two and the sizes half way between them, from a minimum to a maximum.

    Neighbours are 33 to 50 % apart; smaller differences would be lost in the noise of batch times.
    """

    def __init__(self, minimum: int, maximum: int, start: int) -> None:
        grid = {size << k for k in range(maximum.bit_length()) for size in (1, 3)}
        inside = {size for size in grid if minimum <= size <= maximum}
        self.sizes = tuple(sorted(inside | {minimum, maximum, start}))

    def floor(self, rows: float) -> int:
        """Return the largest size that is at most `rows`, or the minimum."""
        return self.sizes[max(0, bisect_right(self.sizes, rows) - 1)]

    def nearest(self, rows: float) -> int:
        """Return the size nearest to `rows`, by ratio."""
        lower = self.floor(rows)
        upper = self.above(lower)
        return upper if rows * rows > lower * upper else lower

    def below(self, size: int) -> int:
        """Return the next smaller size; the minimum for itself."""
        return self.sizes[max(0, bisect_left(self.sizes, size) - 1)]

    def above(self, size: int) -> int:
        """Return the next larger size; the maximum for itself."""
        return self.sizes[min(len(self.sizes) - 1, bisect_right(self.sizes, size))]

    def between(self, low: int, high: int) -> int | None:
        """Return the middle of the sizes between two, or None if there are none."""
        inside = self.sizes[bisect_right(self.sizes, low) : bisect_left(self.sizes, high)]
        return inside[len(inside) // 2] if inside else None
