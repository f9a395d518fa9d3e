"""A run's report shows the evaluation of the run, the last one alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from rjepa_adapters.reports.evaluated import REPORT, show_in_run, with_evaluation
from rjepa_adapters.reports.training import html
from rjepa_core.settings.training import TrainSettings

from .test_evaluation import facts_of, table

CURVE = [{"epoch": 1, "val_top1_past": 0.5, "val_error_past": 0.4}]
# What a version before wrote.
OLDER = "<!DOCTYPE html>\n<html><body><h1>Run</h1><p>…</p><h2>Training</h2></body></html>\n"


def evaluated(**more: Any) -> dict[str, Any]:
    facts = facts_of(table(leads=["top-1"], use="to foresee", problems=500, **more))
    facts["world_models"] = {"world model": {"location": "runs/wm", "objective": "frozen"}}
    return facts


@pytest.mark.parametrize("page", [html("wm", CURVE, TrainSettings()), OLDER])
def test_the_last_evaluation_is_shown_once(tmp_path: Path, page: str) -> None:
    report = tmp_path / REPORT
    report.write_text(page, encoding="utf-8")
    for when in ("yesterday", "today"):
        assert show_in_run(tmp_path, evaluated(), "world model", when) == report
    shown = report.read_text(encoding="utf-8")
    ElementTree.fromstring(shown.removeprefix("<!DOCTYPE html>\n"))
    assert shown.count("<h2>Evaluation</h2>") == 1
    assert "today" in shown
    assert "yesterday" not in shown
    assert shown.index("World model: predicting steps, ") < shown.index("<h2>Training</h2>")
    assert "top-1: world model 0.500 [0.400, 0.600], ridge 0.500" in shown
    # All else is as it was.
    rest = shown[: shown.index("<!-- ev")] + shown.partition("the evaluation -->")[2]
    for part in page.split("<!-- evaluation --><!-- end of the evaluation -->"):
        assert "".join(part.split()) in "".join(rest.split())


def test_what_is_no_report_is_left_alone(tmp_path: Path) -> None:
    assert show_in_run(tmp_path, evaluated(), "world model", "today") is None
    assert not list(tmp_path.iterdir())
    assert with_evaluation("anything", "<p>section</p>") is None
    (tmp_path / REPORT).write_text("anything")
    assert show_in_run(tmp_path, evaluated(), "world model", "today") is None
    assert (tmp_path / REPORT).read_text() == "anything"


def test_only_its_own_figures_are_shown(tmp_path: Path) -> None:
    (tmp_path / REPORT).write_text(OLDER, encoding="utf-8")
    facts = evaluated()
    other = {**facts["tables"][0]["lines"][0], "method": "world model b"}
    facts["tables"][0]["lines"].append(other)
    show_in_run(tmp_path, facts, "world model b", "today")
    shown = (tmp_path / REPORT).read_text(encoding="utf-8")
    assert "top-1: world model b 0.500" in shown
    assert "top-1: world model 0.500" not in shown
    assert "World model b: predicting steps" in shown
    assert "World model: predicting steps" not in shown
