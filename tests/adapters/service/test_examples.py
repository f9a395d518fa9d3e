"""The examples that a service finds in a store."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx2
import pytest
from services import opened, running

from rjepa_core.domain.grade import WRONG, Grade
from rjepa_core.plugins.locate import open_store
from rjepa_core.ports.store import KeepsGrades


@pytest.fixture
def all_wrong(trained: tuple[str, str], tmp_path: Path) -> str:
    """A store whose every answer was graded wrong, as the demo's may be."""
    place = tmp_path / "wrong"
    shutil.copytree(trained[0], place)
    with open_store(str(place), "write") as store:
        assert isinstance(store, KeepsGrades)
        store.write_grades(
            [Grade(key, WRONG, "no", "1", "exact", "1") for key in list(store.keys())]
        )
    return str(place)


def examples(run: str, store: str, model: str | None = None) -> list[dict[str, Any]]:
    with opened(run, store, model=model) as served, running(served) as address:
        found: list[dict[str, Any]] = httpx2.get(f"{address}/examples").json()["examples"]
    return found


def test_a_wrong_solution_is_no_clean_example(trained: tuple[str, str], all_wrong: str) -> None:
    # The LLM reads prepared texts rather than that wrong solutions are shown.
    read = examples(trained[1], all_wrong, "m")
    assert [one["title"] for one in read] == [
        "A clean solution",
        "A foreign step",
        "Two to compare",
    ]
    assert all("comes with the service" in one["note"] for one in read)
    # Without an LLM they are what there is, and are called so.
    stored = examples(trained[1], all_wrong)
    assert [one["name"] for one in stored] == ["clean", "foreign", "compare"]
    assert stored[0]["title"] == "A stored solution"
    assert "its answer is known to be wrong, as all are here" in stored[0]["note"]
