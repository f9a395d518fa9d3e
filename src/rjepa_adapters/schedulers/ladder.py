"""The sizes that are worth telling apart."""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class Ladder:
    """Powers of two and the sizes half way between them, from a minimum to a maximum.

    Neighbours are 33 to 50 % apart; a finer choice would drown in the noise of a batch's time.
    """

    def __init__(self, minimum: int, maximum: int, start: int) -> None:
        grid = {size << k for k in range(maximum.bit_length()) for size in (1, 3)}
        inside = {size for size in grid if minimum <= size <= maximum}
        self.sizes = tuple(sorted(inside | {minimum, maximum, start}))

    def floor(self, rows: float) -> int:
        """Return the largest size that is at most `rows`; the minimum where there is none."""
        return self.sizes[max(0, bisect_right(self.sizes, rows) - 1)]

    def nearest(self, rows: float) -> int:
        """Return the size that is nearest to so many rows, in proportion."""
        lower = self.floor(rows)
        upper = self.above(lower)
        return upper if rows * rows > lower * upper else lower

    def below(self, size: int) -> int:
        """Return the next smaller size; the minimum has none and stays."""
        return self.sizes[max(0, bisect_left(self.sizes, size) - 1)]

    def above(self, size: int) -> int:
        """Return the next larger size; the maximum has none and stays."""
        return self.sizes[min(len(self.sizes) - 1, bisect_right(self.sizes, size))]

    def between(self, low: int, high: int) -> int | None:
        """Return the size in the middle between two, if there is any."""
        inside = self.sizes[bisect_right(self.sizes, low) : bisect_left(self.sizes, high)]
        return inside[len(inside) // 2] if inside else None
