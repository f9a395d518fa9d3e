"""Verdicts beside the surprise: in the same batches, and each refusal by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np
import pytest
from latent_stores import make_store

from rjepa_core import RecordKey, open_store
from rjepa_core.errors import InputError, NotFiniteError, UsageError
from rjepa_core.ports.world_model import (
    Context,
    Floats,
    LatentSequence,
    TargetSpace,
    Verification,
    WorldModelInfo,
    check_verifies,
)
from rjepa_core.scoring import judge_each
from rjepa_core.scoring.surprise import score
from rjepa_core.testing.samples import sample_identity

IDENTITY = sample_identity(logprobs=True)
SPACE, WIDTH = IDENTITY.space, IDENTITY.space.hidden_size
PLAIN = WorldModelInfo("run", SPACE, WIDTH, WIDTH, TargetSpace.LLM, "frozen")
INFO = attrs.evolve(PLAIN, objective="verifier", verifies=True, needs_logprobs=True)


@attrs.frozen
class Old:
    """A world model of before there were verifiers: it has no such method."""

    info: WorldModelInfo = PLAIN

    def surprise(
        self, sequences: Sequence[LatentSequence], context: Context = Context.OTHERS
    ) -> list[Floats]:
        return [np.square(one.latents).mean(-1) for one in sequences]


@attrs.frozen
class Verifier(Old):
    """Says that a step is wrong if its tokens are improbable; counts its calls."""

    info: WorldModelInfo = INFO
    calls: list[int] = attrs.field(factory=list)

    def verify(self, sequences: Sequence[LatentSequence]) -> list[Verification]:
        self.calls.append(len(sequences))
        check_verifies(self.info, sequences)
        found = []
        for one in sequences:
            assert one.logprobs is not None
            wrong = 1 - np.exp(one.logprobs)
            found.append(Verification(wrong, float(1 - wrong.max())))
        return found


def given(*steps: int, logprobs: float | None = -0.5) -> list[LatentSequence]:
    return [
        LatentSequence(
            np.ones((count, WIDTH), np.float32),
            np.ones(WIDTH, np.float32),
            "math",
            None if logprobs is None else np.full(count, logprobs, np.float32),
        )
        for count in steps
    ]


def test_verdicts_stand_beside_the_surprise_of_records(tmp_path: Path) -> None:
    with open_store(make_store(tmp_path / "s", [2, 5, 3], IDENTITY)) as store:
        keys, model = [RecordKey("p-2"), RecordKey("p-0")], Verifier()
        found = list(score(store, keys, model))  # type: ignore[arg-type]
        assert model.calls == [2], "one call for all of a batch"
        for key, one in zip(keys, found, strict=True):
            logprobs = store.get(key).logprobs
            assert logprobs is not None
            assert one.verdict is not None
            np.testing.assert_allclose(one.verdict.wrong, 1 - np.exp(logprobs), rtol=1e-6)
        old = list(score(store, keys, Old()))  # type: ignore[arg-type]
        assert [one.verdict for one in old] == [None, None]
        np.testing.assert_array_equal(old[0].surprise, found[0].surprise)


def test_a_sequence_without_log_probabilities_spoils_no_other() -> None:
    sequences = [*given(2, 3), *given(4, logprobs=None), *given(5)]
    found = judge_each(Verifier(), sequences)  # type: ignore[arg-type]
    assert [isinstance(one, InputError) for one in found] == [False, False, True, False]
    assert "has no log-probabilities, and run needs them; encode it with" in str(found[2])


def test_a_verdict_that_is_not_finite_is_refused() -> None:
    class Broken(Verifier):
        def verify(self, sequences: Sequence[LatentSequence]) -> list[Verification]:
            return [
                Verification(np.full(len(s.latents), np.nan, np.float32), 0.5) for s in sequences
            ]

    [found] = judge_each(Broken(), given(2))  # type: ignore[arg-type]
    assert isinstance(found, NotFiniteError)


def test_a_store_that_keeps_no_log_probabilities_is_one_line(tmp_path: Path) -> None:
    with open_store(make_store(tmp_path / "s", [2])) as store:
        with pytest.raises(UsageError, match=r"s: its records have no log-probabilities, and run"):
            list(score(store, [RecordKey("p-0")], Verifier()))  # type: ignore[arg-type]
        [found] = score(store, [RecordKey("p-0")], Old())  # type: ignore[arg-type]
        assert found.verdict is None
