"""Verifiers trained on small stores: what they learn, refuse, and go on with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from labelled_stores import make_labelled
from latent_stores import make_store
from training_logs import read_rows

from rjepa_adapters.world_model.checkpoint import DamagedCheckpointError, shapes_of
from rjepa_adapters.world_model.inference import JepaWorldModel, find_checkpoint
from rjepa_adapters.world_model.network import Network
from rjepa_adapters.world_model.run import train
from rjepa_adapters.world_model.run_state import check_fits, read_state
from rjepa_core.config import structure
from rjepa_core.domain.problem import Split, split_of
from rjepa_core.errors import IdentityError, InputError, SettingsError, UnsupportedError, UsageError
from rjepa_core.plugins.locate import open_store
from rjepa_core.ports.world_model import Context, LatentSequence, TrainWatch, WorldModel
from rjepa_core.scoring import sequence_of
from rjepa_core.settings import TrainSettings
from rjepa_core.testing.samples import sample_identity
from rjepa_core.testing.world_model_suite import WorldModelContract, sequences

RESUMED = TrainWatch(resume=True)
SMALL = {"width": 16, "heads": 2, "depth": 1}


def settings_of(*stores: str, **changes: Any) -> TrainSettings:
    model = {"objective": "verifier", **SMALL, **changes.pop("model", {})}
    data = {"stores": list(stores), **changes.pop("data", {})}
    training = {"max_epochs": 4, "device": "cpu", "lr": 3e-3, "patience": 0, **changes}
    return structure(TrainSettings, {"model": model, "training": training, "data": data})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_labelled(tmp_path_factory.mktemp("stores") / "s", kinds=("result", "order"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A world model that predicts in a space of its own, of the same latent space."""
    home = tmp_path_factory.mktemp("base")
    plain = make_store(home / "s", [2 + i % 4 for i in range(120)])
    small = {"predictor_width": 16, "predictor_heads": 2, "predictor_depth": 1}
    settings = {
        "model": {"objective": "ema", **SMALL, **small},
        "training": {"max_epochs": 1, "device": "cpu"},
        "data": {"stores": [plain]},
    }
    train(str(home / "run"), structure(TrainSettings, settings))
    return str(home / "run")


