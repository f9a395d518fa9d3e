"""The promises of every world model, as tests that a world model's own tests inherit.

    class TestMyWorldModel(WorldModelContract):
        @pytest.fixture(scope="class")
        def world_model(self):
            model = open_my_model("run")
            yield model
            model.close()

Each failure names the broken promise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import attrs
import numpy as np
import pytest

from ..errors import InputError, UnsupportedError
from ..plugins import PretrainedRunAdapter, Registry, open_world_model
from ..ports.world_model import Context, LatentSequence, TargetSpace, WorldModel
from .promises import close, raises

LENGTHS = (3, 1, 5, 2, 5, 3, 4)


def sequences(world_model: WorldModel, seed: int = 0) -> list[LatentSequence]:
    """Return sequences of several lengths with values of a reasonable size."""
    source = np.random.default_rng(seed)
    chances = np.random.default_rng([seed, 1])
    width = world_model.info.hidden_size
    return [
        LatentSequence(
            source.standard_normal((steps, width)).astype(np.float32),
            source.standard_normal(width).astype(np.float32),
            "math",
            -chances.exponential(0.5, steps).astype(np.float32),
        )
        for steps in LENGTHS
    ]


class WorldModelContract:
    """Inherit and define a fixture `world_model`; the class attribute may be changed.

    Attributes:
        tolerance: largest difference of a score between a sequence alone and among others.
    """

    tolerance = 1e-5

    @pytest.fixture
    def world_model(self) -> WorldModel:
        raise NotImplementedError("define a fixture `world_model`")

    @pytest.mark.parametrize("context", list(Context))
    def test_one_prediction_per_step(self, world_model: WorldModel, context: Context) -> None:
        given = sequences(world_model)
        made, wanted = world_model.predict(given, context), world_model.targets(given)
        size = world_model.info.target_size
        for one, predicted, target in zip(given, made, wanted, strict=True):
            assert predicted.shape == target.shape == (len(one.latents), size), (
                "one prediction and one target per step, of info.target_size"
            )
            assert predicted.dtype == target.dtype == np.float32, "answers are float32"
            assert np.isfinite(predicted).all(), "predictions are finite"
            assert np.isfinite(target).all(), "targets are finite"

    @pytest.mark.parametrize("context", list(Context))
    def test_surprise_is_a_steady_score(self, world_model: WorldModel, context: Context) -> None:
        given = sequences(world_model)
        first = world_model.surprise(given, context)
        for one, found in zip(given, first, strict=True):
            assert found.shape == (len(one.latents),), "one surprise per step"
            assert found.dtype == np.float32, "answers are float32"
            assert (found >= 0).all(), "a surprise is a squared error, never negative"
        for before, after in zip(first, world_model.surprise(given, context), strict=True):
            close(before, after, "the same input gives the same score", 0)
        for one, among in zip(given, first, strict=True):
            alone = world_model.surprise([one], context)[0]
            close(
                alone,
                among,
                "a score does not depend on the others",
                self.tolerance,
                self.tolerance,
            )

    def test_surprise_is_the_error_of_the_prediction(self, world_model: WorldModel) -> None:
        if world_model.info.target_space is not TargetSpace.LLM:
            pytest.skip("predicts in a space of its own, whose spread the port does not report")
        given = sequences(world_model)
        made, wanted = world_model.predict(given), world_model.targets(given)
        for found, a, b in zip(world_model.surprise(given), made, wanted, strict=True):
            close(found, np.square(a - b).mean(-1), "surprise is the mean squared error", 1e-4)

    def test_a_step_is_not_predicted_from_itself(self, world_model: WorldModel) -> None:
        given = sequences(world_model)[2]
        changed = given.latents.copy()
        changed[1] += 3.0
        before, after = world_model.predict(
            [given, LatentSequence(changed, given.prompt, given.domain)]
        )
        close(before[1], after[1], "a step is not predicted from itself", 1e-4, 1e-4)
        assert not np.allclose(before[0], after[0], atol=1e-4), "steps see each other"

    def test_the_past_knows_no_future(self, world_model: WorldModel) -> None:
        given = sequences(world_model)[2]
        shorter = LatentSequence(given.latents[:3], given.prompt, given.domain)
        whole, part = world_model.predict([given, shorter], Context.PAST)
        close(whole[:3], part, "with Context.PAST no later step is seen", 1e-4, 1e-4)

    def test_a_look_ahead_knows_less(self, world_model: WorldModel) -> None:
        if world_model.info.horizon < 2:
            pytest.skip("predicts one step ahead alone")
        given = sequences(world_model)
        one = given[2]
        far = world_model.predict(given, Context.PAST, ahead=2)
        assert [made.shape for made in far] == [
            (len(each.latents), world_model.info.target_size) for each in given
        ], "a prediction a step, however far ahead"
        for changed in range(len(one.latents)):
            latents = one.latents.copy()
            latents[changed] += 3.0
            other = LatentSequence(latents, one.prompt, one.domain)
            after = world_model.predict([other], Context.PAST, ahead=2)[0]
            seen = changed + 2
            promise = "ahead=2 sees neither a step nor the one before"
            close(after[:seen], far[2][:seen], promise, 1e-4, 1e-4)
            if seen < len(one.latents):
                assert not np.allclose(after[seen], far[2][seen], atol=1e-4), (
                    "ahead=2 sees the steps before the last one"
                )
        close(
            world_model.predict([one], Context.PAST, ahead=1)[0],
            world_model.predict([one], Context.PAST)[0],
            "one step ahead is what is predicted if nothing is said",
            0,
        )

    def test_a_look_ahead_that_there_is_not_is_refused(self, world_model: WorldModel) -> None:
        if world_model.info.horizon < 2:
            pytest.skip("predicts one step ahead alone")
        given = sequences(world_model)[:1]
        with raises(InputError, "only the past is looked ahead from", match="ahead"):
            world_model.predict(given, Context.OTHERS, ahead=2)
        with raises(InputError, "a look ahead is of a step or more", match="ahead"):
            world_model.predict(given, Context.PAST, ahead=0)
        with raises(UnsupportedError, "nothing is predicted beyond info.horizon", match="ahead"):
            world_model.predict(given, Context.PAST, ahead=world_model.info.horizon + 1)

    def test_masked_steps_in_the_order_they_were_asked(self, world_model: WorldModel) -> None:
        given = sequences(world_model)
        a, b = world_model.predict_masked([given[2], given[2]], [[1, 3], [3, 1]])
        assert a.shape == (2, world_model.info.target_size), "one prediction per masked step, of E"
        close(a, b[::-1], "predictions come in the order of the masked steps", 1e-5, 1e-5)
        one = world_model.predict_masked([given[2]], [[4]])[0]
        alone = world_model.predict([given[2]])[0][4]
        close(one[0], alone, "one masked step is predicted as predict() does", 1e-7, 1e-4)

    @pytest.mark.parametrize("masked", [[], [5], [-1], [1, 1]])
    def test_invalid_masks_are_refused(self, world_model: WorldModel, masked: list[int]) -> None:
        with raises(
            InputError,
            "missing or repeated masked steps are refused, naming the position of their sequence",
            match="sequence 0",
        ):
            world_model.predict_masked([sequences(world_model)[2]], [masked])

    def test_a_step_has_an_embedding(self, world_model: WorldModel) -> None:
        given = sequences(world_model)
        made = world_model.embeddings(given)
        widths = {one.shape[1] for one in made}
        assert [len(one) for one in made] == [len(one.latents) for one in given], (
            "one embedding per step"
        )
        assert len(widths) == 1, "embeddings have one width"

    def test_an_invalid_sequence_is_named_by_its_position(self, world_model: WorldModel) -> None:
        given = sequences(world_model)
        poisoned = given[1].latents.copy()
        poisoned[0, 0] = np.nan
        wide = np.zeros((2, world_model.info.hidden_size + 1), np.float32)
        none = np.zeros((0, world_model.info.hidden_size), np.float32)
        for latents in (poisoned, wide, none):
            bad = LatentSequence(latents, given[1].prompt, given[1].domain)
            with raises(
                InputError,
                "a sequence that cannot be scored is named by its position",
                match="sequence 1",
            ):
                world_model.surprise([given[0], bad])
        with raises(InputError, "a prompt of another width is refused", match="sequence 0"):
            world_model.surprise([LatentSequence(given[0].latents, given[0].prompt[1:], "math")])

    def test_a_verdict_is_made_of_probabilities(self, world_model: WorldModel) -> None:
        given = sequences(world_model)
        if not world_model.info.verifies:
            return self._is_no_verifier(world_model, given)
        first = world_model.verify(given)
        for one, found in zip(given, first, strict=True):
            assert found.wrong.shape == (len(one.latents),), "one probability per step"
            assert found.wrong.dtype == np.float32, "answers are float32"
            assert ((found.wrong >= 0) & (found.wrong <= 1)).all(), "a probability is from 0 to 1"
            assert 0 <= found.right <= 1, "a probability is from 0 to 1"
        for before, after in zip(first, world_model.verify(given), strict=True):
            close(before.wrong, after.wrong, "the same input gives the same verdict", 0)
            close(before.right, after.right, "the same input gives the same verdict", 0)
        own = "a verdict does not depend on the others"
        for one, among in zip(given, first, strict=True):
            alone = world_model.verify([one])[0]
            close(alone.wrong, among.wrong, own, self.tolerance, self.tolerance)
            close(alone.right, among.right, own, self.tolerance, self.tolerance)
        assert world_model.verify([]) == [], "no sequences, no answers"
        first[0].wrong[:] = 2
        kept = world_model.verify(given)[0].wrong
        assert (kept <= 1).all(), "answers are the caller's own"
        return None

    @staticmethod
    def _is_no_verifier(world_model: WorldModel, given: list[LatentSequence]) -> None:
        assert not world_model.info.needs_logprobs, "only a verifier needs log-probabilities"
        # One that was made before there were verifiers has no such method.
        if not hasattr(world_model, "verify"):
            return
        with raises(
            UnsupportedError, "what is no verifier says how to train one", match="objective"
        ):
            world_model.verify(given)

    def test_a_verifier_refuses_what_it_cannot_read(self, world_model: WorldModel) -> None:
        if not world_model.info.verifies:
            pytest.skip("is no verifier")
        good, bad, *_ = sequences(world_model)
        poisoned = bad.latents.copy()
        poisoned[0, 0] = np.nan
        none = attrs.evolve(bad, logprobs=None)
        named = "a sequence that cannot be verified is named by its position"
        with raises(InputError, named, match="sequence 1"):
            world_model.verify([good, attrs.evolve(bad, latents=poisoned)])
        if not world_model.info.needs_logprobs:
            assert len(world_model.verify([good, none])) == 2, "log-probabilities are not needed"
            return
        assert bad.logprobs is not None, "these sequences have log-probabilities"
        infinite = np.full_like(bad.logprobs, -np.inf)
        for logprobs in (None, np.zeros(len(bad.latents) + 1, np.float32), infinite):
            with raises(InputError, named, match="sequence 1"):
                world_model.verify([good, attrs.evolve(bad, logprobs=logprobs)])

    def test_no_sequences_have_no_answers(self, world_model: WorldModel) -> None:
        assert world_model.surprise([]) == [], "no sequences, no answers"

    def test_answers_are_the_callers_own(self, world_model: WorldModel) -> None:
        given = sequences(world_model)[:1]
        first = world_model.predict(given)[0]
        kept = first.copy()
        first[:] = 0
        close(world_model.predict(given)[0], kept, "answers are the caller's own", 0)

    def test_the_way_back_to_the_llm(self, world_model: WorldModel) -> None:
        given = sequences(world_model)
        if world_model.info.target_space is TargetSpace.MODEL:
            with raises(UnsupportedError, "a world model with a space of its own has no way back"):
                world_model.unstandardise(world_model.targets(given)[0])
            return
        back = world_model.unstandardise(world_model.targets(given)[0])
        close(back, given[0].latents, "unstandardise() leads back to the latents", 1e-3, 1e-3)


class PretrainedRunContract(WorldModelContract):
    """Inherit and set `adapter`, the descriptor of a pretrained run in an installed plugin."""

    adapter: ClassVar[PretrainedRunAdapter]

    @pytest.fixture
    def world_model(self) -> Iterator[WorldModel]:
        model = open_world_model(self.adapter.name, "cpu")
        yield model
        model.close()

    def test_it_is_found_by_its_name(self) -> None:
        found = Registry().find(PretrainedRunAdapter, self.adapter.name)
        assert found.location() == self.adapter.location(), "the name leads to the same place"

    def test_it_says_what_surprises(self, world_model: WorldModel) -> None:
        assert world_model.info.quantiles, "its surprise can be compared with validation's"
