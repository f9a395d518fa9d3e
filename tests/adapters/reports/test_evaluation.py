"""The evaluation's page: what leads comes first, and charts are of it."""

from __future__ import annotations

from typing import Any

import pytest

from rjepa_adapters.reports.evaluation import html


def table(**more: Any) -> dict[str, Any]:
    figure = {"value": 0.5, "low": 0.4, "high": 0.6}
    lines = [
        {"method": name, "kind": kind, "figures": {"top-1": figure, "MRR": figure}, "of": []}
        for name, kind in (("world model", "world model"), ("ridge", "baseline"))
    ]
    return {
        "title": "From the past",
        "columns": ["top-1", "MRR"],
        "items": 3,
        "problems": 2,
        "chance": {"top-1": 0.1, "MRR": 0.1},
        "lines": [{**line, "differences": {}} for line in lines],
        "notes": [],
        "lower": [],
        "leads": [],
        "use": "",
        **more,
    }


def page(*tables: dict[str, Any]) -> str:
    known = {"training_traces": 1, "training_steps": 2}
    facts = {"world_models": {}, "split": "test", "stores": ["s"], "draws": 10, "facts": known}
    return html({**facts, "tables": list(tables)})


def test_what_leads_comes_first_and_is_charted() -> None:
    text = page(table(leads=["top-1"], use="to foresee"))
    short = text.index("In short")
    assert short < text.index("What it can be used for: to foresee.") < text.index("<table")
    assert text.index("top-1: world model 0.500 [0.400, 0.600], ridge 0.500") < text.index("<table")
    assert text.count("<svg") == 1


@pytest.mark.parametrize("leads", [[], ["MRR", "top-1"]])
def test_without_a_lead_every_column_is_charted(leads: list[str]) -> None:
    text = page(table(leads=leads))
    assert text.count("<svg") == 2
    assert ("In short" in text) == bool(leads)
