"""Summaries of runs, as Markdown artifacts on their pages."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact

from rjepa_core.evaluation.text import markdown
from rjepa_core.extraction.report import in_memory, reasons_text
from rjepa_core.settings import StoreSettings
from rjepa_core.text import count, duration, rate, size, visible
from rjepa_core.training.report import curve_rows, ending_line

EXTRACTION, TRAINING, EVALUATION = "rjepa-extraction", "rjepa-training", "rjepa-evaluation"
_ENDINGS = {0: "done", 3: "done, and more failed than was allowed", 4: "stopped by run.max_hours"}
Facts = dict[str, Any]


def add_to_page(key: str, text: str, description: str) -> None:
    """Put a summary on the page of the current run."""
    create_markdown_artifact(text, key=key, description=description)


def extraction_text(facts: Facts, planned: Facts, store: StoreSettings) -> str:
    """Return the summary of an extraction: its ending, counts, rates and store."""
    rows = [
        ("ending", _ENDINGS[facts["exit_code"]]),
        ("records", f"{facts['records']:,} of {planned['missing']:,} that were missing"),
        ("failures", _failures(facts)),
        ("steps", f"{facts['steps']:,}"),
        ("tokens", f"{facts['tokens']:,}, {rate(facts['tokens_per_second'])} token/s"),
        ("time", _time(facts)),
        ("problems", f"{planned['problems']:,} ({_domains(planned)})"),
        ("model", f"{planned['model']} ({planned['compute_dtype']}) on {planned['device']}"),
        ("store", _store(facts, store)),
    ]
    if facts["out_of_memory"]:
        rows.append(("out of memory", f"{count(facts['out_of_memory'], 'batch')} tried again"))
    look = []
    if not in_memory(store):
        look = ["", f"Look at it: `rjepa-cli show {shlex.quote(store.path)}`"]
    return "\n".join(["### Extraction", "", *table(["", ""], rows), *look, ""])


def training_text(facts: Facts) -> str:
    """Return the summary of a training run: its ending, best epoch, losses per epoch and files."""
    lines = ["### Training", "", visible(ending_line(facts)), ""]
    rows = []
    if facts["best"] is not None:
        epoch = facts["best_epoch"] or "the start"
        rows.append(("best epoch", f"{epoch}, {facts['best']:.4g}"))
    rows.append(("world model", f"`{facts['run']}`"))
    if facts["report"]:
        rows.append(("report", f"`{facts['report']}`"))
    lines += table(["", ""], rows)
    curve = curve_rows(facts["curve"], facts["best_epoch"])
    if curve:
        lines += ["", *table(curve[0], curve[1:])]
    return "\n".join([*lines, ""])


def evaluation_text(facts: Facts) -> str:
    """Return the summary of an evaluation: world models and baselines, with intervals."""
    return "### Evaluation\n\n" + markdown(facts)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [_row(head), _row(["---"] * len(head)), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(visible(cell).replace("|", "\\|") for cell in cells) + " |"


def _failures(facts: Facts) -> str:
    text = f"{facts['failures']:,}"
    if facts["reasons"]:
        text += f" ({reasons_text(facts['reasons'])})"
    earlier = facts["failed_in_store"] - facts["failures"]
    return text + (f", and {earlier:,} of earlier runs" if earlier > 0 else "")


def _time(facts: Facts) -> str:
    text = duration(facts["seconds"])
    if "seconds_per_problem" in facts:
        text += f", {rate(facts['seconds_per_problem'])} s/problem"
    return text


def _domains(planned: Facts) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in planned["domains"].items())


def _store(facts: Facts, store: StoreSettings) -> str:
    held = count(facts["store_records"], "record")
    return f"`{store.path}`: {held}, {size(facts['store_bytes'])}"
