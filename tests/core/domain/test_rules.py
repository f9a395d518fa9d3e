"""Stores go on with the rules that they were begun with, and two kinds of rules never meet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evaluation_stores import make_run, registry

from rjepa_core import (
    AdapterSettings,
    ExtractionSettings,
    ProblemSettings,
    RunSettings,
    SamplingSettings,
    open_store,
    run_extraction,
)
from rjepa_core.domain.identity import Generation, Identity
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.problem import GivenSolution
from rjepa_core.domain.trace import RecordKey
from rjepa_core.errors import IdentityError, UnsupportedError
from rjepa_core.plugins.hooks import BackendAdapter
from rjepa_core.plugins.locate import open_world_model
from rjepa_core.plugins.registry import Registry
from rjepa_core.ports.backend import ModelInfo
from rjepa_core.scoring.text_encoder import Solution, open_text_encoder
from rjepa_core.settings.extraction import ModelSettings, StepSettings
from rjepa_core.settings.strategies import STORED_STRATEGIES, stored_strategy
from rjepa_core.testing.samples import sample_identity

SOLUTION = (
    "<think>\nHm.\n\nYes.\n</think>\nSubtract 3:\n\\[\n2x = 8\n\\]\nSo:\n\\[\n\\boxed{4}\n\\]"
)
BY_THE_FIRST = (
    "<think>\n", "Hm.\n\n", "Yes.\n", "</think>\n", "Subtract 3:\n", "\\[\n", "2x = 8\n", "\\]\n",
    "So:\n", "\\[\n", "\\boxed{4}\n", "\\]",
)  # fmt: skip
NEWEST = (
    "<think>\nHm.\n\n", "Yes.\n</think>\n", "Subtract 3:\n\\[\n2x = 8\n\\]\n",
    "So:\n\\[\n\\boxed{4}\n\\]",
)  # fmt: skip
SEEDED = AdapterSettings(name="seeded")


def extraction(home: Path, count: int, **steps: str) -> ExtractionSettings:
    rows = [{"id": f"p{i}", "question": f"{i}?", "solution": SOLUTION} for i in range(count)]
    file = home / "given.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ExtractionSettings(
        model="m",
        store=home / "s",
        problems=ProblemSettings(traces=str(file)),
        steps=StepSettings(**steps),
        backend=SEEDED,
        run=RunSettings(resume=True),
    )


def kept(path: Path) -> tuple[str, str, dict[str, tuple[str, ...]]]:
    """What the identity says of the steps, the space's fingerprint, and each record's steps."""
    with open_store(path) as store:
        assert store.identity is not None
        texts = {key.problem_id: store.get(key).trace.step_texts for key in store.keys()}  # noqa: SIM118
        return store.identity.space.steps, store.identity.space.fingerprint, texts


def test_a_new_store_names_the_version_of_its_rules(tmp_path: Path) -> None:
    run_extraction(extraction(tmp_path, 1))
    steps, _, texts = kept(tmp_path / "s")
    assert (steps, texts) == ("auto-2", {"p0": NEWEST})
    with open_store(tmp_path / "s") as store:
        spans = store.get(RecordKey("p0")).trace.spans
    assert [span.thinking for span in spans] == [True, True, False, False]


def test_a_store_without_a_version_goes_on_with_the_first_rules(tmp_path: Path) -> None:
    """Its identity and fingerprint are those that version 0.1 wrote."""
    run_extraction(extraction(tmp_path, 1, strategy="auto-1"))
    steps, fingerprint, texts = kept(tmp_path / "s")
    assert (steps, texts) == ("auto", {"p0": BY_THE_FIRST})
    run_extraction(extraction(tmp_path, 2))
    assert kept(tmp_path / "s") == ("auto", fingerprint, dict.fromkeys(("p0", "p1"), BY_THE_FIRST))
    run_extraction(extraction(tmp_path, 3, strategy="auto-1"))
    assert len(kept(tmp_path / "s")[2]) == 3
    for other in ({"strategy": "auto-2"}, {"strategy": "lines"}, {"thinking": "drop"}):
        with pytest.raises(IdentityError, match=r'space.steps is "auto" there and'):
            run_extraction(extraction(tmp_path, 4, **other))


def test_thinking_that_is_left_out_is_another_space(tmp_path: Path) -> None:
    run_extraction(extraction(tmp_path, 1, thinking="drop"))
    assert kept(tmp_path / "s")[0] == "auto-2 without thinking"
    assert kept(tmp_path / "s")[2] == {"p0": NEWEST[2:]}
    run_extraction(extraction(tmp_path, 2, thinking="drop"))
    with pytest.raises(IdentityError, match="without thinking"):
        run_extraction(extraction(tmp_path, 3))


@pytest.mark.parametrize(
    ("asked", "steps"),
    [({"strategy": "auto-1"}, BY_THE_FIRST), ({}, NEWEST), ({"thinking": "drop"}, NEWEST[2:])],
)
def test_stored_traces_and_world_models_keep_their_rules(
    tmp_path: Path, asked: dict[str, str], steps: tuple[str, ...]
) -> None:
    run_extraction(extraction(tmp_path, 1, **asked))
    again = ExtractionSettings(
        model="m",
        store=tmp_path / "again",
        problems=ProblemSettings(traces=str(tmp_path / "s")),
        backend=SEEDED,
    )
    run_extraction(again)
    assert kept(tmp_path / "again") == kept(tmp_path / "s")
    run = make_run(str(tmp_path / "s"), tmp_path / "run")
    info = open_world_model(run, registry=registry()).info
    encoder = open_text_encoder(ModelSettings(name="m"), SEEDED, info, registry())
    [found] = encoder.encode([Solution("Why?", GivenSolution(SOLUTION), "math")])
    encoder.close()
    assert isinstance(found, LatentRecord)
    assert found.trace.step_texts == steps


def test_what_an_identity_says_is_read_back() -> None:
    for stored in STORED_STRATEGIES:
        settings = StepSettings.of(stored)
        assert settings.stored == stored
        assert stored_strategy(settings.strategy, settings.thinking) == stored
    assert len({*STORED_STRATEGIES}) == len(STORED_STRATEGIES)
    with pytest.raises(IdentityError, match=r"'auto-3', which this version .* update"):
        StepSettings.of("auto-3")


def test_the_first_rules_know_no_thinking() -> None:
    with pytest.raises(ValueError, match=r"thinking: must be keep with the strategy lines-1"):
        StepSettings(strategy="lines-1", thinking="drop")


def test_stop_texts_belong_to_the_generation() -> None:
    identity = sample_identity()
    written = identity.to_json()
    stopping = Identity(
        identity.space, Generation("sampled", 300, 0.7, seed=0, stop=("b", "a", "b"))
    )
    read = Identity.from_json(json.loads(json.dumps(stopping.to_json())))
    assert read == stopping
    assert read.generation.stop == ("a", "b")
    assert "stop" not in written["generation"], "not written where there are none"
    assert Identity.from_json(written) == identity


class _Endless:
    """A backend that says that it cannot end at a text; nothing else is asked of it."""

    def __init__(self, *_: Any) -> None:
        self.info = ModelInfo("x", "endless", "none", "float32", 4, 2)

    def close(self) -> None:
        return None


def test_a_backend_that_cannot_stop_makes_no_store(tmp_path: Path) -> None:
    class Known(Registry):
        def find(self, kind: Any, name: str) -> Any:
            if name == "endless":
                return BackendAdapter(name="endless", create=_Endless)
            return super().find(kind, name)

    settings = ExtractionSettings(
        model="m",
        store=tmp_path / "s",
        problems=ProblemSettings(sources="demo"),
        sampling=SamplingSettings(stop="\n\n"),
        backend=AdapterSettings(name="endless"),
    )
    with pytest.raises(UnsupportedError, match=r"sampling.stop: the backend of endless cannot"):
        run_extraction(settings, Known())
    with open_store(tmp_path / "s", "write") as store:
        assert store.identity is None
