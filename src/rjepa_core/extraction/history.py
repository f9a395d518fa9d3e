"""What a store's history keeps of a run."""

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


KIND = "schedule"
RUN_KINDS = (KIND, BEGIN, "extract")
# A point covers at least so many seconds, and at least this share of the run so far: a night has
# some hundred points, and so has its first minute.
_SHORTEST, _SHARE = 1.0, 0.01
# Seconds between two entries of the history; in a long run this share of it.
_BETWEEN, _BETWEEN_SHARE = 60.0, 0.02


@attrs.frozen
class Point:
    """A stretch of a run.

    Attributes:
        at: seconds since the run began, at its end.
        rows: of its last batch.
        tokens_per_second: generated, or read where nothing is generated.
        used_bytes, limit_bytes: of the device's memory, as the probe read it last; None unknown.
    """

    at: float
    rows: int
    tokens_per_second: float
    used_bytes: int | None = None
    limit_bytes: int | None = None


class Journal:
    """Gathers points and decisions until they are taken as an entry of the run history.

    Args:
        run: start of the run, as its own entry has it.
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
        """The counts so many seconds after the run began."""
        seen = progress.last
        if seen is None:
            return
        if seen.phase == "generate" or self._phase != "generate":
            self._rows, self._phase = seen.rows, seen.phase
        if seconds - self._began < max(_SHORTEST, _SHARE * seconds):
            return
        tokens = progress.new_tokens or progress.tokens
        speed = (tokens - self._tokens) / (seconds - self._began)
        memory = seen.memory
        used, limit = (memory.used_bytes, memory.limit_bytes) if memory else (None, None)
        point = Point(round(seconds, 1), self._rows, round(max(0.0, speed), 2), used, limit)
        self._points.append(point)
        self._began, self._tokens = seconds, tokens

    def decided(self, seconds: float, decision: Decision) -> None:
        """A change of size."""
        self._changes.append({"at": round(seconds, 1), **attrs.asdict(decision)})

    def due(self, seconds: float) -> bool:
        """Whether an entry should be written now."""
        wait = max(_BETWEEN, _BETWEEN_SHARE * seconds)
        return bool(self._points or self._changes) and seconds - self._taken >= wait

    def take(self, seconds: float) -> dict[str, Any] | None:
        """An entry of what was gathered since the last one; None where there is nothing."""
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
class Story:
    """What the history tells of one run.

    Attributes:
        started: when, ISO 8601.
        asked: what it was asked for and its settings; None where an older version was killed.
        entry: the same with what it did; None where it was killed, or is running still.
        seconds: how long it ran, as far as is known.
        points, changes: its journal.
    """

    started: str
    asked: dict[str, Any] | None
    entry: dict[str, Any] | None
    seconds: float
    points: tuple[Point, ...]
    changes: tuple[dict[str, Any], ...]


def stories(history: list[dict[str, Any]]) -> list[Story]:
    """The extractions that a run history tells of, in the order of their beginnings there."""
    entries = {run["started"]: run for run in history if run.get("kind") == "extract"}
    asked = {run["started"]: run for run in history if run.get("kind") == BEGIN}
    journals: dict[str, list[dict[str, Any]]] = {}
    for one in history:
        if one.get("kind") in RUN_KINDS:
            kept = journals.setdefault(one["run"] if one["kind"] == KIND else one["started"], [])
            if one["kind"] == KIND:
                kept.append(one)
    found = []
    for started, parts in journals.items():
        entry = entries.get(started)
        seconds = entry["seconds"] if entry else max((part["until"] for part in parts), default=0.0)
        points = tuple(Point(*point) for part in parts for point in part["points"])
        changes = tuple(change for part in parts for change in part["changes"])
        found.append(Story(started, entry or asked.get(started), entry, seconds, points, changes))
    return found
