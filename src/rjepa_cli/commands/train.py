"""`rjepa-cli train`: train a world model on the latents of stores."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import click

from rjepa_core.config import structure, unstructure
from rjepa_core.errors import UnsupportedError, UsageError
from rjepa_core.plugins import Registry, WorldModelAdapter
from rjepa_core.ports.world_model import (
    RUN_CONFIG,
    UNFINISHED,
    TrainProgress,
    TrainSummary,
    TrainWatch,
)
from rjepa_core.settings import DataSettings, TrainingSettings, TrainSettings, WorldModelSettings
from rjepa_core.text import duration, rate
from rjepa_core.training import DEFAULT_TRAINER
from rjepa_core.training.report import epoch_line, facts_of, lines

from ..completion import runs
from ..config import DEBUG, JSON, PRINT_CONFIG, config_options, gather
from ..config_comments import commented
from ..console import Screen
from ..errors import InterruptedRunError, resume_command
from ..help import GroupedCommand
from ..options import Flag
from ..progress import Meter, Metered, Status
from ..signals import Interrupts

DONE = 0
TRAINER = DEFAULT_TRAINER
_ARGUMENTS = "rjepa-cli train"
TRAIN_FLAGS = (
    Flag("--store", "data.stores", DataSettings, metavar="[NAME:]PLACE", extra="Repeatable"),
    Flag("--layer", "data.layer", DataSettings),
    Flag("--objective", "model.objective", WorldModelSettings),
    Flag("--epochs", "training.max_epochs", TrainingSettings),
    Flag("--batch-size", "training.batch_size", TrainingSettings),
    Flag("--lr", "training.lr", TrainingSettings),
    Flag("--seed", "training.seed", TrainingSettings),
    Flag("--device", "training.device", TrainingSettings),
    Flag("--workers", "training.num_workers", TrainingSettings),
)
OTHER_OPTIONS = (
    click.Option(
        ["--out"],
        metavar="RUN",
        help="Folder of the run, created if necessary",
        shell_complete=runs,
    ),
    click.Option(
        ["--resume"], is_flag=True, help="Continue the run in --out with its own settings"
    ),
    *config_options("Any setting: masker.max_ratio=0.6"),
    PRINT_CONFIG,
    JSON,
    DEBUG,
)
_GROUPS = {
    "Latents": ["--store", "--layer"],
    "World model": ["--objective"],
    "Training": ["--epochs", "--batch-size", "--lr", "--seed", "--device", "--workers"],
    "Run": ["--out", "--resume"],
}
EPILOG = """\b
Examples:
  rjepa-cli train --store runs/first --out runs/world-model
  rjepa-cli train --store runs/a --store runs/b --out runs/ema --objective ema
  rjepa-cli train --store runs/first --out runs/wide --config train.yaml \\
      --set training.lr=3e-4 --set model.width=512
  rjepa-cli train --objective verifier --store runs/first.damage-train \\
      --store runs/first.damage-validation --out runs/verifier
  rjepa-cli train --out runs/world-model --resume
  rjepa-cli train --print-config > train.yaml

\b
hf:USER/NAME stands for a store on the Hugging Face Hub.
"""


class _TrainCommand(GroupedCommand):
    """A command that keeps its arguments, to show the command that resumes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)


@click.command(
    "train",
    cls=_TrainCommand,
    groups=_GROUPS,
    params=[*(flag.option() for flag in TRAIN_FLAGS), *OTHER_OPTIONS],
    epilog=EPILOG,
)
@click.pass_context
def command(ctx: click.Context, /, **params: Any) -> int:
    """Train a world model on the latents of stores.

    It learns to predict steps of a solution from the others. Problems are split into train,
    validation and test by their statements; training stops when the validation loss no longer
    falls. Ctrl-C writes a checkpoint; --resume continues from the last one, with the same losses as
    a run that was never interrupted.
    """
    if params["resume"] and params["out"] and not Path(params["out"]).exists():
        raise UsageError(
            f"--out {params['out']}: there is no such folder to resume; leave --resume out to "
            "begin a run there"
        )
    # A run keeps its settings.
    begun = params["resume"] and params["out"] and Path(params["out"]) / RUN_CONFIG
    config = str(begun) if begun and begun.is_file() else None
    settings = structure(TrainSettings, gather(ctx, TrainSettings, TRAIN_FLAGS, config=config))
    if params["print_config"]:
        if params["json"]:
            Screen(only_output=True).json(unstructure(settings))
        else:
            click.echo(commented(settings))
        return DONE
    return _train(ctx, settings, Screen())


