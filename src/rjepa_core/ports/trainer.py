"""What a trainer and its caller tell each other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import attrs

# The file in a run's folder that holds its settings, as a later run may take them.
RUN_CONFIG = "config.yaml"
# Behind the name of what is not whole yet in a run's folder; a killed process leaves it.
UNFINISHED = ".unfinished"


@attrs.frozen
class TrainProgress:
    """How far a training run is.

    Attributes:
        epoch, epochs: from 0, and how many there are at most.
        step, steps: of the optimiser, over the whole run.
        samples: traces seen by this process.
        loss: of the last step.
        lr: of the last step.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    samples: int
    loss: float
    lr: float


@attrs.frozen
class TrainSummary:
    """What a training run ended with.

    Attributes:
        run: its folder.
        epochs, steps, samples: done, over all its parts.
        seconds: wall time of this part.
        best_epoch, best: the epoch whose checkpoint is the best, from 1 (0: the state before the
            first), and its validation value; NaN where none was looked at yet.
        ending: `done`, `early` (validation got no better) or `stopped`.
        curve: a row of values an epoch, as `metrics.csv` has them.
        report: its page for people, if it has one.
        rank: which of several processes that trained together says so; 0 is the one that wrote.
    """

    run: str
    epochs: int
    steps: int
    samples: int
    seconds: float
    best_epoch: int
    best: float
    ending: str
    curve: tuple[dict[str, Any], ...] = ()
    rank: int = 0
    report: str | None = None


@attrs.frozen
class TrainWatch:
    """How the caller follows a training run.

    Attributes:
        resume: go on with the run that is there.
        say: told what goes on.
        warn: told what is wrong, visibly.
        report: called after each step of the optimiser.
        kept: called after each epoch with its row of values.
        stop: asked after each step; once it is true, a checkpoint is written and the run ends.
        computing: entered around each step of the optimiser.
        reading: entered while stores are read before anything is written: an interrupt may strike
            in there at any moment.
    """

    resume: bool = False
    say: Callable[[str], None] = lambda line: None
    warn: Callable[[str], None] = lambda line: None
    report: Callable[[TrainProgress], None] = lambda progress: None
    kept: Callable[[dict[str, Any]], None] = lambda row: None
    stop: Callable[[], bool] = lambda: False
    computing: Callable[[], AbstractContextManager[None]] = nullcontext
    reading: Callable[[], AbstractContextManager[None]] = nullcontext
