"""What a training run writes down as it goes on: CSV files, and TensorBoard's where it is there."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import attrs
from attrs import validators as v
from torch import Tensor

from rjepa_core.ports.world_model import TrainWatch

from ..optional import install_extra
from . import checkpoint
from .checkpoint import is_utf8

METRICS, STEPS, EVENTS = "metrics.csv", "steps.csv", "tensorboard"
_STEP_NAMES = ("step", "loss", "lr")
NO_TENSORBOARD = (
    "tensorboard is not installed, so the curves are in metrics.csv and steps.csv alone; for both: "
)

NOT_FOR_TENSORBOARD = (
    "TensorBoard cannot write into a folder whose name is not UTF-8, so the curves are in "
    "metrics.csv and steps.csv alone"
)


class MetricsLog:
    """Appends rows to `metrics.csv` (one an epoch) and `steps.csv` (one a step of the optimiser).

    Numbers are written such that reading them gives the same again, to the last digit. A killed
    process loses what was logged since the last `flush`; call that before a checkpoint is written,
    and make the log of a resumed run with that checkpoint's step.

    Args:
        run: folder of the run; made if it is not there.
        after: step of the checkpoint that the run goes on from: rows of later steps are removed,
            so that the curve has none twice. 0 begins anew.
        say: told, once, where TensorBoard is not installed.
    """

    def __init__(
        self, run: str | Path, after: int = 0, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self._run = Path(run)
        self._run.mkdir(parents=True, exist_ok=True)
        self._names, self._rows = _kept(self._run / METRICS, after)
        _rewrite(self._run / METRICS, self._names, self._rows)
        _rewrite(self._run / STEPS, _STEP_NAMES, _kept(self._run / STEPS, after)[1])
        self._steps = (self._run / STEPS).open("a", encoding="utf-8", newline="")
        self._writer = None
        if not is_utf8(self._run):
            say(NOT_FOR_TENSORBOARD)
        elif (writer := _summary_writer(self._run / EVENTS, after)) is None:
            say(NO_TENSORBOARD + install_extra("train"))
        else:
            self._writer = writer

    @property
    def curve(self) -> tuple[dict[str, Any], ...]:
        """The epochs' rows, those before the run was resumed included."""
        return tuple(dict(row) for row in self._rows)

    def step(self, step: int, loss: float, lr: float) -> None:
        """One step of the optimiser, counted over the whole run from 1."""
        self._steps.write(_line((step, loss, lr)))
        if self._writer is not None:
            self._writer.add_scalar("step/loss", loss, step)
            self._writer.add_scalar("step/lr", lr, step)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """The values of an epoch, `epoch` and `step` among them; others may come and go.

        Raises:
            ValueError: `step` is missing.
        """
        if "step" not in row:
            raise ValueError("an epoch's row tells its step")
        self._rows.append(dict(row))
        names = tuple(dict.fromkeys([*self._names, *row]))
        path = self._run / METRICS
        if names != self._names or not path.exists():
            self._names = names
            _rewrite(path, names, self._rows)
        else:
            with path.open("a", encoding="utf-8", newline="") as file:
                file.write(_line([row.get(name) for name in names]))
        if self._writer is not None:
            for name, value in row.items():
                if name not in ("step", "epoch") and isinstance(value, int | float):
                    self._writer.add_scalar(f"epoch/{name}", value, row["step"])
        self.flush()

    def flush(self) -> None:
        """Hand everything to the system: a killed process loses none of it."""
        self._steps.flush()
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Flush, and let go of the files."""
        self._steps.close()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _kept(path: Path, after: int | None) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """Column names, and the rows up to a step; all of them for None, none for 0."""
    if after == 0 or not path.exists():
        return (), []
    text = path.read_text("utf-8")
    whole = text[: text.rfind("\n") + 1]
    names, *lines = list(csv.reader(StringIO(whole))) or [[]]
    rows = [
        {name: _value(cell) for name, cell in zip(names, line, strict=True) if cell}
        for line in lines
        if len(line) == len(names)
    ]
    if after is not None:
        rows = [row for row in rows if row.get("step", math.inf) <= after]
    return tuple(names), rows


def _rewrite(path: Path, names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """The whole file anew, at once; without columns there is no file."""
    if not names:
        path.unlink(missing_ok=True)
        return
    text = _line(names) + "".join(_line([row.get(name) for name in names]) for row in rows)
    beside = path.with_suffix(".part")
    beside.write_text(text, "utf-8", newline="")
    os.replace(beside, path)


def _line(cells: Sequence[Any]) -> str:
    out = StringIO()
    csv.writer(out, lineterminator="\n").writerow(["" if c is None else _cell(c) for c in cells])
    return out.getvalue()


def _cell(value: Any) -> str:
    # As Python writes it, shortest and exact; numpy's scalars write their type as well.
    return repr(float(value)) if isinstance(value, float) else str(value)


def _value(cell: str) -> Any:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return {"True": True, "False": False}.get(cell, cell)


def _summary_writer(folder: Path, after: int) -> Any:
    """TensorBoard's writer; None where the package is not installed.

    Events of a killed run behind the checkpoint are marked as superseded, not removed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=after + 1 if after else None)


