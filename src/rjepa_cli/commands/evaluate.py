"""`rjepa-cli evaluate`: a trained world model beside its baselines, with intervals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rjepa_core.config import structure
from rjepa_core.errors import UsageError
from rjepa_core.evaluation.corruption import KINDS
from rjepa_core.evaluation.settings import PARTS, PREDICTION, EvaluateRunSettings, EvaluateSettings
from rjepa_core.evaluation.text import Facts, lines, markdown
from rjepa_core.extraction import Extraction
from rjepa_core.plugins import Registry
from rjepa_core.ports.executor import Ending
from rjepa_core.ports.maintenance import ToolProgress
from rjepa_core.settings import ModelSettings
from rjepa_core.text import count, duration

from ..completion import files, folders
from ..config import CONFIG_OPTIONS, JSON, gather
from ..console import Screen
from ..errors import InterruptedRunError
from ..help import OUTPUT, GroupedCommand
from ..options import FLAGS, Flag
from ..out_folder import NewFile, report_folder, write_reports
from ..progress import Meter, Metered, ProgressReport, Status
from ..signals import Interrupts

if TYPE_CHECKING:
    from rjepa_core.evaluation import Kept

DONE, FAILED, SOME_LEFT_OUT = 0, 1, 3
JSON_FILE, TABLE_FILE, REPORT_FILE = "evaluation.json", "evaluation.md", "evaluation.html"
_KEY = "evaluate."
EVALUATE_FLAGS = (
    Flag(
        "--world-model",
        f"{_KEY}world_models",
        EvaluateSettings,
        metavar="RUN",
        extra="Repeatable",
    ),
    Flag("--store", f"{_KEY}stores", EvaluateSettings, metavar="[NAME:]PLACE", extra="Repeatable"),
    Flag("--model", "model.name", ModelSettings, metavar="NAME"),
    Flag("--labelled", f"{_KEY}labelled", EvaluateSettings, metavar="FILE"),
    Flag("--split", f"{_KEY}split", EvaluateSettings),
    Flag(
        "--parts",
        f"{_KEY}parts",
        EvaluateSettings,
        metavar="PART,…",
        extra=f"Of {', '.join(PARTS)}",
        commas=True,
        among=PARTS,
    ),
    Flag(
        "--damage",
        f"{_KEY}damage",
        EvaluateSettings,
        metavar="KIND,…",
        extra=f"Of {', '.join(KINDS)}",
        commas=True,
        among=KINDS,
    ),
    Flag("--damaged", f"{_KEY}damaged", EvaluateSettings),
    Flag("--limit", f"{_KEY}limit", EvaluateSettings),
    Flag("--draws", f"{_KEY}draws", EvaluateSettings),
    Flag("--seed", f"{_KEY}seed", EvaluateSettings),
    Flag("--device", f"{_KEY}device", EvaluateSettings),
    *(flag for flag in FLAGS if flag.name in ("--backend", "--scheduler")),
)
OTHER_OPTIONS = (
    click.Option(
        ["--out"],
        metavar="DIR",
        help=f"Write {JSON_FILE}, {TABLE_FILE} and {REPORT_FILE}, a report, there",
        shell_complete=folders,
    ),
    click.Option(
        ["--predictions"],
        metavar="FILE",
        help="Write all predictions there, as safetensors; they are held in memory until then",
        shell_complete=files,
    ),
    *CONFIG_OPTIONS,
    JSON,
)
_GROUPS = {
    "Input": ["--world-model", "--store", "--labelled", "--split", "--limit"],
    "What is measured": ["--parts", "--damage", "--damaged", "--draws", "--seed"],
    OUTPUT: ["--predictions"],
    "Model": ["--model", "--device", "--backend", "--scheduler"],
}
EPILOG = """\b
Examples:
  rjepa-cli evaluate --world-model runs/wm --store runs/gsm8k \\
      --split validation --parts prediction
  rjepa-cli evaluate --world-model runs/wm --store runs/gsm8k \\
      --model smollm2 --labelled solutions.jsonl --split test --out report
  rjepa-cli evaluate --world-model runs/frozen-0 --world-model runs/frozen-1 \\
      --world-model runs/linear --store runs/gsm8k
                            (side by side; the worst of the seeds)

\b
Solutions are encoded once, with --model, into stores beside --store:
  runs/gsm8k.damage-test        damaged and harmlessly edited ones, clean ones
                                where the store keeps no log-probabilities
  runs/gsm8k.labelled-solutions those of --labelled solutions.jsonl
Interrupted, the same command goes on; once they are whole, --model may
be left out.

