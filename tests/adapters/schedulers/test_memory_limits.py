"""What is known not to fit."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from rjepa_adapters.schedulers.memory_limits import Ceiling


def test_nothing_is_limited_before_anything_failed() -> None:
    ceiling = Ceiling(4)
    assert ceiling.limit == math.inf
    assert not ceiling.fits(1e9)
    assert ceiling.limit == math.inf


def test_falls_to_what_has_held_or_to_half() -> None:
    ceiling = Ceiling(4)
    ceiling.failed(1000)
    assert ceiling.limit == 500
    ceiling = Ceiling(4)
    ceiling.fits(700)
    ceiling.failed(1000)
    assert ceiling.limit == 700
    ceiling = Ceiling(4)
    ceiling.fits(990)
    ceiling.failed(1000)
    assert ceiling.limit == 800, "so near to what failed the next batch may fail as well"
    ceiling.failed(600)
    assert ceiling.limit == 480, "less than what held has failed: it held by luck"


def test_rises_half_way_after_batches_that_filled_it() -> None:
    ceiling = Ceiling(4)
    ceiling.failed(1000)
    assert not any(ceiling.fits(100) for _ in range(50)), "small batches prove nothing"
    assert [ceiling.fits(450) for _ in range(4)] == [False, False, False, True]
    assert ceiling.limit == math.sqrt(500 * 1000)


def test_parts_of_a_batch_count_as_parts() -> None:
    ceiling = Ceiling(4)
    ceiling.failed(1000)
    assert not any(ceiling.fits(450, 0.25) for _ in range(15))
    assert ceiling.fits(450, 0.25)


def test_each_failure_makes_the_wait_longer() -> None:
    ceiling = Ceiling(2)
    waits = []
    for _ in range(3):
        ceiling.failed(min(1000, ceiling.limit))
        count = 1
        while not ceiling.fits(ceiling.limit):
            count += 1
        waits.append(count)
    assert waits[0] == 2
    assert waits[1] >= 6 * waits[0]
    assert waits[2] >= 6 * waits[1]


def test_a_retry_that_fails_again_is_the_same_trouble() -> None:
    once, twice = Ceiling(2), Ceiling(2)
    once.failed(500)
    twice.failed(1000)
    twice.failed(500)
    assert once.limit == twice.limit
    assert [once.fits(250) for _ in range(2)] == [twice.fits(250) for _ in range(2)]


def test_a_larger_failure_is_no_news() -> None:
    ceiling = Ceiling(2)
    ceiling.fits(600)
    ceiling.failed(1000)
    ceiling.failed(5000)
    assert ceiling.limit == 600


@given(st.lists(st.tuples(st.booleans(), st.floats(1, 1e6)), max_size=60))
def test_a_failed_load_within_the_limit_is_never_allowed_next(
    seen: list[tuple[bool, float]],
) -> None:
    ceiling = Ceiling(1)
    for failed, load in seen:
        if failed:
            before = ceiling.limit
            ceiling.failed(load)
            assert ceiling.limit <= before
            assert load > before or ceiling.limit < load
        else:
            ceiling.fits(load)
        assert ceiling.limit > 0