def _check_curve(_: object, attribute: object, rows: list[dict[str, Any]]) -> None:
    if any(row.get(name) is None for row in rows for name in ("epoch", "step")):
        raise ValueError("curve: a row tells no epoch or step")


def _count() -> Any:
    return attrs.field(default=0, validator=v.ge(0), on_setattr=attrs.setters.NO_OP)


@attrs.define
class Standing:
    """Where a run is; kept in each checkpoint.

    Attributes:
        epoch, batch: the next one to do, from 0.
        step: steps of the optimiser that were done.
        samples: traces that were seen.
        loss_sum, loss_count: over the epoch so far.
        best, best_epoch: best validation value and its epoch, from 1; 0 is the start; None and 0
            before the first.
        measure: the figure that `best` is of; a run of an older version does not say.
        ridge: what plain ridge regression reaches on validation, where the run started from it.
        start: what the state before the first step reaches there; no epoch that is worse is the
            best. Empty where the run started from nothing.
        collapse_told: the run was warned of a collapse.
        curve: a row an epoch.
    """

    epoch: int = _count()
    batch: int = _count()
    step: int = _count()
    samples: int = _count()
    loss_sum: float = 0.0
    loss_count: int = _count()
    best: float | None = None
    best_epoch: int = _count()
    measure: str = ""
    ridge: dict[str, float] = attrs.field(factory=dict)
    start: dict[str, float] = attrs.field(factory=dict)
    collapse_told: bool = False
    curve: list[dict[str, int | float | None]] = attrs.field(factory=list, validator=_check_curve)

    def after_step(self, traces: int, loss: float) -> None:
        """Count a step of the optimiser."""
        self.batch += 1
        self.step += 1
        self.samples += traces
        self.loss_sum += loss
        self.loss_count += 1


@attrs.frozen(eq=False)
class Kept:
    """What a checkpoint is made of: the model's tensors, the training's, and the state."""

    model: dict[str, Tensor]
    training: dict[str, Tensor]
    state: dict[str, Any]


class Silent:
    """Of a process that writes nothing: another one does."""

    def step(self, step: int, loss: float, lr: float) -> None:
        """One step of the optimiser."""

    def save(self, step: int, kept: Callable[[], Kept]) -> None:
        """A checkpoint."""

    def start(self, row: dict[str, Any], kept: Callable[[], Kept]) -> None:
        """The state before the first step, the best so far."""

    def epoch(self, step: int, row: dict[str, Any], better: bool, kept: Callable[[], Kept]) -> None:
        """The end of an epoch, with a checkpoint."""

    def close(self) -> None:
        """Let go of the files."""


class Writer(Silent):
    """Logs and checkpoints of a run's folder.

    Args:
        run: the folder.
        after: step of the checkpoint that the run goes on from.
        keep_last: checkpoints to keep beside the best.
        watch: told of each epoch.
    """

    def __init__(self, run: Path, after: int, keep_last: int, watch: TrainWatch) -> None:
        self._run, self._keep_last, self._watch = run, keep_last, watch
        self._log = MetricsLog(run, after, watch.say)

    def step(self, step: int, loss: float, lr: float) -> None:
        """As `Silent`."""
        self._log.step(step, loss, lr)

    def save(self, step: int, kept: Callable[[], Kept]) -> None:
        """As `Silent`."""
        self._write(step, kept())

    def start(self, row: dict[str, Any], kept: Callable[[], Kept]) -> None:
        """As `Silent`."""
        checkpoint.name_best(self._run, self._write(0, kept()), row)

    def epoch(self, step: int, row: dict[str, Any], better: bool, kept: Callable[[], Kept]) -> None:
        """As `Silent`."""
        place = self._write(step, kept())
        if better:
            checkpoint.name_best(self._run, place, row)
        checkpoint.tidy(self._run, self._keep_last)
        self._log.epoch(row)
        self._watch.kept(row)

    def close(self) -> None:
        """As `Silent`."""
        self._log.close()

    def _write(self, step: int, kept: Kept) -> Path:
        self._log.flush()
        return checkpoint.write(self._run, step, kept.model, kept.training, kept.state)
