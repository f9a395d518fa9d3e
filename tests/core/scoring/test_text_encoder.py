"""Solutions as text are encoded as the store's were, whatever else is asked at the same time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import numpy as np
import pytest
from evaluation_stores import make_run, make_store, registry, solution, statement

from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.problem import GivenSolution
from rjepa_core.domain.trace import Failure, RecordKey, Trace
from rjepa_core.errors import BackendError, IdentityError, OutOfMemoryError
from rjepa_core.extraction.run_identity import today
from rjepa_core.plugins.locate import open_store, open_world_model
from rjepa_core.ports.backend import InFlight, Step
from rjepa_core.ports.store import LatentStore
from rjepa_core.ports.world_model import WorldModelInfo
from rjepa_core.scoring.text_encoder import (
    Solution,
    TextEncoder,
    encoder_settings,
    open_text_encoder,
    sequence_of,
)
from rjepa_core.settings.extraction import AdapterSettings, EncodingSettings, ModelSettings
from rjepa_core.testing.samples import sample_identity, sample_record
from rjepa_core.testing.seeded import SeededBackend, SeededSettings

SEEDED = AdapterSettings(name="seeded")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LatentStore]:
    with open_store(make_store(tmp_path_factory.mktemp("texts"), count=30)) as store:
        yield store


@pytest.fixture(scope="module")
def info(store: LatentStore, tmp_path_factory: pytest.TempPathFactory) -> WorldModelInfo:
    run = make_run(store.location, tmp_path_factory.mktemp("runs") / "run")
    return open_world_model(run, registry=registry()).info


@pytest.fixture
def encoder(info: WorldModelInfo) -> Iterator[TextEncoder]:
    encoder = open_text_encoder(ModelSettings(name="m"), SEEDED, info, registry())
    yield encoder
    encoder.close()


def asked(number: int) -> Solution:
    return Solution(statement(number), GivenSolution(solution(number + 2)), "math")


def test_texts_get_the_latents_of_their_records(store: LatentStore, encoder: TextEncoder) -> None:
    numbers = [7, 3, 3, 12]
    for number, found in zip(numbers, encoder.encode([asked(n) for n in numbers]), strict=True):
        assert isinstance(found, LatentRecord)
        wanted = store.get(RecordKey(f"q{number}"))
        np.testing.assert_array_equal(found.latents, wanted.latents)
        np.testing.assert_array_equal(found.prompt_latent, wanted.prompt_latent)
        assert found.latents.dtype == wanted.latents.dtype
        assert found.trace.step_texts == wanted.trace.step_texts
        assert found.trace.spans == wanted.trace.spans


def test_what_cannot_be_encoded_fails_alone(encoder: TextEncoder) -> None:
    bad = Solution("Why?", GivenSolution("#### 7"), "math")
    first, failed, last = encoder.encode([asked(1), bad, asked(2)])
    assert isinstance(first, LatentRecord)
    assert isinstance(failed, Failure)
    assert failed.reason == "answer only"
    assert isinstance(last, LatentRecord)
    assert encoder.encode([]) == []


def test_an_empty_step_is_named_and_shifts_none(encoder: TextEncoder) -> None:
    bad = Solution("Why?", GivenSolution(steps=("a", " ", "b")), "math")
    first, failed = encoder.encode([asked(1), bad])
    assert isinstance(first, LatentRecord)
    assert isinstance(failed, Failure)
    assert failed.reason == "empty step"
    assert failed.detail.startswith("step 2 of 3 is empty")


def test_too_many_steps_are_refused_before_the_llm_runs(
    encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    encode = SeededBackend.encode

    def counted(self: SeededBackend, traces: Sequence[Trace], encoding: EncodingSettings) -> object:
        encoded.extend(len(trace.spans) for trace in traces)
        return encode(self, traces, encoding)

    monkeypatch.setattr(SeededBackend, "encode", counted)
    long = Solution("Why?", GivenSolution("\n".join(f"line {i}" for i in range(300))), "math")
    [failed] = encoder.encode([long], most_steps=128)
    assert isinstance(failed, Failure)
    assert (failed.reason, failed.detail) == (
        "too many steps",
        "300 steps, at most 128 are taken",
    )
    assert encoded == []
    [record] = encoder.encode([long], most_steps=300)
    assert isinstance(record, LatentRecord)
    assert encoded == [300]


def test_another_llm_or_prompt_is_refused(info: WorldModelInfo) -> None:
    with pytest.raises(IdentityError, match=r"model\.name other is of another latent space"):
        open_text_encoder(ModelSettings(name="other"), SEEDED, info, registry())
    prompt = attrs.evolve(info.space.prompt, chat_format="another")
    other = attrs.evolve(info, space=attrs.evolve(info.space, prompt=prompt))
    with pytest.raises(IdentityError, match="chat_format"):
        open_text_encoder(ModelSettings(name="m"), SEEDED, other, registry())


def test_what_the_world_model_does_not_know_is_told_and_what_it_knows_is_compared(
    info: WorldModelInfo, caplog: pytest.LogCaptureFixture
) -> None:
    for tokenizer, told in (("utf-8", 0), (None, 1)):
        space = attrs.evolve(info.space, tokenizer=tokenizer)
        older = attrs.evolve(info, space=space)
        open_text_encoder(ModelSettings(name="m"), SEEDED, older, registry()).close()
        assert len(caplog.messages) == told
    assert "did not keep the tokenizer of its latents" in caplog.text
    other = attrs.evolve(info, space=attrs.evolve(info.space, tokenizer="another"))
    with pytest.raises(IdentityError, match='tokenizer is "utf-8" there and "another" in'):
        open_text_encoder(ModelSettings(name="m"), SEEDED, other, registry())


def test_texts_are_posed_on_the_day_of_the_latent_space(info: WorldModelInfo) -> None:
    model = ModelSettings(name="m")
    prompt = attrs.evolve(info.space.prompt, date="2024-02-29")
    space = attrs.evolve(info.space, prompt=prompt)
    assert encoder_settings(model, SEEDED, space).prompt.date == "2024-02-29"
    assert encoder_settings(model, SEEDED, info.space).prompt.date == today()


def test_a_pass_that_does_not_fit_is_made_smaller(info: WorldModelInfo, store: LatentStore) -> None:
    sizes: list[int] = []

    class Tight(SeededBackend):
        def encode(self, traces: Sequence, encoding: object) -> Sequence:  # type: ignore[override]
            sizes.append(len(traces))
            if len(traces) > 2:
                raise OutOfMemoryError("no room")
            return super().encode(traces, encoding)  # type: ignore[arg-type]

    settings = encoder_settings(ModelSettings(name="m"), SEEDED, info.space)
    encoder = TextEncoder(Tight(ModelSettings(name="m"), SeededSettings()), settings, info.space)
    found = encoder.encode([asked(n) for n in range(8)])
    assert sizes[0] == 8
    assert all(isinstance(one, LatentRecord) for one in found)
    for number, one in enumerate(found):
        assert isinstance(one, LatentRecord)
        wanted = store.get(RecordKey(f"q{number}"))
        np.testing.assert_array_equal(one.latents, wanted.latents)


def test_a_backend_that_loses_something_is_named(info: WorldModelInfo) -> None:
    class Forgetful:
        in_flight = InFlight()

        def admit(self, work: object) -> None:
            pass

        def advance(self, room: object) -> Step:
            return Step()

        def close(self) -> None:
            pass

    class Lossy(SeededBackend):
        def open_session(self, spec: object) -> Forgetful:  # type: ignore[override]
            return Forgetful()

    settings = encoder_settings(ModelSettings(name="m"), SEEDED, info.space)
    encoder = TextEncoder(Lossy(ModelSettings(name="m"), SeededSettings()), settings, info.space)
    with pytest.raises(BackendError, match="was given 1 solutions and returned 0"):
        encoder.encode([asked(1)])


def test_log_probabilities_come_along() -> None:
    for kept in (True, False):
        record = sample_record(sample_identity(logprobs=kept))
        found = sequence_of(record).logprobs
        assert (found is not None) is kept
        if found is not None and record.logprobs is not None:
            assert found.tolist() == record.logprobs.tolist()
