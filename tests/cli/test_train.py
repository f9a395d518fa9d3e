"""`rjepa-cli train` as a user meets it, around a trainer that learns nothing."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml
from click.testing import Result

from rjepa_cli.commands import train as train_module
from rjepa_cli.commands.train import TrainProgressReport
from rjepa_cli.console import Screen
from rjepa_core.config import unstructure
from rjepa_core.plugins.hooks import GROUP, WorldModelAdapter, hookimpl
from rjepa_core.plugins.registry import Registry
from rjepa_core.ports.world_model import TrainProgress, TrainSummary, TrainWatch
from rjepa_core.settings.training import TrainSettings
from rjepa_core.training.report import epoch_line, facts_of, lines

from .conftest import Invoke, only_line
from .test_lazy import HEAVY, imported

STEPS = 5


@attrs.define
class FakeTrainer:
    """Runs so many epochs of five steps, and remembers what it was asked for."""

    settings: TrainSettings | None = None
    resumed: bool = False
    strike_at: int = -1
    raises: BaseException | None = None
    meanwhile: Callable[[], None] = lambda: None

    def train(self, run: str, settings: TrainSettings, watch: TrainWatch) -> TrainSummary:
        self.settings, self.resumed = settings, watch.resume
        place = Path(run)
        place.mkdir(parents=True, exist_ok=True)
        (place / "config.yaml").write_text(yaml.safe_dump(unstructure(settings)))
        watch.say("4 traces to train on")
        watch.warn("this trainer learns nothing")
        if self.raises is not None:
            raise self.raises
        epochs, curve = settings.training.max_epochs, []
        for step in range(epochs * STEPS):
            if step == self.strike_at:
                os.kill(os.getpid(), signal.SIGINT)
            self.meanwhile()
            progress = TrainProgress(
                step // STEPS, epochs, step + 1, epochs * STEPS, 8 * step + 8, 1 / (step + 1), 1e-3
            )
            watch.report(progress)
            if watch.stop():
                return TrainSummary(
                    run, step // STEPS, step + 1, 8 * step + 8, 0.1, 0, 0.0, "stopped", (*curve,)
                )
            if (step + 1) % STEPS == 0:
                row = {
                    "epoch": step // STEPS + 1,
                    "step": step + 1,
                    "loss": 1 / (step + 1),
                }
                row["nan"] = float("nan")
                watch.kept(row)
                curve.append(row)
        (place / "report.html").write_text("<p>")
        return TrainSummary(
            run,
            epochs,
            epochs * STEPS,
            40 * epochs,
            1.5,
            2,
            0.25,
            "done",
            tuple(curve),
            report=str(place / "report.html"),
        )

    @hookimpl
    def rjepa_world_models(self) -> Iterable[WorldModelAdapter]:
        def claims(location: str) -> bool:
            return (Path(location) / "config.yaml").exists()

        def refuse(location: str, device: str) -> Any:
            raise NotImplementedError

        return [WorldModelAdapter(name="jepa", open=refuse, claims=claims, train=self.train)]


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> FakeTrainer:
    fake = FakeTrainer()

    class Entry:
        name, group, dist = "jepa", GROUP, None

        def load(self) -> FakeTrainer:
            return fake

    entry: EntryPoint = Entry()  # type: ignore[assignment]
    monkeypatch.setattr(train_module, "Registry", lambda: Registry([entry]))
    return fake


@pytest.fixture
def train(invoke: Invoke, trainer: FakeTrainer) -> Invoke:
    """With a store that the trainer never opens."""

    def run(*arguments: str) -> Result:
        return invoke("train", "--store", "s", "--out", "run", *arguments)

    return run


def test_flags_file_and_set_make_the_settings(
    train: Invoke, trainer: FakeTrainer, home: Path
) -> None:
    (home / "t.yaml").write_text(
        "model: {width: 64, depth: 1}\ntraining:\n  lr: 3e-4\n  seed: 5\nmasker: {masks: "
        "{causal: 1}}\ndata: {layer: 3}\n"
    )
    flags = "--objective ema --epochs 2 --batch-size 8 --seed 7 --device cpu --workers 2"
    result = train(
        "--config", "t.yaml", *flags.split(), "--store", "other", "--set", "model.depth=2"
    )
    assert result.exit_code == 0, result.output
    made = trainer.settings
    assert made is not None
    assert made.data == TrainSettings().data.__class__(stores=("s", "other"), layer=3)
    assert (made.model.objective, made.model.width, made.model.depth) == ("ema", 64, 2)
    assert (made.training.lr, made.training.seed, made.training.max_epochs) == (3e-4, 7, 2)
    assert (made.training.batch_size, made.training.num_workers) == (8, 2)
    assert made.training.device == "cpu"
    assert made.masker.masks == {"causal": 1.0}
    assert not trainer.resumed


def test_what_it_tells(train: Invoke) -> None:
    result = train("--epochs", "3")
    assert result.exit_code == 0
    table = [line.split() for line in result.stdout.splitlines()]
    assert table[0] == ["epoch", "step", "loss", "nan"]
    assert table[2] == ["*", "2", "10", "0.1", "-"]
    assert "all epochs done: 3 epochs, 15 steps, 120 samples; 1.5 s in this run" in result.stdout
    assert "best: epoch 2, 0.25" in result.stdout
    assert "report: run/report.html" in result.stdout
    assert "4 traces to train on" in result.stderr
    assert "rjepa-cli: warning: this trainer learns nothing" in result.stderr
    assert "epoch 3: step 15, loss 0.06667" in result.stderr
    assert "1/15  epoch 1/3, loss 1" in result.stderr


def test_json(train: Invoke) -> None:
    facts = json.loads(train("--epochs", "2", "--json").stdout)
    assert facts["ending"] == "done"
    assert facts["report"] == "run/report.html"
    assert facts["curve"][1] == {"epoch": 2, "step": 10, "loss": 0.1, "nan": None}


def test_a_run_is_not_overwritten(train: Invoke, trainer: FakeTrainer, home: Path) -> None:
    assert train("--epochs", "1").exit_code == 0
    trainer.settings = None
    result = train("--epochs", "1")
    assert result.exit_code == 2
    assert only_line(result.stderr) == (
        "--out run: holds a run already; continue it with --resume, or name a new folder"
    )
    assert trainer.settings is None
    assert train("--epochs", "1", "--resume").exit_code == 0
    assert trainer.resumed
    (home / "run" / "config.yaml").unlink()
    assert "the folder is not empty" in only_line(train().stderr)
    (home / "file").touch()
    assert only_line(train("--out", "file").stderr) == "--out file: is not a folder"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "training.lrr=1"], "training.lrr (--set): unknown setting; did you mean "
         "training.lr (--lr)?"),
        (["--set", "trainig.lr=1"], "trainig (--set): unknown setting; did you mean training?"),
        (["--set", "masker.masks.contiguos=1"], "masker.masks.contiguos (--set): unknown setting; "
         "did you mean masker.masks.contiguous?"),
        (["--lr", "fast"], "training.lr (--lr): expected a number, got 'fast'"),
        (["--objective", "emma"], "model.objective (--objective): must be one of frozen, ema, "
         "sigreg, verifier; got 'emma' (did you mean ema?)"),
        (["--batch-size", "0"], "training.batch_size (--batch-size): must be >= 1, got 0"),
        (["--set", "model.width=30"], "model.width (--set): must be a multiple of heads, got 30 "
         "and 4"),
        (["--lr", "1", "--set", "training.lr=2"], "training.lr: --set says 2 and --lr says 1"),
        (["--sed", "1"], "no such option: --sed; did you mean --seed?"),
    ],
)  # fmt: skip
def test_mistakes(train: Invoke, home: Path, arguments: list[str], said: str) -> None:
    result = train(*arguments)
    assert result.exit_code == 2
    assert only_line(result.stderr).startswith(said)
    assert not (home / "run").exists()


def test_a_mistyped_key_in_a_file(train: Invoke, home: Path) -> None:
    (home / "t.yaml").write_text("training:\n  batch_size: 4\n  learning_rat: 3\n")
    line = only_line(train("--config", "t.yaml").stderr)
    assert line.startswith("training.learning_rat (t.yaml, line 3): unknown setting; ")
    (home / "t.yaml").write_text("trainer: {lr: 1}\n")
    line = only_line(train("--config", "t.yaml").stderr)
    assert line == "trainer (t.yaml, line 1): unknown setting; did you mean training?"


def test_what_is_missing(invoke: Invoke, trainer: FakeTrainer) -> None:
    assert "add --store DIR" in only_line(invoke("train", "--out", "run").stderr)
    assert "add --out RUN" in only_line(invoke("train", "--store", "s").stderr)


def test_print_config(invoke: Invoke, home: Path) -> None:
    printed = invoke("train", "--print-config", "--lr", "3e-4", "--store", "a b").stdout
    assert "  lr: 0.0003  # highest learning rate\n" in printed
    assert "  stores: [a b]  # " in printed
    (home / "t.yaml").write_text(printed)
    again = invoke("train", "--print-config", "--config", "t.yaml").stdout
    assert again == printed


def test_ctrl_c_lets_the_step_finish(train: Invoke, trainer: FakeTrainer) -> None:
    trainer.strike_at = 7
    result = train("--epochs", "9")
    assert result.exit_code == 130
    assert "interrupted: 1 epoch, 8 steps" in result.stdout
    assert result.stderr.endswith(
        "rjepa-cli: interrupted; continue with: rjepa-cli train --store s --out run --epochs 9 "
        "--resume\n"
    )
    facts = json.loads(train("--epochs", "9", "--resume", "--json").stdout)
    assert facts["ending"] == "interrupted"
    assert facts["steps"] == 8


def test_a_signal_while_stores_are_read(train: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(
        self: FakeTrainer, run: str, settings: TrainSettings, watch: TrainWatch
    ) -> TrainSummary:
        with watch.reading():
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("not reached")

    monkeypatch.setattr(FakeTrainer, "train", read)
    result = train()
    assert result.exit_code == 130
    assert result.stderr.endswith("rjepa-cli: interrupted; no run was begun yet\n")
    assert not Path("run").exists()


def test_what_a_killed_process_began_to_write_blocks_nothing(train: Invoke, home: Path) -> None:
    (home / "run").mkdir()
    (home / "run" / "config.yaml.unfinished").write_text("model:")
    assert train().exit_code == 0


def test_a_trainer_that_is_struck(train: Invoke, trainer: FakeTrainer) -> None:
    trainer.raises = KeyboardInterrupt()
    result = train()
    assert result.exit_code == 130
    assert "continue with: rjepa-cli train --store s --out run --resume" in result.stderr


def test_a_full_disk(train: Invoke, trainer: FakeTrainer) -> None:
    trainer.raises = OSError(28, "No space left on device", "run/checkpoint")
    result = train()
    assert result.exit_code == 1
    assert only_line(result.stderr) == (
        "the disk is full (run/checkpoint): make room and continue with --resume"
    )


def test_progress_on_a_run_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with TrainProgressReport(Screen()) as report:
        report(TrainProgress(5, 10, 501, 1000, 64, 2.0, 1e-3))
        now[0] += 10
        last = TrainProgress(5, 10, 601, 1000, 6464, 1.0, 1e-3)
        report(last)
        assert str(report.status(last)) == "epoch 6/10, loss 1.5, 640 samples/s, 40 s left at most"


def test_long_curves_are_thinned() -> None:
    curve = tuple({"epoch": i + 1, "loss": 1 / (i + 1)} for i in range(100))
    told = lines(facts_of(TrainSummary("r", 100, 1, 1, 1.0, 58, 0.5, "early", curve)))
    assert len(told) < 34
    assert any(line.split()[:2] == ["*", "58"] for line in told)
    assert any(line.startswith("(") and "of 100 epochs" in line for line in told)
    assert any(line.split()[:1] == ["100"] for line in told)
    assert "stopped early" in "\n".join(told)


def test_epoch_line_leaves_words_out() -> None:
    assert epoch_line({"epoch": 1, "loss": 0.5, "note": "x", "ok": True}) == "epoch 1: loss 0.5"


def test_help_loads_no_engine() -> None:
    names = imported("-m", "rjepa_cli", "train", "--print-config")
    assert "rjepa_core" in names, "the test sees nothing"
    assert not names & (HEAVY | {"rich", "rjepa_adapters"})
