"""What `rjepa-cli score` and `rjepa-cli rank` have in common."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from rjepa_core.config import structure
from rjepa_core.domain.trace import Failure
from rjepa_core.scoring import MAX, ScoredTrace, ScoreRunSettings, ScoreSettings, whole
from rjepa_core.settings import ModelSettings

from .config import CONFIG_OPTIONS, FIELD, gather
from .options import FLAGS, Flag
from .out_folder import NewFile
from .streams import LastingStream

DONE, SOME_FAILED = 0, 3
# What a signal has them do.
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
OUT = click.Option(["--out"], metavar="FILE", help="Write the JSON Lines there, not to stdout")
OTHER_OPTIONS = (OUT, FIELD, *CONFIG_OPTIONS)


def read_settings(ctx: click.Context, flags: tuple[Flag, ...], file: str) -> ScoreRunSettings:
    """The settings, with FILE as what is scored."""
    tree = gather(ctx, ScoreRunSettings, flags, [("problems.traces", "FILE", [file])])
    return structure(ScoreRunSettings, tree)


@contextmanager
def lines_to(out: str | None, stdout: LastingStream) -> Iterator[LastingStream | NewFile]:
    """Where the JSON Lines go; a file that is there already is refused."""
    if out is None:
        yield stdout
        return
    with NewFile(Path(out), f"--out {out}") as file:
        yield file


def as_line(facts: Any) -> str:
    """JSON on one line, in ASCII: no byte that a terminal obeys."""
    return json.dumps(facts, ensure_ascii=True, allow_nan=False)


def failed_facts(one: Failure) -> dict[str, Any]:
    """A solution that could not be scored."""
    return {
        "problem_id": one.key.problem_id,
        "sample": one.key.sample,
        "error": one.reason,
        "detail": one.detail,
    }


def solution_facts(one: ScoredTrace) -> dict[str, Any]:
    """A scored solution, steps aside."""
    facts: dict[str, Any] = {
        "problem_id": one.trace.problem.id,
        "sample": one.trace.sample,
        "surprise": _short(whole(one.surprise)),
        "largest": _short(whole(one.surprise, MAX)),
        "worst": int(one.surprise.argmax()),
    }
    labels = {k: v for k, v in one.trace.metadata.items() if k in ("correct", "model")}
    return facts | labels


def step_facts(one: ScoredTrace) -> list[dict[str, Any]]:
    """The steps of a scored solution."""
    texts = one.trace.step_texts or ("",) * len(one.surprise)
    found = []
    for i, (text, value) in enumerate(zip(texts, one.surprise, strict=True)):
        step: dict[str, Any] = {"text": text, "surprise": _short(float(value))}
        if one.trace.spans:
            span = one.trace.spans[i]
            step |= {"start": span.start, "stop": span.stop}
            if span.thinking:
                step["thinking"] = True
        if one.percentiles is not None:
            step["percentile"] = round(one.percentiles[i], 1)
        found.append(step)
    return found


def _short(value: float) -> float:
    """As many digits as float32 has."""
    return float(f"{value:.9g}")