@pytest.fixture(scope="module", params=["own", "causal", "without", "numbers", "named"])
def trained(
    store: str, base: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> str:
    model: dict[str, Any] = {
        "own": {},
        "causal": {"causal_verdicts": True},
        "without": {"logprobs": False, "surprise": False},
        "numbers": {"latents": False},
        "named": {"world_model": base},
    }[request.param]
    run = str(tmp_path_factory.mktemp("runs") / request.param)
    train(run, settings_of(store, model=model))
    return run


class TestVerifier(WorldModelContract):
    @pytest.fixture
    def world_model(self, trained: str) -> WorldModel:
        return JepaWorldModel(trained, "cpu")


def test_it_says_what_it_is(trained: str) -> None:
    info = JepaWorldModel(trained, "cpu").info
    kind = Path(trained).name
    assert (info.objective, info.verifies) == ("verifier", True)
    assert info.needs_logprobs is (kind != "without")
    assert info.network == ("transformer" if kind == "named" else "linear")
    assert info.quantiles[0]


def test_a_planted_step_is_found(store: str, tmp_path: Path) -> None:
    said: list[str] = []
    warned: list[str] = []
    run, watch = str(tmp_path / "r"), TrainWatch(say=said.append, warn=warned.append)
    summary = train(run, settings_of(store, max_epochs=12), watch)
    assert [line for line in warned if "problems to train on" not in line] == []
    row = summary.curve[summary.best_epoch - 1]
    assert row["val_auroc_steps"] > 0.97
    assert row["val_auroc_answers"] > 0.95
    assert row["val_brier_answers"] < 0.1
    assert row["val_loss"] == pytest.approx(
        (row["val_log_loss_steps"] + row["val_log_loss_answers"]) / 2
    )
    assert summary.best == min(one["val_loss"] for one in summary.curve)
    assert any(line.startswith("training part: ") and "clean" in line for line in said)
    assert list(read_rows(tmp_path / "r" / "metrics.csv")[0])[:4] == [
        "epoch", "step", "loss", "val_loss",
    ]  # fmt: skip
    model, opened = JepaWorldModel(run, "cpu"), open_store(store)
    records = [opened.get(key) for key in opened.keys()]  # noqa: SIM118
    wrong = [r for r in records if "wrong_step" in r.trace.metadata]
    verdicts = model.verify([sequence_of(record) for record in wrong])
    named = [
        int(verdict.wrong.argmax()) == int(record.trace.metadata["wrong_step"])
        for verdict, record in zip(verdicts, wrong, strict=True)
    ]
    assert np.mean(named) > 0.9
    page = (tmp_path / "r" / "report.html").read_text()
    assert "<h2>Reliability</h2>" in page
    assert "Probability of wrong answers" in page


def test_where_nothing_can_be_told_nothing_is(tmp_path: Path) -> None:
    store = make_labelled(tmp_path / "s", problems=300, planted=False)
    warned: list[str] = []
    watch = TrainWatch(warn=warned.append)
    row = train(str(tmp_path / "r"), settings_of(store), watch).curve[-1]
    told = [line.partition(":")[0] for line in warned if "are not told" in line]
    assert told == [
        "wrong steps are not told from right ones",
        "wrong answers are not told from right ones",
    ]
    for name in ("steps", "answers"):
        assert abs(row[f"val_auroc_{name}"] - 0.5) < 0.17
    # Calibrated, it does no harm to say so.
    assert row["val_log_loss_answers"] < 0.72


def test_a_stopped_run_goes_on_to_the_digit(store: str, tmp_path: Path) -> None:
    settings, done = settings_of(store, max_epochs=3), []
    whole = train(str(tmp_path / "whole"), settings)
    for stop in (5, 12):
        watch = TrainWatch(
            resume=stop > 5, report=done.append, stop=lambda stop=stop: len(done) >= stop
        )
        assert train(str(tmp_path / "r"), settings, watch).ending == "stopped"
    found = train(str(tmp_path / "r"), settings, TrainWatch(resume=True))
    assert found.curve == whole.curve
    for name in ("steps.csv", "metrics.csv", "best.json"):
        assert (tmp_path / "r" / name).read_text() == (tmp_path / "whole" / name).read_text()
    a, b = (find_checkpoint(tmp_path / run, print, latest=True) for run in ("whole", "r"))
    assert a.model.keys() == b.model.keys()
    assert all((a.model[name] == b.model[name]).all() for name in a.model)
    assert a.state["quantiles"] == b.state["quantiles"]


def test_the_world_model_stays_as_it_was(store: str, base: str, tmp_path: Path) -> None:
    run = str(tmp_path / "r")
    train(run, settings_of(store, model={"world_model": base}, max_epochs=1))
    ours, theirs = JepaWorldModel(run, "cpu"), JepaWorldModel(base, "cpu")
    given = sequences(theirs)
    for context in Context:
        for one, other in zip(
            ours.surprise(given, context), theirs.surprise(given, context), strict=True
        ):
            np.testing.assert_array_equal(one, other)
    assert ours.info.quantiles == theirs.info.quantiles
    assert ours.info.target_space is theirs.info.target_space
    # The run is whole without the other: a verifier's world model can be taken again.
    again = str(tmp_path / "again")
    train(again, settings_of(store, model={"world_model": run}, max_epochs=1))
    np.testing.assert_array_equal(
        JepaWorldModel(again, "cpu").surprise(given)[2], theirs.surprise(given)[2]
    )


def test_a_world_model_that_knows_domains(store: str, tmp_path: Path) -> None:
    # The problems of both stores are of domain `math`.
    plain = make_store(tmp_path / "s", [2 + i % 4 for i in range(60)])
    small = {"predictor_width": 16, "predictor_heads": 2, "predictor_depth": 1, "domains": True}
    settings = {
        "model": {**SMALL, **small},
        "training": {"max_epochs": 1, "device": "cpu"},
        "data": {"stores": [plain]},
    }
    base, run = str(tmp_path / "base"), str(tmp_path / "r")
    train(base, structure(TrainSettings, settings))
    train(run, settings_of(store, model={"world_model": base}, max_epochs=1))
    found = train(run, settings_of(store, model={"world_model": base}, max_epochs=1), RESUMED)
    assert found.ending == "done"
    model = JepaWorldModel(run, "cpu")
    given = sequences(model)
    assert len(model.verify(given)) == len(given)
    with pytest.raises(InputError, match="sequence 0: domain 'art' was not trained on"):
        model.verify([attrs.evolve(given[0], domain="art")])


def test_what_is_seen_is_the_same_while_it_trains(store: str, base: str, tmp_path: Path) -> None:
    run = tmp_path / "r"
    train(str(run), settings_of(store, model={"world_model": base}, max_epochs=1))
    found = find_checkpoint(run, print)
    state = read_state(found)
    network = Network.of(state.settings, found.model, 1, state.verifier)
    random = torch.Generator().manual_seed(0)
    given = torch.randn(3, 4, 8, generator=random), torch.randn(3, 8, generator=random)
    rest = torch.zeros(3, dtype=torch.long), torch.zeros(3, 4)
    seen = [network.train(mode).verifier_inputs(*given, *rest) for mode in (True, False)]
    for one, other in zip(*seen, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_causal_verdict_knows_no_later_step(store: str, tmp_path: Path) -> None:
    run = str(tmp_path / "r")
    train(run, settings_of(store, model={"causal_verdicts": True}, max_epochs=2))
    model = JepaWorldModel(run, "cpu")
    one = sequences(model)[2]
    assert one.logprobs is not None
    part = LatentSequence(one.latents[:3], one.prompt, one.domain, one.logprobs[:3])
    whole, cut = model.verify([one, part])
    np.testing.assert_allclose(whole.wrong[:3], cut.wrong, rtol=1e-4, atol=1e-5)


def test_kinds_that_are_left_out(store: str, tmp_path: Path) -> None:
    said: list[str] = []
    warned: list[str] = []
    watch = TrainWatch(say=said.append, warn=warned.append)
    settings = settings_of(store, data={"damage": ["order"]}, max_epochs=1)
    train(str(tmp_path / "r"), settings, watch)
    parts = [line for line in said if " part: " in line]
    assert all("order" in line and "result" not in line for line in parts)
    assert "of kinds that data.damage leaves out" in warned[0]
    with pytest.raises(SettingsError, match=r"data\.damage: must be one of .*'ordr'"):
        settings_of(store, data={"damage": ["ordr"]})


def test_grades_are_learned_from(tmp_path: Path) -> None:
    from rjepa_core.grading import grade, require_grades

    place = make_store(tmp_path / "s", [2 + i % 3 for i in range(200)], correct="")
    with open_store(place, "write") as opened:
        # Every second one says another answer than it should.
        for i, key in enumerate(list(opened.keys())):
            record = opened.get(key)
            answer = record.trace.answer if i % 2 else "#### 41"
            trace = attrs.evolve(record.trace, answer=answer, metadata={})
            latents = record.latents.copy()
            latents[:, 0, 0] += 0 if i % 2 else 4
            opened.write([attrs.evolve(record, trace=trace, latents=latents)])
        opened.commit()
        assert grade(opened, "exact").graded == 200
        assert {one.mark for one in require_grades(opened).grades()} == {"right", "wrong"}
    said: list[str] = []
    settings = settings_of(place, max_epochs=8)
    curve = train(str(tmp_path / "r"), settings, TrainWatch(say=said.append)).curve
    assert curve[-1]["val_auroc_answers"] > 0.9
    assert any("graded" in line for line in said)
    # Nobody said which step of a wrong one is wrong.
    assert "val_auroc_steps" not in curve[-1]


def test_what_has_no_label_is_left_out_and_counted(store: str, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    identity = sample_identity(width=8, logprobs=True)
    make_store(bare, [3] * 40, identity=identity, prefix="bare", correct="")
    said: list[str] = []
    warned: list[str] = []
    watch = TrainWatch(say=said.append, warn=warned.append)
    train(str(tmp_path / "r"), settings_of(store, str(bare), max_epochs=1), watch)
    left_out = [re.search(r"left out: (\d+) without a label or grade", line) for line in warned]
    assert sum(int(found[1]) for found in left_out if found) in range(20, 41)
    assert all("labelled" not in line and "graded" not in line for line in said)


# refusals


def refused(place: Path, *stores: str, **changes: Any) -> str:
    with pytest.raises(UsageError) as caught:
        train(str(place / "r"), settings_of(*stores, **changes))
    assert not (place / "r").exists()
    return str(caught.value)


def test_a_store_without_labels_says_how_to_get_some(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [3] * 40, correct="")
    message = refused(tmp_path, store)
    assert "40 records" not in message or "nothing is left of 40 records" in message
    assert "do not say whether they are right" in message
    assert "grade the store" in message


def test_a_store_of_one_part_says_which_is_missing(store: str, tmp_path: Path) -> None:
    with open_store(store) as opened, open_store(str(tmp_path / "s"), "write") as target:
        assert opened.identity is not None
        target.begin(opened.identity)
        for key, entry in opened.entries():
            if split_of(entry.statement_hash) is Split.TRAIN:
                target.write([opened.get(key)])
    message = refused(tmp_path, str(tmp_path / "s"))
    assert "not in the validation part" in message
    assert "damaged solutions of the validation part" in message


def test_a_store_of_right_ones_alone(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s", [3] * 60, correct="true")
    message = refused(tmp_path, store)
    assert "are right; a verifier needs right and wrong ones" in message


def test_log_probabilities_that_are_missing(tmp_path: Path) -> None:
    bare = make_labelled(tmp_path / "bare", logprobs=False)
    message = refused(tmp_path, bare, model={"logprobs": True})
    assert message.startswith("model.logprobs: ")
    assert "have no log-probabilities" in message
    message = refused(tmp_path, bare, model={"latents": False, "surprise": False})
    assert message.endswith("a verifier needs something to go by")
    run = str(tmp_path / "r")
    train(run, settings_of(bare, max_epochs=1))
    assert not JepaWorldModel(run, "cpu").info.needs_logprobs
    kept = make_labelled(tmp_path / "kept", problems=30)
    warned: list[str] = []
    mixed = settings_of(bare, kept, max_epochs=1)
    # The same problems again, under the same ids, in another store.
    train(str(tmp_path / "mixed"), mixed, TrainWatch(warn=warned.append))
    assert any(line.startswith("log-probabilities are not used: ") for line in warned)


def test_a_world_model_of_another_latent_space(base: str, tmp_path: Path) -> None:
    other = make_labelled(tmp_path / "s", width=12)
    with pytest.raises(IdentityError, match=r"is of another latent space than model\.world_model"):
        train(str(tmp_path / "r"), settings_of(other, model={"world_model": base}))
    message = refused(tmp_path, other, model={"world_model": str(tmp_path / "nowhere")})
    assert "holds no trained run" in message


def test_what_is_no_verifier(base: str) -> None:
    model = JepaWorldModel(base, "cpu")
    assert not model.info.verifies
    with pytest.raises(UnsupportedError, match=r"no verifier \(objective ema\); train one with"):
        model.verify(sequences(model))


@pytest.mark.parametrize(
    ("model", "training", "message"),
    [
        ({"network": "transformer"}, {}, "needs network linear, got transformer"),
        ({"objective": "frozen", "world_model": "x"}, {}, "for objective verifier, got frozen"),
        (
            {"latents": False, "surprise": False, "logprobs": False},
            {},
            "needs one of latents, surprise and logprobs",
        ),
        ({}, {"select": "retrieval"}, "it needs loss, got retrieval"),
    ],
)
def test_settings_that_do_not_fit(
    model: dict[str, Any], training: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        settings_of("s", model=model, **training)


def test_its_own_defaults_where_nothing_is_said() -> None:
    found = structure(TrainSettings, {"model": {"objective": "verifier"}, "training": {"lr": 0.5}})
    assert (found.training.lr, found.training.select, found.model.network) == (
        0.5,
        "loss",
        "linear",
    )
    plain = structure(TrainSettings, {"training": {"lr": 0.5}})
    assert found.model.dropout > plain.model.dropout
    assert found.training.weight_decay > plain.training.weight_decay
    assert plain == TrainSettings(training=attrs.evolve(TrainSettings().training, lr=0.5))


def test_a_checkpoint_of_another_objective_is_damaged(store: str, tmp_path: Path) -> None:
    run = tmp_path / "r"
    train(str(run), settings_of(store, max_epochs=1))
    found = find_checkpoint(run, print)
    assert found.state["verifier"] == {"logprobs": True, "world_model": None}
    for change in ({"verifier": None}, {"verifier": {"logprobs": "perhaps"}}):
        with pytest.raises(DamagedCheckpointError, match=r"state\.json: .*verifier"):
            read_state(attrs.evolve(found, state={**found.state, **change}))
    shapes = shapes_of(found.model)
    check_fits(found.state, shapes, found.path)
    del shapes["verifier.out.weight"]
    with pytest.raises(DamagedCheckpointError, match=r"verifier\.out\.weight is missing"):
        check_fits(found.state, shapes, found.path)


# labels and parts


def test_solutions_of_an_older_version_stay_together(tmp_path: Path) -> None:
    """They do not say whose problem they are of; an edited one has another statement."""
    from rjepa_adapters.world_model.index import open_index
    from rjepa_core.settings import DataSettings

    place = make_labelled(tmp_path / "s", problems=40, told=False)
    identity = sample_identity(width=8, logprobs=True)
    with open_store(place, "write") as opened:
        opened.begin(identity)
        for key in list(opened.keys()):
            record = opened.get(key)
            metadata = record.trace.metadata
            if metadata["kind"] == "clean":
                problem = attrs.evolve(
                    record.trace.problem,
                    id=record.trace.problem.id.replace("clean", "renamed"),
                    statement=f"Renamed {metadata['of']}?",
                )
                edited = {**metadata, "kind": "renamed"}
                trace = attrs.evolve(record.trace, problem=problem, metadata=edited)
                opened.write([attrs.evolve(record, trace=trace)])
    parts: dict[str, set[Split]] = {}
    for split in Split:
        index = open_index(DataSettings(stores=(place,)), split, with_labels=True)
        for i in range(len(index)):
            parts.setdefault(index.keys[i].problem_id.split("~")[0], set()).add(split)
        assert index.supervision is not None
        assert index.supervision.kinds["renamed"] == index.supervision.kinds["clean"]
    assert len(parts) == 40
    assert all(len(found) == 1 for found in parts.values())
