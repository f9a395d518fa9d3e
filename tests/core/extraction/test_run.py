"""An extraction as a whole: what it looks up in the store is looked up interruptibly."""

from __future__ import annotations

from pathlib import Path

import pytest

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

COUNT = 24


@pytest.fixture
def settings(tmp_path: Path) -> ExtractionSettings:
    return ExtractionSettings(
        model=ModelSettings(name="m"),
        store=StoreSettings(path=str(tmp_path / "s")),
        problems=ProblemSettings(sources=("demo",)),
        backend=AdapterSettings(name="seeded"),
        run=RunSettings(resume=True),
    )


def test_the_last_count_is_struck(settings: ExtractionSettings) -> None:
    """All is done and committed by then; a million look-ups are not waited for."""
    asked = 0

    def stop() -> bool:
        nonlocal asked
        ended = any(one["kind"] == "extract" for one in extraction.store.history())
        asked += ended
        if asked == 3:
            raise KeyboardInterrupt
        return False

    with open_extraction(settings) as extraction:
        with pytest.raises(KeyboardInterrupt):
            extraction.run(stop=stop)
        assert asked == 3
        assert len(extraction.store) == COUNT
        assert extraction.store.history()[-1]["ending"] == "done"


def test_the_search_for_what_is_missing_is_struck(settings: ExtractionSettings) -> None:
    with open_extraction(settings) as extraction:
        assert extraction.run().ending is Ending.DONE
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise KeyboardInterrupt
        return False

    with open_extraction(settings) as extraction:
        with pytest.raises(KeyboardInterrupt):
            extraction.run(stop=stop)
        assert asked == 3
        assert extraction.store.history()[-1]["ending"] == "interrupted"
