"""The rank of the true step among pools of steps, without those that the method was given."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from ..ports.world_model import Context
from .statistics import Doubles, Flags, Floats, Ints

ALL, SAME_PLACE, SAME_PROBLEM = "all", "same place", "same problem"
# Steps of other traces that the pools hold; of a larger part so many are drawn.
MOST = 20_000
# Distances in memory at once.
_HELD = 8_000_000
# float32 products of a few thousand terms agree to about this share of the norms.
_EQUAL = 2e-6


@attrs.frozen(eq=False)
class Steps:
    """The steps of a part, one after the other, and where each stands; N in all.

    Attributes:
        targets: float32 [N, E].
        trace, place, length, problem: int64 [N]: the number of its trace, its own in the trace,
            the trace's number of steps, and the problem's number.
        problems: how many there are.
        pool: int64 [P], ascending: those that the pools are made of.
    """

    targets: Floats
    trace: Ints
    place: Ints
    length: Ints
    problem: Ints
    problems: int
    pool: Ints

    @classmethod
    def of(
        cls,
        targets: Sequence[Floats],
        problem: Ints,
        names: Sequence[str] | None = None,
        most: int = MOST,
    ) -> Steps:
        """The steps of some traces.

        Args:
            targets: of each trace, float32 [S, E].
            problem: the number of each trace's problem.
            names: of the traces, by whose hashes the pool is drawn; their places by default.
            most: steps in the pool.
        """
        counts = np.array([len(one) for one in targets], np.int64)
        pool: Ints = np.arange(int(counts.sum()))
        if len(pool) > most:
            names = names or [str(number) for number in range(len(counts))]
            pool = np.sort(np.argsort(_digests(names, counts), kind="stable")[:most])
        return cls(
            np.concatenate(targets),
            np.repeat(np.arange(len(counts)), counts),
            np.concatenate([np.arange(count) for count in counts]),
            np.repeat(counts, counts),
            np.repeat(problem, counts),
            int(problem.max()) + 1,
            pool,
        )

    def rows_of(self, first: int, stop: int) -> slice:
        """The rows of the traces `first` to `stop` (exclusive)."""
        begin, end = np.searchsorted(self.trace, [first, stop])
        return slice(int(begin), int(end))


def _digests(names: Sequence[str], counts: Ints) -> NDArray[np.uint64]:
    """By which the pool is drawn, the same whatever the order of the traces."""
    steps = (f"pool:{name}/{i}" for name, n in zip(names, counts, strict=True) for i in range(n))
    first = (hashlib.sha256(step.encode()).digest()[:8] for step in steps)
    return np.array([int.from_bytes(digest, "big") for digest in first], np.uint64)


@attrs.frozen(eq=False)
class Ranked:
    """Ranks in one pool.

    Attributes:
        ranks: float64 [N], 1 the nearest; candidates as near as the true one count half, so that a
            model which predicts one point for everything does not look perfect.
        sizes: int64 [N], of the pools, the true step among them. Where it is 1 there is nothing to
            tell apart.
    """

    ranks: Doubles
    sizes: Ints


class Ranker:
    """Ranks predictions of the steps of a part by Euclidean distance.

    Args:
        steps: of the part.
        held: distances in memory at once.
    """

    def __init__(self, steps: Steps, held: int = _HELD) -> None:
        self._steps, self._held = steps, held
        # Distances do not change with the origin; their rounding does.
        self._centre = steps.targets.mean(0, dtype=np.float64).astype(np.float32)
        self._pool = self._candidates(steps.pool)
        self._largest = float(self._pool.norms.max())
        # Every step of each problem: other samples are in its own pool, drawn or not.
        order = np.argsort(steps.problem, kind="stable")
        ends = np.cumsum(np.bincount(steps.problem, minlength=steps.problems))
        self._of_problem = np.split(order, ends[:-1])

    def rank(
        self, predictions: Floats, rows: slice, context: Context, ahead: int
    ) -> dict[str, Ranked]:
        """By pool: ranks of the true steps of some rows, whole traces, given their predictions.

        Args:
            predictions: float32 [Q, E].
            rows: of the steps that they are of.
            context, ahead: what the steps were predicted from.
        """
        counts = {name: np.zeros((3, len(predictions))) for name in (ALL, SAME_PLACE, SAME_PROBLEM)}
        for block in self._blocks(len(predictions)):
            at = np.arange(rows.start + block.start, rows.start + block.stop)
            asked = _Asked(
                predictions[block] - self._centre,
                self._candidates(at),
                at,
                self._steps.trace[at],
                self._largest,
            )
            for name, found in self._shared(asked).items():
                counts[name][:, block] += found
            own = self._own(asked, context, ahead)
            counts[ALL][:, block] += own
            counts[SAME_PROBLEM][:, block] += self._other_samples(asked)
        return {
            name: Ranked(1.0 + nearer + equal / 2.0, 1 + size.astype(np.int64))
            for name, (nearer, equal, size) in counts.items()
        }

    def _candidates(self, rows: Ints) -> _Candidates:
        vectors = self._steps.targets[rows] - self._centre
        return _Candidates(vectors, np.einsum("ne,ne->n", vectors, vectors))

    def _blocks(self, count: int) -> Iterator[slice]:
        size = max(1, self._held // max(1, len(self._steps.pool)))
        return (slice(i, min(i + size, count)) for i in range(0, count, size))

    def _shared(self, asked: _Asked) -> dict[str, Doubles]:
        """Among the pool's steps of other traces."""
        steps, pool = self._steps, self._steps.pool
        mine = asked.rows[:, None]
        other = steps.trace[pool] != steps.trace[mine]
        alike = other & (steps.place[pool] == steps.place[mine])
        alike &= steps.length[pool] == steps.length[mine]
        nearer, equal = asked.compare(self._pool)
        return {ALL: _counted(nearer, equal, other), SAME_PLACE: _counted(nearer, equal, alike)}

    def _own(self, asked: _Asked, context: Context, ahead: int) -> Doubles:
        """Among the steps of the same trace that were not given."""
        found = np.zeros((3, len(asked.rows)))
        if context is Context.OTHERS:
            return found
        for which in asked.traces():
            first = int(asked.rows[which.start])
            trace = self._steps.trace[first]
            own = np.arange(*self._steps.rows_of(trace, trace + 1).indices(len(self._steps.trace)))
            place, at = self._steps.place[own], self._steps.place[asked.rows[which]][:, None]
            unseen = (place > at - ahead) & (place != at)
            nearer, equal = asked.compare(self._candidates(own), which)
            found[:, which] = _counted(nearer, equal, unseen)
        return found

    def _other_samples(self, asked: _Asked) -> Doubles:
        """Among the steps of other samples of the same problem."""
        found = np.zeros((3, len(asked.rows)))
        for which in asked.traces():
            first = int(asked.rows[which.start])
            same = self._of_problem[self._steps.problem[first]]
            others = same[self._steps.trace[same] != self._steps.trace[first]]
            if len(others):
                nearer, equal = asked.compare(self._candidates(others), which)
                found[:, which] = _counted(nearer, equal, np.ones_like(nearer))
        return found


