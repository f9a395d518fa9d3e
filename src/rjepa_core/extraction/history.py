"""The run history of a store: entries about runs, written and read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs

from ..config import unstructure
from ..ports.backend import ModelInfo
from ..ports.executor import Progress
from ..ports.scheduler import Decision
from ..settings import ExtractionSettings
from .work import Survey


def run_name(started: datetime) -> str:
    """Return a run's name in the history: its start time in ISO 8601."""
    return started.isoformat(timespec="milliseconds")


BEGIN = "begin"
# Kind of an entry about a run whose output was lost; what the run did is in its own entry.
OUTPUT = "output"
_KEPT = ("model", "backend", "scheduler", "executor", "problems", "run")


def asked_entry(
    settings: ExtractionSettings, info: ModelInfo, survey: Survey, started: datetime
) -> dict[str, Any]:
    """Return what a run is asked for, and its settings outside the identity, as JSON values.

    It is written before the first batch, so that a killed run leaves it too.
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
    """Return what a run was asked for and did, and its settings, as JSON values."""
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


KIND = "schedule"
RUN_KINDS = (KIND, BEGIN, "extract")
# A point covers at least this many seconds, and at least this share of the run so far: the first
# minute of a run and a whole night each have some hundred points.
_SHORTEST, _SHARE = 1.0, 0.01
# Seconds between two entries of the history, or in a long run this share of it.
_BETWEEN, _BETWEEN_SHARE = 60.0, 0.02


@attrs.frozen
class Point:
    """Measurements of a stretch of a run.

    Attributes:
        at: end of the stretch, in seconds since the run began.
        rows: of its last batch.
        tokens_per_second: generated, or read if nothing is generated.
        used_bytes, limit_bytes: of the device's memory at the probe's last reading; None if
            unknown.
    """

    at: float
    rows: int
    tokens_per_second: float
    used_bytes: int | None = None
    limit_bytes: int | None = None


class Journal:
    """Collects points and decisions until they are taken as an entry of the run history.

    Args:
        run: the run's name, see `run_name`.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._points: list[Point] = []
        self._changes: list[dict[str, Any]] = []
        self._taken = 0.0
        self._began = 0.0
        self._tokens = 0
        self._rows = 0
        self._phase = ""

    def see(self, seconds: float, progress: Progress) -> None:
        """Add the counts at a time in seconds since the run began."""
        observation = progress.last
        if observation is None:
            return
        if observation.phase == "generate" or self._phase != "generate":
            self._rows, self._phase = observation.rows, observation.phase
        if seconds - self._began < max(_SHORTEST, _SHARE * seconds):
            return
        tokens = progress.new_tokens or progress.tokens
        speed = (tokens - self._tokens) / (seconds - self._began)
        memory = observation.memory
        used, limit = (memory.used_bytes, memory.limit_bytes) if memory else (None, None)
        point = Point(round(seconds, 1), self._rows, round(max(0.0, speed), 2), used, limit)
        self._points.append(point)
        self._began, self._tokens = seconds, tokens

    def decided(self, seconds: float, decision: Decision) -> None:
        """Add a change of size."""
        self._changes.append({"at": round(seconds, 1), **attrs.asdict(decision)})

    def due(self, seconds: float) -> bool:
        """Return whether an entry should be written now."""
        wait = max(_BETWEEN, _BETWEEN_SHARE * seconds)
        return bool(self._points or self._changes) and seconds - self._taken >= wait

    def take(self, seconds: float) -> dict[str, Any] | None:
        """Return an entry of what was collected since the last one, or None if there is nothing."""
        if not (self._points or self._changes):
            return None
        entry = {
            "kind": KIND,
            "run": self._run,
            "until": round(seconds, 1),
            "points": [list(attrs.astuple(point)) for point in self._points],
            "changes": self._changes,
        }
        self._points, self._changes, self._taken = [], [], seconds
        return entry


@attrs.frozen
class PastRun:
    """One run as found in the history.

    Attributes:
        started: start time, ISO 8601.
        asked: what it was asked for and its settings; None if an older version was killed.
        entry: the same with what it did; None if it was killed or is still running.
        seconds: how long it ran, as far as known.
        points, changes: its journal.
    """

    started: str
    asked: dict[str, Any] | None
    entry: dict[str, Any] | None
    seconds: float
    points: tuple[Point, ...]
    changes: tuple[dict[str, Any], ...]


def past_runs(history: list[dict[str, Any]]) -> list[PastRun]:
    """Return the extractions in a run history, in the order of their first entries."""
    entries = {run["started"]: run for run in history if run.get("kind") == "extract"}
    asked = {run["started"]: run for run in history if run.get("kind") == BEGIN}
    journals: dict[str, list[dict[str, Any]]] = {}
    for item in history:
        if item.get("kind") in RUN_KINDS:
            name = item["run"] if item["kind"] == KIND else item["started"]
            parts = journals.setdefault(name, [])
            if item["kind"] == KIND:
                parts.append(item)
    runs = []
    for started, parts in journals.items():
        entry = entries.get(started)
        seconds = entry["seconds"] if entry else max((part["until"] for part in parts), default=0.0)
        points = tuple(Point(*point) for part in parts for point in part["points"])
        changes = tuple(change for part in parts for change in part["changes"])
        runs.append(PastRun(started, entry or asked.get(started), entry, seconds, points, changes))
    return runs
