"""What `rjepa-cli score` and `rjepa-cli rank` share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from rjepa_core.config import structure
from rjepa_core.domain.answer import answer_of
from rjepa_core.domain.trace import Failure
from rjepa_core.scoring import (
    MAX,
    ScoredTrace,
    ScoreRunSettings,
    ScoreSettings,
    whole,
    wrong_step,
)
from rjepa_core.settings import ModelSettings

from .completion import files
from .config import CONFIG_OPTIONS, FIELD, JSON, gather
from .help import OUTPUT
from .options import FLAGS, Flag
from .out_folder import NewFile
from .streams import LastingStream

Facts = dict[str, Any]
DONE, SOME_FAILED = 0, 3
# What they do when a signal arrives.
DROPPING = "leaving no half file"
_KEY = "score."
SCORE_FLAGS = (
    Flag("--world-model", f"{_KEY}world_model", ScoreSettings, metavar="RUN"),
    Flag("--model", "model.name", ModelSettings, metavar="NAME", extra="Needed for texts"),
    Flag("--context", f"{_KEY}context", ScoreSettings),
    Flag("--limit", f"{_KEY}limit", ScoreSettings),
    Flag("--device", f"{_KEY}device", ScoreSettings),
    *(flag for flag in FLAGS if flag.name in ("--dtype", "--domain", "--keep-notes", "--backend")),
)
RANK_FLAGS = (*SCORE_FLAGS, Flag("--by", f"{_KEY}by", ScoreSettings))
GROUPS = {
    "Input": ["--field", "--domain", "--keep-notes", "--limit"],
    "Surprise": ["--world-model", "--context", "--by"],
    "Model": ["--model", "--device", "--dtype", "--backend"],
    OUTPUT: ["--plot"],
}
OUT = click.Option(
    ["--out"],
    metavar="FILE",
    help="Write the JSON Lines there, not to stdout",
    shell_complete=files,
)
OTHER_OPTIONS = (OUT, FIELD, *CONFIG_OPTIONS, JSON)


def read_settings(ctx: click.Context, flags: tuple[Flag, ...], file: str) -> ScoreRunSettings:
    """Return the settings, with FILE as what is scored."""
    tree = gather(ctx, ScoreRunSettings, flags, [("problems.traces", "FILE", [file])])
    return structure(ScoreRunSettings, tree)


@contextmanager
def lines_to(out: str | None, stdout: LastingStream) -> Iterator[LastingStream | NewFile]:
    """Open where the JSON Lines go; an existing file is refused."""
    if out is None:
        yield stdout
        return
    with NewFile(Path(out), f"--out {out}") as file:
        yield file


@contextmanager
def rows_to(
    out: str | None, stdout: LastingStream, gathered: list[Facts] | None
) -> Iterator[Callable[[Facts], None]]:
    """Open where the rows go, each as a line of JSON; without `--out` they may be gathered."""
    if out is None and gathered is not None:
        yield gathered.append
        return
    with lines_to(out, stdout) as lines:
        yield lambda facts: lines.line(as_line(facts))


def as_line(facts: Any) -> str:
    """Return JSON on one line in ASCII, which is safe for a terminal."""
    return json.dumps(facts, ensure_ascii=True, allow_nan=False)


def failed_facts(failure: Failure) -> dict[str, Any]:
    """Return a solution that could not be scored as JSON values."""
    return {
        "problem_id": failure.key.problem_id,
        "sample": failure.key.sample,
        "error": failure.reason,
        "detail": failure.detail,
    }


def solution_facts(scored: ScoredTrace) -> dict[str, Any]:
    """Return a scored solution without its steps as JSON values."""
    facts: dict[str, Any] = {
        "problem_id": scored.trace.problem.id,
        "sample": scored.trace.sample,
        "surprise": _short(whole(scored.surprise)),
        "largest": _short(whole(scored.surprise, MAX)),
        "worst": int(scored.surprise.argmax()),
    }
    if (among := scored.compared) is not None:
        facts["compared_with"] = {"steps": among.steps, "solutions": among.traces}
    if scored.verdict is not None:
        facts |= {
            "right": _short(scored.verdict.right),
            "wrong_step": wrong_step(scored.verdict),
            "answer": answer_of(scored.trace),
        }
    labels = {k: v for k, v in scored.trace.metadata.items() if k in ("correct", "model")}
    return facts | labels


def step_facts(scored: ScoredTrace) -> list[dict[str, Any]]:
    """Return the steps of a scored solution as JSON values."""
    texts = scored.trace.step_texts or ("",) * len(scored.surprise)
    steps = []
    for i, (text, value) in enumerate(zip(texts, scored.surprise, strict=True)):
        step: dict[str, Any] = {"text": text, "surprise": _short(float(value))}
        if scored.trace.spans:
            span = scored.trace.spans[i]
            step |= {"start": span.start, "stop": span.stop}
            if span.thinking:
                step["thinking"] = True
        if scored.percentiles is not None:
            step["percentile"] = round(scored.percentiles[i], 1)
        if scored.verdict is not None:
            step["wrong"] = _short(float(scored.verdict.wrong[i]))
        steps.append(step)
    return steps


def _short(value: float) -> float:
    """Round to the digits that float32 has."""
    return float(f"{value:.9g}")
