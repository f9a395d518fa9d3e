"""The evaluation's page: what leads comes first, and charts are of it."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from rjepa_adapters.reports.evaluation import html
from rjepa_adapters.reports.svg import Bar, bars, curves
from rjepa_core.domain.floors import FEWEST_PROBLEMS


def table(**more: Any) -> dict[str, Any]:
    figure = {"value": 0.5, "low": 0.4, "high": 0.6}
    lines = [
        {"method": name, "kind": kind, "figures": {"top-1": figure, "MRR": figure}, "of": []}
        for name, kind in (("world model", "world model"), ("ridge", "baseline"))
    ]
    return {
        "part": "prediction",
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


def facts_of(*tables: dict[str, Any]) -> dict[str, Any]:
    known = {"training_traces": 1, "training_steps": 2}
    facts = {"world_models": {}, "split": "test", "stores": ["s"], "draws": 10, "facts": known}
    return {**facts, "tables": list(tables)}


def page(*tables: dict[str, Any]) -> str:
    return html(facts_of(*tables))


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


def test_the_verdict_comes_first_and_the_measures_are_explained() -> None:
    text = page(table(leads=["top-1"], problems=500))
    begin = text.index("<h1>")
    verdict = text.index("World model: predicting steps, ahead of the best baseline in 0 of")
    assert begin < verdict < text.index("What the measures mean") < text.index("In short")
    assert "<dt>top-1</dt><dd>share of steps that are found at once" in text
    assert "mostly chance" not in text
    # How it was done is at the end, folded.
    assert text.index("test part of s") > text.rindex("<table")
    assert text.rindex("<details>", 0, text.index("test part of s")) > text.rindex("<table")


def test_figures_of_too_little_say_so_first() -> None:
    text = page(table(leads=["top-1"], problems=FEWEST_PROBLEMS - 1))
    assert "Too little to judge by. World model" in text
    banner = text.index(f'<p class="loud">{FEWEST_PROBLEMS - 1} problems to evaluate on')
    assert banner < text.index("In short")
    assert '<p class="loud">' not in page(table(leads=["top-1"], problems=FEWEST_PROBLEMS))
    # What an evaluation says of itself counts.
    facts = facts_of(table(problems=500))
    facts["facts"]["too_little"] = "three <problems>"
    facts["world_models"] = {"w": {"location": "w", "objective": "o", "too_little": "so few"}}
    told = html(facts)
    assert '<p class="loud">Three &lt;problems&gt;.</p>' in told
    assert '<p class="loud">So few.</p>' in told


def test_text_of_a_chart_is_legible_on_a_phone() -> None:
    """Drawn 358 pixels wide, its letters have 10; and none begins or ends outside."""
    drawn = bars("t", [Bar("linear map linear, the best of 3 seeds", 1.0, "0.512 [0.490, 0.534]")])
    root = ElementTree.fromstring(drawn)
    width = float(root.attrib["viewBox"].split()[2])
    assert 14 * 358 / width >= 10
    for one in root.iter("{http://www.w3.org/2000/svg}text"):
        assert float(one.attrib["x"]) + 7.6 * len(one.text or "") < width
    names = {f"val_{'long' * i}_name": [1.0, 2.0] for i in range(6)}
    for one in ElementTree.fromstring(curves("t", [1, 2], names)).iter(
        "{http://www.w3.org/2000/svg}text"
    ):
        if one.text in names:
            assert float(one.attrib["x"]) + 7.0 * len(one.text) < width
