"""What is said of too little, and that nothing is said of enough."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from rjepa_core.domain.floors import FEWEST_PROBLEMS, too_few_to_evaluate, too_few_to_train
from rjepa_core.ports.world_model import TargetSpace, WorldModelInfo
from rjepa_core.testing.samples import sample_identity


@pytest.mark.parametrize("say", [too_few_to_train, too_few_to_evaluate])
def test_one_sentence_with_the_floor_in_it(say: Callable[[int], str | None]) -> None:
    said = say(1)
    assert said is not None
    assert said.startswith("1 problem to ")
    assert f"fewer than {FEWEST_PROBLEMS} " in said
    assert "\n" not in said
    assert say(FEWEST_PROBLEMS - 1) is not None
    assert say(FEWEST_PROBLEMS) is None


def test_a_world_model_says_it_of_itself_where_it_knows() -> None:
    space = sample_identity().space
    info = WorldModelInfo("run", space, 4, 4, TargetSpace.LLM, "frozen")
    assert info.too_little is None
    assert attrs.evolve(info, problems=FEWEST_PROBLEMS).too_little is None
    assert attrs.evolve(info, problems=20).too_little == too_few_to_train(20)
