"""An extraction as a whole: what it looks up in the store is looked up interruptibly."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from rjepa_core.extraction.queue import WINDOW
from rjepa_core.extraction.run import open_extraction
from rjepa_core.ports.executor import Ending
from rjepa_core.settings.extraction import (
    AdapterSettings,
    ExtractionSettings,
    ModelSettings,
    ProblemSettings,
    RunSettings,
    StoreSettings,
)


@pytest.fixture
def settings(tmp_path: Path) -> ExtractionSettings:
    return ExtractionSettings(
        model=ModelSettings(name="m"),
        store=StoreSettings(path=str(tmp_path / "s")),
        problems=ProblemSettings(sources=("demo",)),
        backend=AdapterSettings(name="seeded"),
        run=RunSettings(resume=True),
    )


def test_the_summary_counts_what_failed_in_all_runs(
    settings: ExtractionSettings, tmp_path: Path
) -> None:
    file = tmp_path / "given.jsonl"
    rows = [{"id": f"p{i}", "question": f"What is {i}?", "steps": ["x", ""]} for i in range(4)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = attrs.evolve(settings, problems=ProblemSettings(traces=(str(file),), limit=2))
    with open_extraction(settings) as extraction:
        assert extraction.run().failed_in_store == 2
    whole = attrs.evolve(settings, problems=ProblemSettings(traces=(str(file),)))
    with open_extraction(whole) as extraction:
        summary = extraction.run()
        assert (summary.before.failed, summary.failed_in_store) == (2, 4)
    again = attrs.evolve(settings, run=RunSettings(resume=True, retry_failed=True))
    with open_extraction(again) as extraction:
        summary = extraction.run()
        assert (summary.progress.failures, summary.failed_in_store) == (2, 2)


def test_the_search_for_what_is_missing_is_struck(
    settings: ExtractionSettings, tmp_path: Path
) -> None:
    file = tmp_path / "many.jsonl"
    rows = [{"id": f"p{i}", "question": f"What is {i}?"} for i in range(WINDOW + 6)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = attrs.evolve(settings, problems=ProblemSettings(sources=(str(file),), limit=5))
    with open_extraction(settings) as extraction:
        assert extraction.run().ending is Ending.DONE
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise KeyboardInterrupt
        return False

    settings = attrs.evolve(settings, problems=ProblemSettings(sources=(str(file),)))
    with open_extraction(settings) as extraction:
        with pytest.raises(KeyboardInterrupt):
            extraction.run(stop=stop)
        assert asked == 3
        assert extraction.store.history()[-1]["ending"] == "interrupted"
