"""Where steps of other problems come from: the same part of the split."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from .solution import Clean

_DRAWS = 100


class Donors:
    """Solutions of a part that steps are taken from.

    Args:
        solutions: of the part, one a problem.
    """

    def __init__(self, solutions: Sequence[Clean]) -> None:
        self._all = sorted(solutions, key=lambda one: (one.problem, one.name))
        self._places = {one.problem: i for i, one in enumerate(self._all)}
        self._words: list[dict[str, float]] = []
        self._holding: dict[str, list[int]] = defaultdict(list)
        for i, one in enumerate(self._all):
            counts = Counter(re.findall(r"[^\W\d_]+", one.statement.lower()))
            length = math.sqrt(sum(n * n for n in counts.values())) or 1.0
            self._words.append({word: n / length for word, n in counts.items()})
            for word in counts:
                self._holding[word].append(i)

    def nearest(self, problem: str) -> Clean | None:
        """The solution of the most similar other problem, by the cosine of word counts."""
        own = self._places[problem]
        likeness: Counter[int] = Counter()
        for word, weight in self._words[own].items():
            for i in self._holding[word]:
                likeness[i] += weight * self._words[i][word]  # type: ignore[assignment]
        del likeness[own]
        if not likeness:
            return None
        return self._all[min(likeness, key=lambda i: (-likeness[i], i))]

    def random(self, problem: str, random: np.random.Generator) -> Iterator[Clean]:
        """Solutions of other problems, drawn again and again."""
        for _ in range(_DRAWS if len(self._all) > 1 else 0):
            donor = self._all[int(random.integers(len(self._all)))]
            if donor.problem != problem:
                yield donor