@attrs.frozen(eq=False)
class _Candidates:
    """Vectors float32 [C, E] and their squared norms [C]."""

    vectors: Floats
    norms: Floats


class _Asked:
    """Predictions [Q, E] of some rows, to be compared with candidates."""

    def __init__(
        self, predictions: Floats, true: _Candidates, rows: Ints, trace: Ints, largest: float
    ) -> None:
        self.rows, self._trace, self._predictions = rows, trace, predictions
        self._own = true.norms - 2.0 * np.einsum("qe,qe->q", predictions, true.vectors)
        sizes = np.einsum("qe,qe->q", predictions, predictions)
        self._close = _EQUAL * (largest + sizes)

    def traces(self) -> Iterator[slice]:
        """Stretches of the rows that are of one trace each."""
        edges = [0, *(np.flatnonzero(np.diff(self._trace)) + 1).tolist(), len(self._trace)]
        return (slice(a, b) for a, b in itertools.pairwise(edges))

    def compare(self, among: _Candidates, which: slice = slice(None)) -> tuple[Flags, Flags]:
        """Which candidates are nearer than the true step, and which as near: bool [Q, C]."""
        products = self._predictions[which] @ among.vectors.T
        away = among.norms - 2.0 * products - self._own[which, None]
        close = self._close[which, None]
        return away < -close, np.abs(away) <= close


def _counted(nearer: Flags, equal: Flags, among: Flags) -> Doubles:
    """Nearer ones, equal ones and all, [3, Q]."""
    return np.stack([(nearer & among).sum(1), (equal & among).sum(1), among.sum(1)]).astype(float)


def chance(sizes: Ints) -> tuple[float, float]:
    """Top-1 and mean reciprocal rank of guessing in pools of these sizes."""
    if not len(sizes):
        return float("nan"), float("nan")
    sums = np.cumsum(1.0 / np.arange(1, int(sizes.max()) + 1))
    return float((1.0 / sizes).mean()), float((sums[sizes - 1] / sizes).mean())
