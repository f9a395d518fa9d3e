"""`rjepa-cli demo`: the library in a few minutes, on a small model that comes as a package."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import attrs
import click

from rjepa_core.domain.trace import Failure
from rjepa_core.errors import InputError, UsageError
from rjepa_core.evaluation.lexical import strange_words
from rjepa_core.evaluation.statistics import named
from rjepa_core.extraction import open_extraction
from rjepa_core.grading import grade, summarise
from rjepa_core.plugins import Registry, locate_world_model
from rjepa_core.ports.world_model import TrainSummary, TrainWatch
from rjepa_core.scoring import ScoredTrace, ScoreRunSettings, ScoreSettings, score_all
from rjepa_core.settings import (
    AdapterSettings,
    DataSettings,
    EncodingSettings,
    ExtractionSettings,
    ModelSettings,
    ProblemSettings,
    RunSettings,
    SamplingSettings,
    StoreSettings,
    TrainingSettings,
    TrainSettings,
    WorldModelSettings,
)
from rjepa_core.text import count, duration, shell_word
from rjepa_core.training import train_world_model

from ..console import Screen
from ..errors import InterruptedRunError
from ..help import GroupedCommand
from ..progress import ProgressReport
from ..signals import Interrupts
from ..views.bars import bar

MODEL, WORLD_MODEL = "smollm2", "gsm8k-smollm2"
_PROBLEMS, _TOKENS, _WIDTH = 12, 100, 78
# One strength of the linear path: to try several takes longer than all else.
_EPOCHS, _RIDGE = 3, 1000
_MARK = "  <- least expected"
_GROUPS = {"Where": ["--out"]}
EPILOG = """\b
Examples:
  rjepa-cli demo
  rjepa-cli demo --out tour

