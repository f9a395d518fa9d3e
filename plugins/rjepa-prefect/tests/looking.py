"""What Prefect kept of a run, read through its API; what a store holds."""

from __future__ import annotations

import collections
import time
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.client.schemas.sorting import FlowRunSort

from rjepa_core import Registry, open_store, run_extraction
from rjepa_core.extraction.run import resolve_extraction
from rjepa_core.plugins.locate import locate
from rjepa_core.testing.samples import record_differences

# Prefect writes task runs and logs from a queue of events.
_SECONDS = 30.0


def last_run(flow: str | None = None) -> FlowRun:
    """The flow run that was made last."""
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=20)
    for run in runs:
        if flow is None or run.name == flow:
            return run
    raise AssertionError("no run")


def task_runs(run: FlowRun, count: int) -> dict[str, TaskRun]:
    """The ended task runs of a flow run by the names of their tasks, once there are `count`."""
    end = time.monotonic() + _SECONDS
    while True:
        with get_client(sync_client=True) as client:
            found = client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
            )
        ended = [one for one in found if one.state is not None and one.state.is_final()]
        if len(ended) >= count or time.monotonic() > end:
            assert len(ended) == len(found) == count, found
            return {one.name.rsplit("-", 1)[0]: one for one in ended}
        time.sleep(0.2)


def artifacts(run: FlowRun, kind: str = "markdown") -> dict[str, str]:
    """Artifacts of a flow run by their keys."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]),
                type=ArtifactFilterType(any_=[kind]),
            )
        )
    return {str(one.key): str(one.data) for one in found}


def logged(run: FlowRun, words: str) -> str:
    """The log of a flow run, once these words are in it."""
    end = time.monotonic() + _SECONDS
    while True:
        with get_client(sync_client=True) as client:
            found = client.read_logs(
                LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])), limit=200
            )
        text = "\n".join(one.message for one in found)
        if words in text or time.monotonic() > end:
            assert words in text, text
            return text
        time.sleep(0.2)


def check_whole(path: Path, extraction: dict[str, Any], count: int = 24) -> None:
    """Every problem is there once, nothing is damaged, and the records are those of a plain run."""
    place = locate(path)
    assert place.maintenance().verify(place.place).sound
    settings, _ = resolve_extraction(
        {**extraction, "backend": "seeded", "store": f"{path}-plain"}, Registry()
    )
    run_extraction(settings)
    ours, theirs = open_store(path), open_store(f"{path}-plain")
    try:
        keys = list(ours.keys())
        assert collections.Counter(keys) == collections.Counter(theirs.keys())
        assert len(set(keys)) == count
        for key in keys:
            assert not record_differences(ours.get(key), theirs.get(key))
    finally:
        ours.close()
        theirs.close()