def _train(ctx: click.Context, settings: TrainSettings, screen: Screen) -> int:
    params = ctx.params
    adapter = Registry().find(WorldModelAdapter, TRAINER)
    if adapter.train is None:
        raise UnsupportedError(f"world model {adapter.name!r} cannot be trained")
    run = _place(params["out"], params["resume"], adapter)
    if not settings.data.stores:
        raise UsageError("no latents to train on: add --store DIR")
    arguments = tuple(ctx.meta[_ARGUMENTS])
    with screen, Interrupts("writing a checkpoint") as interrupts:
        try:
            # A step is short, so it is always finished, and checkpoints are complete.
            with interrupts.holding(), TrainProgressReport(screen) as progress:
                summary = adapter.train(
                    run,
                    settings,
                    TrainWatch(
                        resume=params["resume"],
                        say=screen.say,
                        warn=screen.warn,
                        report=progress,
                        kept=lambda row: screen.say(epoch_line(row)),
                        stop=lambda: interrupts.asked,
                        reading=interrupts.computing,
                    ),
                )
        except KeyboardInterrupt:
            if not (Path(run) / RUN_CONFIG).exists():
                raise InterruptedRunError("interrupted; no run was begun yet") from None
            raise _interrupted(arguments) from None
        stopped = interrupts.asked and summary.ending == "stopped"
    if summary.rank == 0:
        _show(summary, screen, params["json"], stopped)
    if stopped:
        raise _interrupted(arguments)
    return DONE


def _show(summary: TrainSummary, screen: Screen, as_json: bool, stopped: bool) -> None:
    facts = facts_of(summary, stopped)
    if as_json:
        screen.json(facts)
    else:
        screen.result(*lines(facts, screen.width))


def _interrupted(arguments: tuple[str, ...]) -> InterruptedRunError:
    return InterruptedRunError(f"interrupted; continue with: {resume_command(arguments, 'train')}")


def _place(out: str | None, resume: bool, adapter: WorldModelAdapter) -> str:
    """Return the run's folder.

    Raises:
        UsageError: it is not named, is not a folder, or is not empty although nothing is resumed.
    """
    if not out:
        raise UsageError("no place for the run: add --out RUN, a new folder")
    place = Path(out)
    if place.exists() and not place.is_dir():
        raise UsageError(f"--out {out}: is not a folder")
    occupied = place.is_dir() and any(file.suffix != UNFINISHED for file in place.iterdir())
    if not resume and occupied:
        if adapter.claims(out):
            raise UsageError(
                f"--out {out}: holds a run already; continue it with --resume, or name a new folder"
            )
        raise UsageError(
            f"--out {out}: the folder is not empty; name a new one, or add --resume if a run was "
            "begun there"
        )
    return out


_LOSSES_AVERAGED = 50


class TrainProgressReport(Metered):
    """A context around a training run that shows its progress, called after each step."""

    def __init__(self, screen: Screen) -> None:
        self._meter: Meter = Meter(screen)
        self._first: TrainProgress | None = None
        self._losses: deque[float] = deque(maxlen=_LOSSES_AVERAGED)

    def __call__(self, progress: TrainProgress) -> None:
        self._losses.append(progress.loss)
        if self._first is None:
            # Reading and compiling, which came before, must not affect the time left.
            self._first = progress
            self._meter.restart(progress.steps)
        self._meter.show(progress.step, lambda: self.status(progress))

    def status(self, progress: TrainProgress) -> Status:
        """Return epoch, mean loss of the last steps, samples per second and time left."""
        assert self._first is not None
        loss = sum(self._losses) / len(self._losses)
        parts = [f"epoch {progress.epoch + 1}/{progress.epochs}", f"loss {loss:.4g}"]
        seconds, time_left = self._meter.seconds, ""
        done = progress.step - self._first.step
        if done and seconds:
            parts.append(f"{rate((progress.samples - self._first.samples) / seconds)} samples/s")
            left = (progress.steps - progress.step) * seconds / done
            if left >= 1:
                time_left = f"{duration(left)} left at most"
        return Status(", ".join(parts), time_left)