\b
hf:USER/NAME stands for a store, or a world model, on the Hugging Face Hub;
what is made from a store there lies here, in USER--NAME.damage-test.
"""


@click.command(
    "evaluate",
    cls=GroupedCommand,
    groups=_GROUPS,
    params=[*(flag.option() for flag in EVALUATE_FLAGS), *OTHER_OPTIONS],
    epilog=EPILOG,
)
@click.pass_context
def command(ctx: click.Context, /, **params: Any) -> int:
    """What a trained world model is worth: steps predicted from the past, one to three ahead, and
    from the other steps; damaged solutions told from correct ones and the wrong step named, wrong
    solutions told from right ones, and what a linear probe reads.

    Each figure stands beside those of its baselines (ridge regression, mean of the context, copy
    of the previous step; for damage words, equations, length and the LLM's log-probability; linear
    maps and perceptrons where they are named), with its 95 % interval from a paired bootstrap over
    problems. Of world models that differ in their seeds alone, the worst is what counts.
    """
    tree = gather(ctx, EvaluateRunSettings, EVALUATE_FLAGS)
    settings = structure(EvaluateRunSettings, tree)
    screen = Screen()
    with report_folder(params["out"], (JSON_FILE, TABLE_FILE, REPORT_FILE)) as out:
        facts = _evaluate(settings, screen, params["predictions"])
        # Files first: what took minutes is kept, whatever becomes of stdout.
        if out is not None:
            _write(out, facts, screen)
        told = screen.json(facts) if params["json"] else screen.result(*lines(facts, screen.width))
        _show_in_runs(facts, screen)
    if not told and out is None:
        return FAILED
    return SOME_LEFT_OUT if facts["facts"]["left_out"] else DONE


def _evaluate(settings: EvaluateRunSettings, screen: Screen, predictions: str | None) -> Facts:
    from rjepa_core.evaluation import EvaluationWatch, Kept, evaluate

    kept = None if predictions is None else Kept()
    with (
        screen,
        _predictions(settings, predictions, kept),
        Interrupts("encoded solutions are kept") as interrupts,
    ):
        try:
            with Stages(screen, interrupts) as stages:
                watch = EvaluationWatch(
                    say=screen.busy,
                    warn=screen.warn,
                    report=stages.report,
                    encode=stages.encode,
                )
                return evaluate(settings, Registry(), watch, kept).to_json()
        except KeyboardInterrupt:
            raise InterruptedRunError(
                "interrupted; damaged and labelled solutions that were encoded are kept for the "
                "next time; the rest begins anew"
            ) from None


@contextmanager
def _predictions(
    settings: EvaluateRunSettings, place: str | None, kept: Kept | None
) -> Iterator[None]:
    """Write what was kept when the block ends; refused before it begins where that cannot be."""
    if place is None or kept is None:
        yield
        return
    if settings.evaluate.parts and PREDICTION not in settings.evaluate.parts:
        raise UsageError(
            f"--predictions {place}: evaluate.parts leaves out the part {PREDICTION}; add it"
        )
    with NewFile(Path(place), f"--predictions {place}") as file:
        yield
        from rjepa_adapters.reports.predictions import predictions

        file.data(predictions(kept))


def _write(out: Path, facts: Facts, screen: Screen) -> None:
    from rjepa_adapters.reports.evaluation import html

    text = json.dumps(facts, indent=2, ensure_ascii=True, default=str)
    write_reports(
        out, {JSON_FILE: text + "\n", TABLE_FILE: markdown(facts), REPORT_FILE: html(facts)}
    )
    screen.say(f"written: {', '.join(str(out / n) for n in (JSON_FILE, TABLE_FILE, REPORT_FILE))}")


def _show_in_runs(facts: Facts, screen: Screen) -> None:
    """Put the evaluation into the report of each run that has one here."""
    from rjepa_adapters.reports.evaluated import show_in_run

    when = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    for name, one in facts["world_models"].items():
        if one["location"].startswith("hf:"):
            screen.say(
                f"{one['location']}: the report that came with it is left as it is; "
                "--out DIR writes one"
            )
            continue
        try:
            place = show_in_run(Path(one["location"]), facts, name, when)
        except OSError as error:
            screen.warn(
                f"{one['location']}: its report cannot show the evaluation: "
                f"{error.strerror or error}"
            )
            continue
        if place is not None:
            screen.say(f"shown in: {place}")


# Seconds without a line.
_SHORT = 5.0


class Stages(Metered):
    """Entered around an evaluation; `report` and `encode` are handed to it."""

    def __init__(self, screen: Screen, interrupts: Interrupts) -> None:
        self._screen, self._interrupts = screen, interrupts
        self._phase = ""

    def report(self, progress: ToolProgress) -> None:
        """A phase goes on."""
        self._interrupts.check()
        if self._meter is None:
            self._meter = Meter(self._screen, short=_SHORT, stays=False)
            self._meter.__enter__()
            self._phase = ""
        meter = self._meter
        if progress.phase != self._phase:
            self._phase = progress.phase
            meter.restart(progress.total)
        meter.show(progress.done, lambda: _status(progress, meter.seconds))

    def encode(self, extraction: Extraction) -> None:
        """Run an extraction, shown as `rjepa-cli extract` shows it."""
        self._leave()
        with (
            ProgressReport(self._screen, extraction.before.missing) as progress,
            self._interrupts.holding(),
            self._screen.noted(extraction.store.add_history),
        ):
            summary = extraction.run(
                progress, self._interrupts.check, self._interrupts.computing, progress.decided
            )
        assert summary.ending is Ending.DONE
        if summary.progress.failures:
            failed = count(summary.progress.failures, "solution")
            self._screen.warn(f"{failed} could not be encoded and will be left out")

    def _leave(self) -> None:
        if self._meter is not None:
            self._meter.__exit__(None, None, None)
            self._meter = None


def _status(progress: ToolProgress, seconds: float) -> Status:
    left = progress.total - progress.done
    if not progress.done or left <= 0:
        return Status(progress.phase)
    return Status(progress.phase, f"{duration(left * seconds / progress.done)} left")
