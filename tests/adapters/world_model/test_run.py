"""Training as a whole: real stores, real kills, real damage."""

from __future__ import annotations

import itertools
import json
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
import yaml
from latent_stores import make_store
from training_logs import read_rows

from rjepa_adapters.world_model import checkpoint
from rjepa_adapters.world_model import checkpoint as files
from rjepa_adapters.world_model.inference import JepaWorldModel, device_of, find_checkpoint
from rjepa_adapters.world_model.run import train
from rjepa_core.config import structure, unstructure
from rjepa_core.domain import floors
from rjepa_core.errors import DiskFullError, UsageError
from rjepa_core.plugins.locate import open_store
from rjepa_core.ports.world_model import LatentSequence, TrainSummary, TrainWatch, WorldModel
from rjepa_core.settings.training import OBJECTIVES, TrainSettings
from rjepa_core.testing.samples import sample_identity, told_identity
from rjepa_core.testing.world_model_suite import WorldModelContract

STEPS = [2 + i % 4 for i in range(120)]
SMALL = {"width": 16, "heads": 2, "depth": 1, "predictor_width": 16, "predictor_heads": 2}
CODE = """
import sys, yaml
from rjepa_adapters.world_model.run import train
from rjepa_core.config import structure, unstructure
from rjepa_core.settings import TrainSettings
from rjepa_core.ports.world_model import TrainWatch
import time
settings = structure(TrainSettings, yaml.safe_load(open(sys.argv[1])))
train(sys.argv[2], settings, TrainWatch(resume=sys.argv[3] == "resume",
      report=lambda progress: (print(progress.step, flush=True), time.sleep(0.01))))
"""


def settings_of(store: str, **changes: Any) -> TrainSettings:
    model = {**SMALL, **changes.pop("model", {})}
    data = {"stores": [store], **changes.pop("data", {})}
    training = {"max_epochs": 3, "batch_size": 8, "device": "cpu", "lr": 3e-3, **changes}
    return structure(TrainSettings, {"model": model, "training": training, "data": data})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_store(tmp_path_factory.mktemp("stores") / "s", STEPS)


