"""`rjepa-cli demo`: the library in a few minutes, on a small model that comes as a package."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import attrs
import click
import yaml

from rjepa_core.config import unstructure
from rjepa_core.domain.trace import Failure
from rjepa_core.errors import InputError, UsageError
from rjepa_core.extraction import Worklist, open_extraction
from rjepa_core.grading import grade, summarise
from rjepa_core.plugins import Registry, locate_world_model, open_sources, open_world_model
from rjepa_core.ports.world_model import RUN_CONFIG, Context, Floats, TrainSummary, TrainWatch
from rjepa_core.scoring import ScoredTrace
from rjepa_core.scoring.run import encode_work, score_pairs
from rjepa_core.scoring.text_encoder import open_text_encoder
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
from rjepa_core.text import count, duration, shell_word, size
from rjepa_core.training import train_world_model

from ..console import Screen
from ..errors import InterruptedRunError
from ..help import GroupedCommand
from ..offers import extras
from ..out_folder import NewFile
from ..program import program
from ..progress import ProgressReport
from ..signals import Interrupts
from ..views.findings import findings, sums
from ..views.solution import picture, wrapped

MODEL, WORLD_MODEL = "smollm2", "gsm8k-smollm2"
_PROBLEMS, _TOKENS, _WIDTH = 12, 100, 78
# Without the linear path, which is most of a world model's size.
_EPOCHS, _SMALL = 10, 32
# The solution that is drawn, and what its untampered version is called.
_SHOWN, _CLEAN = "library", "-clean"
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
                # Line by line: a heading shows before the work below it is done.
                for line in part():
                    screen.result(line)
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
            *(program(), "extract", "--problems demo", f"--limit {_PROBLEMS}", f"--model {MODEL}"),
            *(f"--max-new-tokens {_TOKENS}", f"--store {shell_word(self.store)}"),
            *("--grade exact", "--resume"),
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
        yield from _paragraph(
            f"{model} worked on {count(stats.records, 'problem')}{took}: "
            f"{count(stats.steps, 'step')}, each kept as a vector of {width} numbers."
        )
        if grades is not None:
            yield from _paragraph(
                f"{grades.right} of {stats.records} answers are right: it is a small model, and "
                f"for speed this demo cuts each answer off after {_TOKENS} tokens."
            )
        texts = record.trace.step_texts
        yield f"{key} became {count(len(texts), 'step')}; the first one:"
        yield from wrapped(texts[0] if texts else "", _WIDTH, "    ", most=1)

    def score(self) -> Iterator[str]:
        """Find the step that does not belong in solutions that were tampered with."""
        path = self.place / "solutions.jsonl"
        yield from _heading(
            "2. Which step was not expected",
            *(program(), "score", shell_word(str(path))),
            *(f"--world-model {WORLD_MODEL}", f"--model {MODEL}"),
        )
        yield from _paragraph(
            "The file has five short solutions made by hand: as they are, and with a step of "
            "another problem put in. A bar is a step's surprise: how far the step is from what "
            "the world model expects there."
        )
        _keep_solutions(path)
        read = self._read(path)
        scored = {one.trace.problem.id: one for one, _ in read}
        shown, clean = scored[_SHOWN], scored[f"{_SHOWN}{_CLEAN}"]
        yield ""
        yield from picture(shown, _WIDTH)
        yield "  The same as it was:"
        yield from picture(clean, _WIDTH, statement=False, full=float(shown.surprise.max()))
        yield ""
        yield from findings(read)
        yield from sums([one for one in scored.values() if "sum" in one.trace.problem.metadata])

    def _read(self, path: Path) -> list[tuple[ScoredTrace, Floats]]:
        """Return each solution scored, and the log-probability of its steps."""
        problems = ProblemSettings(traces=(str(path),))
        work = Worklist(open_sources(problems, self.registry), given=True)
        work.survey()
        world_model = open_world_model(WORLD_MODEL, registry=self.registry)
        try:
            self._say(f"loading {MODEL}")
            # The world model can do without log-probabilities; they are for comparison.
            info = attrs.evolve(world_model.info, needs_logprobs=True)
            model, backend = ModelSettings(name=MODEL), AdapterSettings(name="huggingface")
            with open_text_encoder(model, backend, info, self.registry) as encoder:
                pairs = [pair for batch in encode_work(work, encoder) for pair in batch]
            scored = map(_whole, score_pairs(iter([pairs]), world_model, Context.OTHERS))
            return [
                (one, pair[1].logprobs)
                for one, pair in zip(scored, pairs, strict=True)
                if not isinstance(pair, Failure) and pair[1].logprobs is not None
            ]
        finally:
            world_model.close()

    def train(self) -> Iterator[str]:
        """Train a small world model for a few seconds, to show how."""
        settings = TrainSettings(
            data=DataSettings(stores=self.store),
            model=WorldModelSettings(linear_path=False, width=_SMALL, predictor_width=_SMALL),
            training=TrainingSettings(max_epochs=_EPOCHS),
        )
        run, kept = self._own_run(settings)
        yield from _heading(
            "3. A world model of your own",
            *(program(), "train", f"--store {shell_word(self.store)}"),
            *(f"--out {shell_word(str(run))}", f"--epochs {_EPOCHS}"),
            *("--set model.linear_path=false", f"--set model.width={_SMALL}"),
            *(f"--set model.predictor_width={_SMALL}", *(["--resume"] if kept else [])),
        )
        watch = TrainWatch(
            stop=lambda: self.interrupts.asked, reading=self.interrupts.computing, resume=kept
        )
        with self.interrupts.holding():
            summary: TrainSummary = train_world_model(str(run), settings, watch, self.registry)
        if self.interrupts.asked:
            raise KeyboardInterrupt
        bytes_of_run = sum(file.stat().st_size for file in run.rglob("*") if file.is_file())
        took = "kept from the first time" if kept else f"in {duration(summary.seconds)}"
        yield from _paragraph(
            f"{count(summary.epochs, 'epoch')} {took}, {size(bytes_of_run)}, just to show how: "
            f"{_PROBLEMS} problems are far too few, and it is narrower than one for use."
        )

    def end(self) -> Iterator[str]:
        """Say what to do next."""
        store, file = shell_word(self.store), shell_word(str(self.place / "solutions.jsonl"))
        use = f"--world-model {WORLD_MODEL} --model {MODEL}"
        yield ""
        yield "Next"
        for line, what in (
            (f"{program()} score {file} \\\n      {use}", "all solutions of part 2 as pictures"),
            (
                f"{program()} serve {use} \\\n      --store {store}",
                "the same as a page, for solutions of your own" + _needed_to_serve(),
            ),
            (
                f"{program()} extract --help",
                "problems and a model of your own (README: Your own problems)",
            ),
        ):
            yield f"  {line.splitlines()[0]}"
            yield from line.splitlines()[1:]
            yield from wrapped(what, _WIDTH, "      ")

    def _own_run(self, settings: TrainSettings) -> tuple[Path, bool]:
        """Return the folder of the tour's run, and whether it is there already.

        What is there and was not made by this tour, with these settings, stays as it is.
        """
        number = 1
        while True:
            run = self.place / (f"world-model-{number}" if number > 1 else "world-model")
            if not run.exists():
                return run, False
            if _made_with(run, settings):
                return run, True
            number += 1

    def _say(self, text: str) -> None:
        if self.screen.terminal:
            self.screen.say(f"{text} …")


def _made_with(run: Path, settings: TrainSettings) -> bool:
    try:
        begun = yaml.safe_load((run / RUN_CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return bool(begun == unstructure(settings))


def _keep_solutions(path: Path) -> None:
    """Write the solutions beside what else the tour makes, where they can be scored again.

    Raises:
        UsageError: another file is in their place.
    """
    text = resources.files(__package__).joinpath("demo_solutions.jsonl").read_bytes()
    if not path.exists():
        with NewFile(path, f"--out {path}") as file:
            file.write(text.decode("utf-8"))
    elif not path.is_file() or path.read_bytes() != text:
        raise UsageError(f"--out {path}: is not what the demo writes there; move it away")


def _needed_to_serve() -> str:
    [serve] = [one for one in extras() if one.name == "serve"]
    return f"; first {serve.get}" if serve.missing else ""


def _heading(title: str, *words: str) -> Iterator[str]:
    """Yield a title, and a command that can be pasted whole; words that belong together are one."""
    yield ""
    yield title
    # A word in quotes may hold spaces, at which it must not be broken.
    line = "$ " + " ".join(word.replace(" ", "\0") for word in words)
    lines = textwrap.wrap(
        line, _WIDTH - 2, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False
    )
    for number, one in enumerate(lines, 1):
        yield one.replace("\0", " ") + (" \\" if number < len(lines) else "")


def _paragraph(text: str) -> Iterator[str]:
    yield from wrapped(text, _WIDTH)


def _whole(one: ScoredTrace | Failure) -> ScoredTrace:
    if isinstance(one, Failure):
        raise InputError(f"{one.key.problem_id}: could not be scored: {one.reason}")
    return one
