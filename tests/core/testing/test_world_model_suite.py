"""What the world models' suite says of verifiers, and of those that know none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import attrs
import numpy as np
import pytest

from rjepa_core.errors import InputError
from rjepa_core.ports.world_model import (
    LatentSequence,
    TargetSpace,
    Verification,
    WorldModel,
    WorldModelInfo,
    check_verifies,
)
from rjepa_core.testing.samples import sample_identity
from rjepa_core.testing.world_model_suite import WorldModelContract

SUITE = WorldModelContract()
PROMISES = (
    SUITE.test_a_verdict_is_made_of_probabilities,
    SUITE.test_a_verifier_refuses_what_it_cannot_read,
)


class Old:
    """Written before there were verifiers."""

    info = WorldModelInfo("old", sample_identity().space, 8, 8, TargetSpace.LLM, "mean")


class Sound:
    """A verifier that keeps its promises."""

    info = attrs.evolve(Old.info, verifies=True, needs_logprobs=True)

    def verify(self, sequences: Sequence[LatentSequence]) -> list[Verification]:
        for number, one in enumerate(sequences):
            if not np.isfinite(one.latents).all():
                raise InputError(f"sequence {number}: not finite")
        self.check(sequences)
        return [self.judge(one, sequences) for one in sequences]

    def check(self, sequences: Sequence[LatentSequence]) -> None:
        check_verifies(self.info, sequences)

    def judge(self, one: LatentSequence, others: Sequence[LatentSequence]) -> Verification:
        wrong = 1 / (1 + np.exp(-one.latents[:, 0]))
        return Verification(wrong.astype(np.float32), float(1 - wrong.max()))


class TooSure(Sound):
    def judge(self, one: LatentSequence, others: Sequence[LatentSequence]) -> Verification:
        return Verification(2 * super().judge(one, others).wrong, 0.5)


class NotRight(Sound):
    def judge(self, one: LatentSequence, others: Sequence[LatentSequence]) -> Verification:
        return Verification(super().judge(one, others).wrong, -0.1)


class Short(Sound):
    def judge(self, one: LatentSequence, others: Sequence[LatentSequence]) -> Verification:
        return Verification(super().judge(one, others).wrong[1:], 0.5)


class Relative(Sound):
    def judge(self, one: LatentSequence, others: Sequence[LatentSequence]) -> Verification:
        found = super().judge(one, others)
        return Verification(found.wrong / np.float32(len(others)), found.right)


class Shared(Sound):
    """Hands out what it keeps."""

    def __init__(self) -> None:
        self.kept: dict[int, Verification] = {}

    def judge(self, one: LatentSequence, others: Sequence[LatentSequence]) -> Verification:
        return self.kept.setdefault(len(one.latents), super().judge(one, others))


class Careless(Sound):
    def check(self, sequences: Sequence[LatentSequence]) -> None:
        pass


class Wrong(Old):
    """Is no verifier, and answers all the same."""

    def verify(self, sequences: Sequence[LatentSequence]) -> list[Verification]:
        return []


def hold(model: Any) -> None:
    for promise in PROMISES:
        promise(cast("WorldModel", model))


def test_a_sound_verifier_passes() -> None:
    hold(Sound())


def test_what_knows_no_verifier_passes() -> None:
    with pytest.raises(pytest.skip.Exception, match="is no verifier"):
        hold(Old())


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (TooSure, "a probability is from 0 to 1"),
        (NotRight, "a probability is from 0 to 1"),
        (Short, "one probability per step"),
        (Relative, "a verdict does not depend on the others"),
        (Shared, "the caller's own|the same input"),
        (Careless, "named by its position"),
        (Wrong, "says how to train one"),
    ],
)
def test_a_broken_one_is_told_its_promise(broken: type[Any], promise: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception), match=promise):
        hold(broken())
