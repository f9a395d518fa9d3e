"""Ranks in pools, against what they mean, done the slow way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rjepa_core.evaluation.ranks import ALL, SAME_PLACE, SAME_PROBLEM, Ranked, Ranker, Steps, chance
from rjepa_core.ports.world_model import Context

SMALL = st.integers(-3, 3)
LOOKS = [(Context.OTHERS, 1), (Context.PAST, 1), (Context.PAST, 2), (Context.PAST, 3)]


def slowly(
    steps: Steps, predictions: np.ndarray, row: int, context: Context, ahead: int
) -> dict[str, tuple[float, int]]:
    """Rank and size of each pool, candidate by candidate."""

    def given_to(other: int) -> bool:
        if steps.trace[other] != steps.trace[row] or other == row:
            return False
        return context is Context.OTHERS or steps.place[other] <= steps.place[row] - ahead

    def alike(other: int) -> bool:
        here, there = (
            (steps.place[row], steps.length[row]),
            (steps.place[other], steps.length[other]),
        )
        return other == row or (steps.trace[other] != steps.trace[row] and here == there)

    def sampled(other: int) -> bool:
        of_another = steps.trace[other] != steps.trace[row]
        return other == row or (of_another and steps.problem[other] == steps.problem[row])

    def drawn(other: int) -> bool:
        return other in steps.pool or steps.trace[other] == steps.trace[row]

    pools = {
        ALL: [i for i in range(len(steps.trace)) if drawn(i) and not given_to(i)],
        SAME_PLACE: [i for i in range(len(steps.trace)) if i == row or (drawn(i) and alike(i))],
        SAME_PROBLEM: [i for i in range(len(steps.trace)) if sampled(i)],
    }
    found = {}
    for name, pool in pools.items():
        away = ((predictions[row] - steps.targets[pool]) ** 2).sum(1)
        own = away[pool.index(row)]
        rank = 1 + (away < own).sum() + ((away == own).sum() - 1) / 2
        found[name] = (float(rank), len(pool))
    return found


@given(st.data())
@settings(max_examples=40)
def test_ranks_are_those_of_the_sorted_distances(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
    width = data.draw(st.integers(1, 3))
    problem = data.draw(arrays(np.int64, len(lengths), elements=st.integers(0, 2)))
    targets = [data.draw(arrays(np.float32, (n, width), elements=SMALL)) for n in lengths]
    most = data.draw(st.sampled_from([3, 1000]))
    steps = Steps.of(targets, problem, most=most)
    predictions = data.draw(arrays(np.float32, (sum(lengths), width), elements=SMALL))
    context, ahead = data.draw(st.sampled_from(LOOKS))
    ranker = Ranker(steps, held=data.draw(st.sampled_from([1, 7, 1000])))
    middle = data.draw(st.integers(0, len(lengths)))
    parts = [steps.rows_of(0, middle), steps.rows_of(middle, len(lengths))]
    found = [ranker.rank(predictions[rows], rows, context, ahead) for rows in parts]
    for row in range(sum(lengths)):
        for name, (rank, size) in slowly(steps, predictions, row, context, ahead).items():
            assert np.concatenate([one[name].ranks for one in found])[row] == rank, name
            assert np.concatenate([one[name].sizes for one in found])[row] == size, name


def all_ranks(steps: Steps, made: np.ndarray, context: Context, ahead: int) -> Ranked:
    return Ranker(steps).rank(made.astype(np.float32), slice(0, len(made)), context, ahead)[ALL]


def random_steps(traces: int = 80, width: int = 16) -> Steps:
    random = np.random.default_rng(0)
    lengths = [2 + i % 4 for i in range(traces)]
    targets = [random.standard_normal((n, width)).astype(np.float32) for n in lengths]
    return Steps.of(targets, np.arange(traces))


def test_one_point_for_everything_finds_nothing() -> None:
    steps = Steps.of([np.ones((2, 8), np.float32)] * 25, np.arange(25))
    ranks = all_ranks(steps, np.ones((50, 8)), Context.OTHERS, 1).ranks
    assert ranks.tolist() == [25.0] * 50


def test_a_far_origin_does_not_blur_the_ranks() -> None:
    steps = random_steps()
    random = np.random.default_rng(1)
    near = steps.targets + 0.01 * random.standard_normal(steps.targets.shape)
    lengths = steps.length[steps.place == 0]
    far = Steps.of(np.split(steps.targets + 300, np.cumsum(lengths)[:-1]), np.arange(len(lengths)))
    assert (all_ranks(far, near + 300, Context.PAST, 1).ranks == 1).all()


def test_a_large_part_has_a_pool_that_does_not_depend_on_the_order() -> None:
    targets = [np.full((3, 2), i, np.float32) for i in range(30)]
    names = [f"t{i}" for i in range(30)]
    one = Steps.of(targets, np.arange(30), names, most=20)
    other = Steps.of(targets[::-1], np.arange(30), names[::-1], most=20)
    assert len(one.pool) == 20
    of_one = sorted((int(one.targets[i, 0]), int(one.place[i])) for i in one.pool)
    of_other = sorted((int(other.targets[i, 0]), int(other.place[i])) for i in other.pool)
    assert of_one == of_other


@pytest.mark.parametrize("sizes", [[1], [4, 4], [1, 2, 30]])
def test_chance_is_what_guessing_gets(sizes: list[int]) -> None:
    top, reciprocal = chance(np.array(sizes))
    assert top == pytest.approx(np.mean([1 / n for n in sizes]))
    assert reciprocal == pytest.approx(
        np.mean([np.mean([1 / rank for rank in range(1, n + 1)]) for n in sizes])
    )
