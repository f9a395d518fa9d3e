"""A surprise that is not finite: a refusal for one caller, an error record among many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from rjepa_core.errors import InputError, NotFiniteError
from rjepa_core.ports.world_model import Context, Floats, LatentSequence
from rjepa_core.scoring.surprise import check_finite, surprise_each


class Model:
    """Overflows on large values; raises as the adapters do, or returns what it has."""

    def __init__(self, raises: bool) -> None:
        self.raises = raises

    def surprise(
        self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
    ) -> list[Floats]:
        with np.errstate(over="ignore"):
            rows = [np.square(one.latents).mean(axis=1) for one in sequences]
        if self.raises:
            check_finite(rows)
        return rows


def sequence(value: float) -> LatentSequence:
    return LatentSequence(np.full((3, 2), value, np.float32), np.zeros(2, np.float32), "")


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("bad", [(), (0,), (2,), (1, 4), (0, 1, 2, 3, 4)])
def test_one_that_overflows_spoils_no_other(raises: bool, bad: tuple[int, ...]) -> None:
    model: Any = Model(raises)
    given = [sequence(3e38 if i in bad else float(i)) for i in range(5)]
    found = surprise_each(model, given)
    assert [i for i, row in enumerate(found) if isinstance(row, NotFiniteError)] == list(bad)
    for i, row in enumerate(found):
        if not isinstance(row, InputError):
            np.testing.assert_array_equal(row, np.full(3, i * i, np.float32))


def test_the_first_that_is_not_finite_is_named() -> None:
    rows = [np.zeros(2, np.float32), np.array([0.0, np.nan], np.float32)]
    with pytest.raises(NotFiniteError, match=r"^sequence 8: the model's result is not finite"):
        check_finite(rows, 7)
