"""`rjepa-cli bench`: compare batch sizes and the adaptive scheduler on the same problems."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import click

from rjepa_core.benchmark.advice import advise
from rjepa_core.benchmark.report import Facts, facts_of, lines, random_warning
from rjepa_core.benchmark.results import BenchResult, BenchRunSettings, BenchSettings
from rjepa_core.benchmark.run import RoundProgress, run_bench
from rjepa_core.config import structure
from rjepa_core.errors import SettingsError
from rjepa_core.plugins import Registry
from rjepa_core.settings import DEFAULT_TEMPLATES
from rjepa_core.text import count, duration

from ..completion import choices, folders
from ..config import DEBUG, FIELD, JSON, Given, Tree, config_options, gather
from ..console import Screen
from ..errors import InterruptedRunError
from ..help import GroupedCommand
from ..options import FLAGS, Flag
from ..out_folder import report_folder, write_reports
from ..progress import Meter, Metered, Status
from ..signals import Interrupts
from ..wording import Wording
from .doctor import machine_facts

DONE, FAILED, NOTHING_FITS = 0, 1, 3
JSON_FILE, REPORT_FILE = "bench.json", "bench.html"
# Default number of problems; a whole source would take days.
_LIMIT = 16
_SHAPES = ("qwen3-8b", "qwen3-0.6b", "smollm2-135m")
_SHARED = (
    "--problems",
    "--domain",
    "--limit",
    "--model",
    "--device",
    "--dtype",
    "--thinking",
    "--max-new-tokens",
    "--temperature",
    "--top-p",
    "--top-k",
    "--seed",
    "--layer",
    "--logprobs",
    "--backend",
)
BENCH_FLAGS = (
    *(
        attrs.evolve(flag, extra=f"[default: {_LIMIT}]") if flag.name == "--limit" else flag
        for flag in FLAGS
        if flag.name in _SHARED
    ),
    Flag("--sizes", "bench.sizes", BenchSettings, metavar="N,N,…", commas=True),
    Flag("--rounds", "bench.rounds", BenchSettings),
    Flag("--total", "bench.total", BenchSettings),
)
OTHER_OPTIONS = (
    FIELD,
    click.Option(
        ["--shape"],
        metavar="NAME",
        help=f"In place of --model: this architecture with RANDOM WEIGHTS ({', '.join(_SHAPES)}). "
        "Times and memory are the real model's, texts are noise",
        shell_complete=choices(_SHAPES),
    ),
    click.Option(["--awq"], is_flag=True, help="Pack the --shape to AWQ 4-bit"),
    click.Option(
        ["--out"],
        metavar="DIR",
        help=f"Write {JSON_FILE} and {REPORT_FILE}, a report, there",
        shell_complete=folders,
    ),
    *config_options("Any setting, an adapter's too: scheduler.max_batch_size=32"),
    JSON,
    DEBUG,
)
_GROUPS = {
    "Problems": ["--problems", "--field", "--domain", "--limit"],
    "Model": ["--model", "--shape", "--awq", "--device", "--dtype", "--backend", "--thinking"],
    "Sampling": ["--max-new-tokens", "--temperature", "--top-p", "--top-k", "--seed"],
    "Vectors": ["--layer", "--logprobs"],
    "What is measured": ["--sizes", "--rounds", "--total"],
}
EPILOG = """\b
Examples:
  rjepa-cli bench --problems gsm8k.jsonl --model Qwen/Qwen3-8B-AWQ --out bench
  rjepa-cli bench --problems demo --model smollm2 --max-new-tokens 100
  rjepa-cli bench --problems gsm8k.jsonl --model Qwen/Qwen3-8B-AWQ \\
      --sizes 1,8,16,32 --limit 64 --rounds 3 --total 7473
  rjepa-cli bench --problems demo --shape qwen3-8b --awq --sizes 1,8,16,32
  rjepa-cli bench --config extract.yaml       (the settings of an extraction)