\b
It needs two packages beside rjepa: a small LLM (SmolLM2-135M), and a world
model of its latents. It names the command that installs what is missing.
"""


@click.command("demo", cls=GroupedCommand, groups=_GROUPS, epilog=EPILOG)
@click.option(
    "--out",
    default="rjepa-demo",
    show_default=True,
    metavar="DIR",
    help="Folder for what the demo makes; run again, it uses what is there",
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks.")
def command(out: str) -> int:
    """Show what the library does, in a few minutes on a CPU.

    A small LLM solves a dozen problems, whose steps become vectors; a world model finds the step
    that does not belong in solutions that were tampered with; and one is trained for a few seconds,
    to show how.
    """
    place = Path(out)
    if place.exists() and not place.is_dir():
        raise UsageError(f"--out {out}: is not a folder; name another")
    registry, screen = Registry(), Screen(only_output=True)
    # What is missing shows before anything is done.
    locate_world_model(WORLD_MODEL, registry)
    with screen, Interrupts() as interrupts:
        tour = _Tour(place, registry, screen, interrupts)
        try:
            for part in (tour.extract, tour.score, tour.train):
                screen.result(*part())
        except KeyboardInterrupt:
            raise InterruptedRunError(
                "interrupted; run the same command again, it uses what is there"
            ) from None
        screen.result(*tour.end())
    return 0


@attrs.frozen
class _Tour:
    place: Path
    registry: Registry
    screen: Screen
    interrupts: Interrupts

    @property
    def store(self) -> str:
        return str(self.place / "latents")

    def extract(self) -> Iterator[str]:
        """Have the LLM solve the problems, and say how many answers are right."""
        yield from _heading(
            "1. From problems to step latents",
            f"rjepa-cli extract --problems demo --limit {_PROBLEMS} --model {MODEL} "
            f"--max-new-tokens {_TOKENS} --store {shell_word(self.store)} --grade exact",
        )
        settings = ExtractionSettings(
            model=ModelSettings(name=MODEL),
            problems=ProblemSettings(sources=("demo",), limit=_PROBLEMS),
            store=StoreSettings(path=self.store),
            sampling=SamplingSettings(max_new_tokens=_TOKENS),
            encoding=EncodingSettings(),
            scheduler=AdapterSettings(name="adaptive", options={"batch_size": _PROBLEMS}),
            run=RunSettings(resume=True),
        )
        with open_extraction(settings, self.registry, self._say) as it:
            with (
                ProgressReport(self.screen, it.before.missing) as progress,
                self.interrupts.holding(),
            ):
                done = it.run(progress, self.interrupts.check, self.interrupts.computing)
            grade(it.store, "exact")
            grades = summarise(it.store)
            stats, key = it.store.stats(), next(iter(it.store.keys()))
            record = it.store.get(key)
            model, width = it.info.name, record.latents.shape[-1]
        took = (
            f" in {duration(done.seconds)}" if it.before.missing else " (kept from the first time)"
        )
        yield from textwrap.wrap(
            f"{model} worked on {count(stats.records, 'problem')}{took}: "
            f"{count(stats.steps, 'step')}, each kept as a vector of {width} numbers.",
            _WIDTH,
        )
        if grades is not None:
            yield from textwrap.wrap(
                f"{grades.right} of {stats.records} answers are right: it is a small model, and "
                f"its answers end after {_TOKENS} tokens.",
                _WIDTH,
            )
        texts = record.trace.step_texts
        yield f"{key} became {count(len(texts), 'step')}; the first one:"
        yield from _indented(texts[0] if texts else "", "    ", most=2)

    def score(self) -> Iterator[str]:
        """Find the step that does not belong in solutions that were tampered with."""
        file = resources.files(__package__).joinpath("demo_solutions.jsonl")
        with resources.as_file(file) as path:
            yield from _heading(
                "2. Which step was not expected",
                f"rjepa-cli score SOLUTIONS.jsonl --world-model {WORLD_MODEL} --model {MODEL}",
            )
            settings = ScoreRunSettings(
                score=ScoreSettings(world_model=WORLD_MODEL),
                problems=ProblemSettings(traces=(str(path),)),
                model=ModelSettings(name=MODEL),
            )
            scored = [_whole(one) for one in score_all(settings, self.registry, self._say)]
        tampered = [one for one in scored if "foreign" in one.trace.problem.metadata]
        yield "A step of another problem was put into each of these solutions. The bars show"
        yield "how far each step is from what the world model expects there: its surprise."
        for one in tampered[:2]:
            yield ""
            yield from picture(one)
        yield ""
        for one in tampered:
            foreign, found = _foreign(one), int(one.surprise.argmax()) + 1
            verdict = "found" if found == foreign else "missed"
            yield (
                f"  {one.trace.problem.id:<8} step {foreign} of {len(one.surprise)} is foreign, "
                f"step {found} the most surprising: {verdict}"
            )
        right = sum(_foreign(one) == int(one.surprise.argmax()) + 1 for one in tampered)
        guessed = sum(1 / len(one.surprise) for one in tampered)
        words = sum(named(strange_words(one.trace), _foreign(one) - 1) for one in tampered)
        yield from textwrap.wrap(
            f"Found {right} of {len(tampered)}; guessing finds {guessed:.1f}, and counting words "
            f"that stand nowhere else {words:.1f}. These are easy ones; the world model's card has "
            "the figures of GSM8K's test part.",
            _WIDTH,
        )
        yield from _sums([one for one in scored if "sum" in one.trace.problem.metadata])

    def train(self) -> Iterator[str]:
        """Train a world model for a few seconds, to show how."""
        run = self._free("world-model")
        yield from _heading(
            "3. A world model of your own",
            f"rjepa-cli train --store {shell_word(self.store)} --out {shell_word(run)} "
            f"--epochs {_EPOCHS} --set model.ridge={_RIDGE}",
        )
        settings = TrainSettings(
            data=DataSettings(stores=self.store),
            model=WorldModelSettings(ridge=_RIDGE),
            training=TrainingSettings(max_epochs=_EPOCHS),
        )
        watch = TrainWatch(stop=lambda: self.interrupts.asked, reading=self.interrupts.computing)
        with self.interrupts.holding():
            summary: TrainSummary = train_world_model(run, settings, watch, self.registry)
        if self.interrupts.asked:
            raise KeyboardInterrupt
        yield f"{count(summary.epochs, 'epoch')} in {duration(summary.seconds)}, just to show how."
        if summary.too_little is not None:
            yield from textwrap.wrap(f"Too little: {summary.too_little}.", _WIDTH)

    def end(self) -> Iterator[str]:
        """Say what to do next."""
        store = shell_word(self.store)
        yield ""
        yield "Next"
        for line, what in (
            (f"rjepa-cli show {store} demo-04 --world-model {WORLD_MODEL}", "one record, scored"),
            (
                f"rjepa-cli serve --world-model {WORLD_MODEL} --model {MODEL} \\\n"
                f"      --store {store}",
                "the same as a page (pip install 'rjepa[serve]')",
            ),
            ("rjepa-cli extract --help", "your own problems, your own model"),
        ):
            yield from f"  {line}\n      {what}".splitlines()

    def _free(self, name: str) -> str:
        """A folder that is not there yet: a run is never replaced."""
        number = 1
        while (place := self.place / (f"{name}-{number}" if number > 1 else name)).exists():
            number += 1
        return str(place)

    def _say(self, text: str) -> None:
        if self.screen.terminal:
            self.screen.say(f"{text} …")


def _heading(title: str, line: str) -> Iterator[str]:
    yield ""
    yield title
    yield from textwrap.wrap(
        f"$ {line}", _WIDTH, subsequent_indent="      ", break_on_hyphens=False
    )


def _sums(scored: list[ScoredTrace]) -> Iterator[str]:
    """Say what a wrong sum is worth beside the right one, of solutions that differ in it alone."""
    steps = [int(one.trace.problem.metadata["sum"]) - 1 for one in scored]
    texts = [(one.trace.step_texts or ("",) * 9)[at] for one, at in zip(scored, steps, strict=True)]
    values = [float(one.surprise[at]) for one, at in zip(scored, steps, strict=True)]
    yield "What it cannot see is whether a sum is right:"
    for text, value in zip(texts, values, strict=True):
        yield f"  {value:.2f}  {text.strip()}"


def _whole(one: ScoredTrace | Failure) -> ScoredTrace:
    if isinstance(one, Failure):
        raise InputError(f"{one.key.problem_id}: could not be scored: {one.reason}")
    return one


def _foreign(one: ScoredTrace) -> int:
    return int(one.trace.problem.metadata["foreign"])


def picture(one: ScoredTrace) -> Iterator[str]:
    """Yield a solution's steps as text, each with a bar; the most surprising is marked."""
    yield from _indented(one.trace.problem.statement, "  ")
    largest = float(one.surprise.max())
    for step, (text, value) in enumerate(
        zip(one.trace.step_texts or (), one.surprise, strict=False)
    ):
        yield from _indented(text, "     ", f"  {step + 1}. ")
        shown = bar(float(value) / largest if largest > 0 else 0.0)
        place = "" if one.percentiles is None else f"  above {one.percentiles[step]:.0f} %"
        yield f"     {shown} {value:.2f}{place}{_MARK if value == largest else ''}"
    if one.compared is not None:
        yield f"     (per cent {one.compared})"


def _indented(text: str, indent: str, first: str | None = None, most: int = 9) -> Iterator[str]:
    lines = textwrap.wrap(
        " ".join(text.split()),
        _WIDTH,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        max_lines=most,
        placeholder=" …",
    )
    yield from lines
