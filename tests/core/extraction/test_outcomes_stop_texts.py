"""Stop texts end a completion where they begin, whatever its tokens are."""

from __future__ import annotations

from itertools import pairwise

import attrs
import numpy as np
import pytest
from engines import seeded
from hypothesis import given
from hypothesis import strategies as st

from rjepa_core.domain.problem import GivenSolution, Problem
from rjepa_core.domain.segmentation import cut_completion
from rjepa_core.domain.trace import Completion, Work
from rjepa_core.errors import BackendError, UnsupportedError
from rjepa_core.extraction.outcomes import Outcomes, check_stops, end_at_stop, find_stop
from rjepa_core.ports.backend import SessionSpec
from rjepa_core.settings.extraction import SamplingSettings
from rjepa_core.testing.backend_case import BackendCase


def completion(text: str, cuts: list[int], finish: str = "length") -> Completion:
    places = [0, *sorted(cuts), len(text)]
    offsets = np.asarray(list(pairwise(places)), np.int32)
    ids = np.arange(len(offsets), dtype=np.int32)
    return Completion("", ids[:0], (0, 0), text, ids, offsets, finish)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "stops", "found"),
    [
        ("a b c", [" c"], (3, 5)),
        ("abcdef", ["abcdef", "cd"], (2, 4)),  # complete first
        ("abc", ["c", "bc"], (1, 3)),  # of several the longest
        ("aXbX", ["X"], (1, 2)),
        ("abc", ["d", "ca"], None),
        ("abc", [], None),
    ],
)
def test_which_stop_text_it_is(text: str, stops: list[str], found: tuple[int, int] | None) -> None:
    assert find_stop(text, stops) == found


def test_a_stop_text_across_tokens() -> None:
    """`one.` `\\n\\nQ` `: tw` `o`: the second token begins before the stop text."""
    whole = completion("one.\n\nQ: two", [4, 7, 11])
    ended = end_at_stop(whole, ["\nQ:"])
    assert ended.text == "one.\n"
    assert ended.ids.tolist() == [0, 1, 2]
    assert ended.offsets.tolist() == [[0, 4], [4, 5], [5, 5]]
    assert ended.finish_reason == "stop"
    assert end_at_stop(whole, ["\nA:"]) is whole


@given(
    text=st.text("ab\n🙂", max_size=20),
    cuts=st.lists(st.integers(0, 20), max_size=8),
    stops=st.lists(st.text("ab\n🙂", min_size=1, max_size=3), max_size=3),
)
def test_what_holds_for_every_text(text: str, cuts: list[int], stops: list[str]) -> None:
    whole = completion(text, [min(cut, len(text)) for cut in cuts])
    ended = end_at_stop(whole, stops)
    assert text.startswith(ended.text)
    assert find_stop(ended.text, stops) is None
    assert np.array_equal(ended.ids, whole.ids[: len(ended.ids)])
    assert len(ended.ids) == len(ended.offsets)
    assert ended.offsets.max(initial=0) <= len(ended.text)
    if ended is not whole:
        # One token less, and no stop text would be complete.
        shorter = text[: whole.offsets[len(ended.ids) - 1, 0]]
        assert find_stop(shorter, stops) is None


def test_a_backend_that_goes_on_is_refused_before_it_runs() -> None:
    info = attrs.evolve(seeded().info, stops=False)
    with pytest.raises(UnsupportedError, match=r"sampling.stop: the backend of .* cannot"):
        check_stops(SamplingSettings(stop="x"), info)
    check_stops(SamplingSettings(), info)
    check_stops(SamplingSettings(stop="x"), seeded().info)


def test_a_backend_that_promises_and_goes_on_is_at_fault() -> None:
    spec = attrs.evolve(_spec(), sampling=SamplingSettings(stop="b"))
    work = Work(Problem.make("Why?"))
    with pytest.raises(BackendError, match=r"'b' of sampling\.stop is in a completion"):
        Outcomes(spec).trace(work, completion("abc", [1], "stop"))
    # What is given is taken as it is.
    given_one = attrs.evolve(work, given=GivenSolution("abc"))
    assert Outcomes(spec).trace(given_one, completion("abc", [1], "given")) is not None


def test_thinking_alone_is_a_failure_that_says_so() -> None:
    spec = attrs.evolve(_spec(), cut=lambda one: cut_completion(one, thinking="drop"))
    outcomes = Outcomes(spec)
    assert outcomes.trace(Work(Problem.make("Why?")), completion("<think>\nHm, so", [3])) is None
    [failure] = outcomes.failures()
    assert failure.reason == "thinking only"
    assert "steps.thinking" in failure.detail


def _spec() -> SessionSpec:
    return BackendCase().spec(seeded())
