"""What a store's history keeps of a run."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from .extraction import Progress
from .ports.llm_backend import ModelInfo
from .settings import ExtractionSettings
from .structuring import unstructure
from .worklist import Survey


def run_name(started: datetime) -> str:
    """What a run is called in the history: when it began, ISO 8601."""
    return started.isoformat(timespec="milliseconds")


BEGIN = "begin"
# An entry that says that nobody took what a run printed; what it did is told by its own entry.
OUTPUT = "output"
_KEPT = ("model", "backend", "scheduler", "executor", "problems", "run")


def asked_entry(
    settings: ExtractionSettings, info: ModelInfo, survey: Survey, started: datetime
) -> dict[str, Any]:
    """JSON values: what a run is asked for, and its settings outside the identity.

    Written before the first batch, so that a run which is killed tells it, too.
    """
    plain = unstructure(settings)
    return {
        "kind": BEGIN,
        "started": run_name(started),
        "asked": {"problems": survey.problems, "domains": survey.domains},
        "device": info.device,
        "passes": info.passes,
        **{key: plain[key] for key in _KEPT},
    }


def history_entry(
    settings: ExtractionSettings,
    info: ModelInfo,
    survey: Survey,
    started: datetime,
    seconds: float,
    how: str,
    progress: Progress,
) -> dict[str, Any]:
    """JSON values: what was asked for, what was done, and the settings outside the identity."""
    return {
        **asked_entry(settings, info, survey, started),
        "kind": "extract",
        "seconds": round(seconds, 3),
        "ending": how,
        "records": progress.records,
        "failures": progress.failures,
        "steps": progress.steps,
        "tokens": progress.tokens,
        "new_tokens": progress.new_tokens,
        "out_of_memory": progress.out_of_memory,
    }