@pytest.fixture(scope="module", params=["linear", "perceptron"])
def baseline(
    store: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> str:
    run = str(tmp_path_factory.mktemp("runs") / request.param)
    train(run, settings_of(store, model={"network": request.param}, max_epochs=1))
    return run


@pytest.fixture(scope="module", params=OBJECTIVES)
def trained(
    store: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[str, TrainSummary]:
    run = str(tmp_path_factory.mktemp("runs") / request.param)
    return run, train(run, settings_of(store, model={"objective": request.param}))


class TestJepa(WorldModelContract):
    @pytest.fixture
    def world_model(self, trained: tuple[str, TrainSummary]) -> WorldModel:
        return JepaWorldModel(trained[0], "cpu")


class TestBaselines(WorldModelContract):
    @pytest.fixture
    def world_model(self, baseline: str) -> WorldModel:
        return JepaWorldModel(baseline, "cpu")


@pytest.fixture(scope="module")
def uninterrupted(store: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "whole"
    train(str(run), settings_of(store, max_epochs=2))
    return run


def test_a_run_says_what_it_did(trained: tuple[str, TrainSummary]) -> None:
    run, summary = trained
    assert summary.ending == "done"
    assert summary.epochs == 3
    assert len(summary.curve) == 3
    steps = read_rows(Path(run) / "steps.csv")
    assert [row["step"] for row in steps] == list(range(1, summary.steps + 1))
    epochs = read_rows(Path(run) / "metrics.csv")
    assert [row["epoch"] for row in epochs] == [1, 2, 3]
    assert all(np.isfinite(row["val_loss"]) for row in epochs)
    assert 0 <= epochs[-1]["val_top1_past"] <= 1
    best = json.loads((Path(run) / "best.json").read_text())
    assert (summary.best, summary.best_epoch) == (best["val_mrr_past"], best["epoch"])
    if best["epoch"]:
        assert epochs[best["epoch"] - 1]["val_mrr_past"] == summary.best
    page = (Path(run) / "report.html").read_text()
    assert "is the best: " in page
    info = JepaWorldModel(run, "cpu").info
    assert set(info.quantiles) >= {0, 2, 3, 4, 5}
    assert all(len(values) == 101 for values in info.quantiles.values())
    assert list(info.quantiles[0]) == sorted(info.quantiles[0])
    assert set(info.compared) == set(info.quantiles)
    assert info.compared[0] == sum(many for steps, many in info.compared.items() if steps)
    assert summary.too_little == info.too_little is not None


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_run_on_too_little_warns_of_that_alone_and_once(
    store: str, tmp_path: Path, objective: str
) -> None:
    """Not of a collapse: a batch of few rows has few dimensions."""
    said: list[str] = []
    settings = settings_of(store, model={"objective": objective}, max_epochs=2)
    train(str(tmp_path / "r"), settings, TrainWatch(warn=said.append))
    [line] = said
    assert "problems to train on: from fewer than 200" in line


def test_a_run_on_enough_warns_of_nothing(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floors, "FEWEST_PROBLEMS", 50)
    said: list[str] = []
    settings = settings_of(store, max_epochs=1)
    summary = train(str(tmp_path / "r"), settings, TrainWatch(warn=said.append))
    assert (said, summary.too_little) == ([], None)


def test_the_loss_goes_down_where_there_is_something_to_learn(store: str, tmp_path: Path) -> None:
    """The steps of a sample store are noise, but the same noise each epoch."""
    model = {"dropout": 0.0, "width": 64, "heads": 4, "ridge": 0.0}
    settings = settings_of(store, max_epochs=40, model=model)
    # A first step that is predicted from no step at all cannot be learned by heart.
    masks = attrs.evolve(settings.masker, masks={"leave_one_out": 1.0})
    training = attrs.evolve(settings.training, patience=0)
    settings = attrs.evolve(settings, training=training, masker=masks)
    rows = train(str(tmp_path / "r"), settings).curve
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]


def test_a_killed_run_goes_on_to_the_digit(store: str, tmp_path: Path) -> None:
    settings = settings_of(store, checkpoint_minutes=0.0)
    train(str(tmp_path / "whole"), settings)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(unstructure(settings)))
    for number, at in enumerate((7, 19, 31)):
        words = [sys.executable, "-c", CODE, str(tmp_path / "c.yaml"), str(tmp_path / "killed")]
        process = subprocess.Popen(
            [*words, "resume" if number else "begin"],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip().isdigit() and int(line) >= at:
                break
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        time.sleep(0.05)
    train(str(tmp_path / "killed"), settings, TrainWatch(resume=True))
    for name in ("steps.csv", "metrics.csv"):
        whole = read_rows(tmp_path / "whole" / name)
        assert read_rows(tmp_path / "killed" / name) == whole, name
    a = find_checkpoint(tmp_path / "whole", print, latest=True)
    b = find_checkpoint(tmp_path / "killed", print, latest=True)
    assert all((a.model[name] == b.model[name]).all() for name in a.model)


@pytest.mark.parametrize(
    "place",
    [
        "torch.nn.utils.clip_grad_norm_",
        "torch.optim.AdamW.step",
        "rjepa_adapters.world_model.objectives.Objective.after_step",
        "rjepa_adapters.world_model.logs.Standing.after_step",
        "rjepa_adapters.world_model.logs.Writer.step",
        "rjepa_adapters.world_model.checkpoint.name_best",
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupt_anywhere_leaves_no_half_step(
    uninterrupted: Path,
    store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    when: str,
) -> None:
    module, _, name = place.rpartition(".")
    original, calls = pkgutil.resolve_name(place), itertools.count(1)

    def struck(*given: Any, **more: Any) -> Any:
        strikes = next(calls) == (1 if name == "name_best" else 4)
        if strikes and when == "before":
            signal.raise_signal(signal.SIGINT)
        found = original(*given, **more)
        if strikes and when == "after":
            signal.raise_signal(signal.SIGINT)
        return found

    run, settings = str(tmp_path / "r"), attrs.evolve(settings_of(store, max_epochs=2))
    monkeypatch.setattr(pkgutil.resolve_name(module), name, struck)
    with pytest.raises(KeyboardInterrupt):
        train(run, settings)
    monkeypatch.undo()
    train(run, settings, TrainWatch(resume=True))
    for file in ("steps.csv", "metrics.csv", "best.json"):
        assert (tmp_path / "r" / file).read_text() == (uninterrupted / file).read_text()
    a, b = (find_checkpoint(one, print, latest=True) for one in (uninterrupted, tmp_path / "r"))
    assert all((a.model[name] == b.model[name]).all() for name in a.model)


@pytest.mark.parametrize("how", ["cut", "flipped"])
def test_a_damaged_checkpoint_is_passed_over(store: str, tmp_path: Path, how: str) -> None:
    run = tmp_path / "r"
    train(str(run), settings_of(store))
    places = [place for _, place in checkpoint.steps(run)]
    file = places[-1] / "training.safetensors"
    content = bytearray(file.read_bytes())
    if how == "flipped":
        content[-5] ^= 1
    file.write_bytes(content[: len(content) // 2] if how == "cut" else content)
    model = places[-1] / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1])
    said: list[str] = []
    summary = train(str(run), settings_of(store), TrainWatch(resume=True, warn=said.append))
    assert "is damaged; the one before it is used" in said[0]
    assert str(places[-1]) in said[0]
    assert summary.epochs == 3


def test_all_checkpoints_damaged_is_one_line(store: str, tmp_path: Path) -> None:
    run = tmp_path / "r"
    train(str(run), settings_of(store))
    for _, place in checkpoint.steps(run):
        (place / "state.json").write_text("{")
    with pytest.raises(UsageError, match="none of its checkpoints is whole"):
        JepaWorldModel(str(run), "cpu", lambda line: None)


def test_a_stopped_run_goes_on(store: str, tmp_path: Path) -> None:
    run, done = str(tmp_path / "r"), []
    settings = settings_of(store)
    stop = TrainWatch(report=done.append, stop=lambda: len(done) >= 5)
    assert train(run, settings, stop).ending == "stopped"
    assert train(run, settings, TrainWatch(resume=True)).ending == "done"
    whole = str(tmp_path / "w")
    summary = train(whole, settings)
    rows = [read_rows(Path(one) / "steps.csv") for one in (run, whole)]
    assert rows[0] == rows[1]
    # A curve that went through a checkpoint has its columns in the same order.
    again = train(run, settings, TrainWatch(resume=True))
    assert [list(row) for row in again.curve] == [list(row) for row in summary.curve]


def test_accumulated_parts_are_one_batch(store: str, tmp_path: Path) -> None:
    """Without dropout and without negatives from the batch, parts change rounding alone."""
    rows = []
    for parts in (1, 2):
        settings = settings_of(
            store,
            accumulate=parts,
            contrastive=0.0,
            max_epochs=1,
            model={"dropout": 0.0},
        )
        masks = attrs.evolve(settings.masker, masks={"causal": 1.0}, min_ratio=0.5, max_ratio=0.5)
        settings = attrs.evolve(settings, masker=masks)
        train(str(tmp_path / str(parts)), settings)
        rows.append(read_rows(tmp_path / str(parts) / "metrics.csv")[0])
    assert rows[0]["step"] == rows[1]["step"]
    assert rows[0]["val_loss"] == pytest.approx(rows[1]["val_loss"], rel=0.05)


def test_early_stopping(store: str, tmp_path: Path) -> None:
    summary = train(str(tmp_path / "r"), settings_of(store, max_epochs=60, patience=2, lr=0.03))
    assert summary.ending == "early"
    assert summary.epochs == summary.best_epoch + 2


def test_a_run_that_stopped_early_is_over(store: str, tmp_path: Path) -> None:
    """Resumed, it used to go on for an epoch, which might become the best."""
    settings = settings_of(store, max_epochs=60, patience=1, lr=0.1)
    first = train(str(tmp_path / "r"), settings)
    again = train(str(tmp_path / "r"), settings, TrainWatch(resume=True))
    assert first.ending == again.ending == "early"
    assert (again.epochs, again.steps) == (first.epochs, first.steps)
    assert (again.best_epoch, again.best) == (first.best_epoch, first.best)


def test_collapse_is_told_within_an_epoch(store: str, tmp_path: Path) -> None:
    """No averaged encoder, no regulariser, nothing that tells steps apart."""
    said: list[tuple[int, str]] = []
    rows: list[dict[str, Any]] = []
    settings = settings_of(
        store,
        max_epochs=2,
        contrastive=0.0,
        sigreg=0.0,
        lr=0.02,
        batch_size=4,
        model={"objective": "sigreg", "linear_path": False},
    )
    watch = TrainWatch(warn=lambda line: said.append((len(rows), line)), kept=rows.append)
    train(str(tmp_path / "r"), settings, watch)
    # The store is small, which is told, too.
    said = [one for one in said if "problems to train on" not in one[1]]
    assert len(said) == 1, "once"
    assert said[0][0] <= 1
    assert "collapse" in said[0][1]
    assert "training.sigreg" in said[0][1]


@pytest.mark.parametrize("change", [{}, {"select": "error"}, {"select": "loss"}])
def test_a_run_that_only_does_harm_opens_as_it_started(
    store: str, tmp_path: Path, change: dict[str, Any]
) -> None:
    """The steps of a sample store are noise: whatever is learned is wrong elsewhere."""
    said: list[str] = []
    settings = settings_of(store, max_epochs=9, lr=0.1, patience=2, **change)
    summary = train(str(tmp_path / "r"), settings, TrainWatch(say=said.append))
    assert (summary.ending, summary.epochs, summary.best_epoch) == ("early", 2, 0)
    assert "the start, the linear path alone, is the best" in said[-2]
    assert find_checkpoint(tmp_path / "r", print).path.name == "step-00000000"
    path = JepaWorldModel(str(tmp_path / "r"), "cpu")._network.jepa
    assert path.predictor is not None
    assert not path.predictor.out.weight.any()
    assert path.linear is not None
    assert path.linear.past.weight.any()


@pytest.mark.parametrize("network", ["linear", "perceptron"])
def test_baselines_are_trained_as_the_model_is(store: str, tmp_path: Path, network: str) -> None:
    run = str(tmp_path / "r")
    settings = settings_of(store, model={"network": network}, max_epochs=2, checkpoint_minutes=0.0)
    done: list[Any] = []
    train(run, settings, TrainWatch(report=done.append, stop=lambda: len(done) >= 5))
    train(run, settings, TrainWatch(resume=True))
    whole = train(str(tmp_path / "w"), settings)
    assert read_rows(Path(run) / "steps.csv") == read_rows(tmp_path / "w" / "steps.csv")
    assert whole.curve[-1]["val_loss"] != whole.curve[0]["val_loss"], "it moves"
    network_ = JepaWorldModel(run, "cpu")._network
    assert network_.jepa.encoder is None
    names = {name.split(".")[1] for name, _ in network_.jepa.named_parameters(prefix="jepa")}
    assert names == {"linear", "hidden"} if network == "perceptron" else {"linear"}


def test_a_run_of_an_older_version_goes_on_as_it_was_begun(store: str, tmp_path: Path) -> None:
    """It has no setting for the learning rate of the linear path, and moved it as all else."""
    run, done = tmp_path / "r", []
    settings = settings_of(store, linear_lr=1.0, model={"first_apart": False})
    train(str(run), settings, TrainWatch(report=done.append, stop=lambda: len(done) >= 5))
    kept = yaml.safe_load((run / "config.yaml").read_text())
    del kept["training"]["linear_lr"], kept["model"]["network"]
    del kept["model"]["first_apart"]
    (run / "config.yaml").write_text(yaml.safe_dump(kept))
    train(str(run), settings_of(store), TrainWatch(resume=True))
    train(str(tmp_path / "w"), settings)
    assert read_rows(run / "steps.csv") == read_rows(tmp_path / "w" / "steps.csv")


def test_another_space_is_refused_on_resuming(tmp_path: Path) -> None:
    run = str(tmp_path / "r")
    a = make_store(tmp_path / "a", STEPS)
    train(run, settings_of(a, max_epochs=1))
    shutil.rmtree(a)
    make_store(
        tmp_path / "a",
        STEPS,
        attrs.evolve(
            sample_identity(), space=attrs.evolve(sample_identity().space, pooling="last")
        ),
    )
    with pytest.raises(UsageError, match='another latent space: pooling is "last" and was "mean"'):
        train(run, settings_of(a, max_epochs=1), TrainWatch(resume=True))


def test_a_run_goes_on_with_a_store_that_has_learned_its_tokenizer(tmp_path: Path) -> None:
    run = str(tmp_path / "r")
    a = make_store(tmp_path / "a", STEPS)
    train(run, settings_of(a, max_epochs=1))
    with open_store(a, "write") as store:
        store.begin(told_identity("one"))
    train(run, settings_of(a, max_epochs=1), TrainWatch(resume=True))


def test_other_settings_are_refused_on_resuming(store: str, tmp_path: Path) -> None:
    run = str(tmp_path / "r")
    train(run, settings_of(store, max_epochs=1))
    with pytest.raises(UsageError, match=r"training.lr was 0.003 and is 0.1"):
        train(run, settings_of(store, max_epochs=1, lr=0.1), TrainWatch(resume=True))
    train(
        run, settings_of(store, max_epochs=1, num_workers=0, keep_last=5), TrainWatch(resume=True)
    )


@pytest.mark.parametrize(
    ("make", "resume", "message"),
    [
        (lambda run: None, True, "holds no run to resume"),
        (lambda run: run.mkdir() or (run / "x").touch(), False, "is not empty, and no run"),
        (lambda run: run.touch(), False, "is not a folder"),
    ],
)
def test_folders_that_will_not_do(
    store: str, tmp_path: Path, make: Any, resume: bool, message: str
) -> None:
    make(tmp_path / "r")
    with pytest.raises(UsageError, match=message):
        train(str(tmp_path / "r"), settings_of(store), TrainWatch(resume=resume))


def test_a_loss_that_is_no_number_ends_the_run(store: str, tmp_path: Path) -> None:
    settings = settings_of(store, lr=1e30, grad_clip=0.0, warmup_epochs=0.0)
    with pytest.raises(UsageError, match=r"lower training\.lr"):
        train(str(tmp_path / "r"), settings)


def test_a_full_disk_is_one_line(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: object, path: Path) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(DiskFullError, match="No space left on device; free some space"):
        train(str(tmp_path / "r"), settings_of(store))


def test_a_run_that_could_not_be_begun_blocks_no_next_try(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, os.strerror(28))

    run, settings = str(tmp_path / "r"), settings_of(store, max_epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(files, "sync", full)
        with pytest.raises(UsageError, match="cannot be begun there: No space left on device"):
            train(run, settings)
    assert os.listdir(run) == []
    # A killed process leaves this.
    (tmp_path / "r" / "config.yaml.unfinished").write_text("model:")
    assert train(run, settings).ending == "done"


def test_domains_are_part_of_the_model(tmp_path: Path) -> None:
    a = make_store(tmp_path / "a", STEPS[:60], domain="math")
    b = make_store(tmp_path / "b", STEPS[:60], prefix="q", domain="code")
    run = str(tmp_path / "r")
    settings = settings_of(a, max_epochs=1, model={"domains": True}, data={"stores": [a, b]})
    train(run, settings)
    model = JepaWorldModel(run, "cpu")
    width = model.info.hidden_size
    noise = np.random.default_rng(0).standard_normal((3, width)).astype(np.float32)
    math, code = (LatentSequence(noise, noise[0], domain) for domain in ("math", "code"))
    assert not np.array_equal(*model.predict([math, code]))
    with pytest.raises(UsageError, match="domain 'art' was not trained on; known: code, math"):
        model.predict([LatentSequence(noise, noise[0], "art")])


def test_attention_on_a_card_is_kept_off_cudnn(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", asked.append)
    monkeypatch.setattr(torch, "empty", lambda *args, **more: None)
    assert device_of("cpu") == torch.device("cpu")
    assert not asked
    assert device_of("cuda:0") == torch.device("cuda:0")
    assert asked == [False]