"""


@click.command(
    "bench",
    cls=GroupedCommand,
    groups=_GROUPS,
    params=[*(flag.option() for flag in BENCH_FLAGS), *OTHER_OPTIONS],
    epilog=EPILOG,
)
@click.pass_context
def command(ctx: click.Context, /, **params: Any) -> int:
    """Measure how many rows at a time are fastest here.

    Runs one row at a time, several fixed sizes and a scheduler that finds its own size, in rounds
    over the same problems. Prints seconds per problem, tokens per second, peak memory, speed-up,
    the hours that a whole data set would take, and what to use. Nothing is stored.
    """
    given = _shape(params["shape"], params["awq"])
    tree = gather(ctx, BenchRunSettings, BENCH_FLAGS, given, defaults=_defaults())
    settings = structure(BenchRunSettings, tree)
    screen = Screen()
    with report_folder(params["out"], (JSON_FILE, REPORT_FILE)) as out:
        return _measured(settings, screen, out, params["json"])


def _measured(settings: BenchRunSettings, screen: Screen, out: Path | None, as_json: bool) -> int:
    """Measure, show and write the results; return the exit code."""
    facts = _measure(settings, screen)
    if facts is not None:
        facts["recommendation"] = _in_flags(facts["recommendation"])
    if facts is None:
        raise InterruptedRunError("interrupted before anything was measured")
    # The result comes first, in case the files cannot be written: it took long to get.
    delivered = screen.json(facts) if as_json else screen.result(*lines(facts, screen.width))
    if out is not None:
        _write(out, facts, screen)
    if facts["interrupted"]:
        raise InterruptedRunError("interrupted; what was measured until then is printed")
    if not delivered and out is None:
        return FAILED
    return DONE if facts["recommendation"]["name"] else NOTHING_FITS


def _in_flags(advice: Facts) -> Facts:
    """Return the advice with the flags of `bench`, and of `extract`, for which it is meant."""
    named = Wording()
    named.learn({flag.key: flag.name for flag in (*FLAGS, *BENCH_FLAGS)})
    named.learn({"scheduler.batch_size": "--batch-size"})
    return {
        "name": advice["name"],
        "sentence": named.replaced(advice["sentence"]),
        "doubts": [named.replaced(doubt) for doubt in advice["doubts"]],
    }


def _defaults() -> Tree:
    return {"prompt": {"templates": dict(DEFAULT_TEMPLATES)}, "problems": {"limit": _LIMIT}}


def _shape(shape: str | None, awq: bool) -> list[Given]:
    """Return the model that `--shape` names."""
    if shape is not None:
        return [("model.name", "--shape", f"shape:{shape}{'-awq' if awq else ''}")]
    if awq:
        raise SettingsError(
            "--awq packs a --shape; whether a checkpoint is AWQ, it says itself: leave --awq out"
        )
    return []


def _measure(settings: BenchRunSettings, screen: Screen) -> Facts | None:
    """Return what was measured; None if an interrupt came before the first pass ended."""
    started = datetime.now(UTC)
    so_far: list[BenchResult] = []
    with screen, Interrupts("telling what was measured") as interrupts:
        progress = BenchProgress(screen, settings.bench.rounds)

        def kept(result: BenchResult) -> None:
            so_far[:] = [result]
            progress.kept(result)

        def opened(empty: BenchResult, passes: int) -> None:
            warning = random_warning(empty.info)
            if warning:
                screen.warn(warning)
            progress.opened(empty, passes)

        try:
            with progress:
                result = run_bench(
                    settings,
                    Registry(),
                    say=screen.busy,
                    opened=opened,
                    report=progress,
                    kept=kept,
                    computing=interrupts.computing,
                )
        except KeyboardInterrupt:
            if not so_far:
                return None
            return facts_of(
                so_far[0], advise(so_far[0]), started, machine_facts(), interrupted=True
            )
        return facts_of(result, advise(result), started, machine_facts())


def _write(out: Path, facts: Facts, screen: Screen) -> None:
    from rjepa_adapters.reports.bench import html

    text = json.dumps(facts, indent=2, ensure_ascii=True, default=str)
    write_reports(out, {JSON_FILE: text + "\n", REPORT_FILE: html(facts)})
    screen.say(f"written: {out / JSON_FILE}, {out / REPORT_FILE}")


class BenchProgress(Metered):
    """A context around a measurement that shows its progress, called after each step."""

    def __init__(self, screen: Screen, rounds: int) -> None:
        self._screen = screen
        self._rounds = rounds
        self._result: BenchResult | None = None
        self._passes = self._passed = self._work = 0

    def opened(self, empty: BenchResult, passes: int) -> None:
        """Start after the model was loaded, with a number of passes over the problems to do."""
        info, self._result, self._passes = empty.info, empty, passes
        self._work = empty.survey.work
        self._screen.say(
            f"measuring {info.name} on {info.device}: {count(self._work, 'problem')}, "
            f"{'once' if passes == 1 else f'{passes} times'}"
        )
        self._meter = Meter(self._screen, self._work * passes)
        self._meter.__enter__()

    def kept(self, result: BenchResult) -> None:
        """Note that a pass has ended."""
        self._result = result
        self._passed += 1

    def __call__(self, progress: RoundProgress) -> None:
        if self._meter is not None:
            done = self._passed * self._work + progress.done
            self._meter.show(done, lambda: self._status(progress))

    def _status(self, progress: RoundProgress) -> Status:
        name = progress.name
        rows = count(int(name), "row") if name.isdigit() else name
        left = self._left(progress)
        time_left = f"about {duration(left)} left" if left is not None and left >= 1 else ""
        return Status(f"round {progress.round + 1} of {self._rounds}, {rows}", time_left)

    def _left(self, progress: RoundProgress) -> float | None:
        """Return the seconds left, assuming the mean time for contenders not measured yet."""
        assert self._result is not None
        known = {m.name: m.seconds_per_problem.median for m in self._result.measured}
        passed = {m.name: len(m.rounds) for m in self._result.measured}
        if progress.done:
            known.setdefault(progress.name, progress.seconds / progress.done)
        if not known:
            return None
        mean = sum(known.values()) / len(known)
        contenders = self._passes // self._rounds
        unknown = contenders - len(known)
        left = self._work * (unknown * mean * self._rounds)
        for name, seconds in known.items():
            left += self._work * seconds * (self._rounds - passed.get(name, 0))
        return max(0.0, left - progress.done * known.get(progress.name, mean))
