"""Tables as a terminal shows them."""

from __future__ import annotations

from typing import Any

from rjepa_core.evaluation.text import lines


def facts(columns: int, name: str = "ridge regression") -> dict[str, Any]:
    names = [f"column {i}" for i in range(columns)]
    figures = {column: {"value": 0.5, "low": 0.4, "high": 0.6} for column in names}
    line = {"method": name, "kind": "baseline", "figures": figures, "differences": {}, "of": []}
    table = {
        "title": "A table",
        "columns": names,
        "lines": [line],
        "chance": dict.fromkeys(names, 0.1),
        "items": 1,
        "problems": 1,
        "notes": [],
        "leads": [],
    }
    known = {"training_traces": 1, "training_steps": 2}
    head = {"world_models": {}, "split": "test", "stores": ["s"], "draws": 0, "facts": known}
    return {**head, "tables": [table]}


def test_a_wide_table_is_shown_in_parts() -> None:
    shown = list(lines(facts(6)))
    assert max(map(len, shown)) <= 120
    rows = [line for line in shown if line.startswith("  ridge regression")]
    assert [row.count("0.500 [0.400, 0.600]") for row in rows] == [4, 2]
    assert sum(line.startswith("  chance") for line in shown) == 2
    heads = [line.split("   ") for line in shown if "column 0" in line or "column 4" in line]
    assert len(heads) == 2


def test_a_long_name_leaves_room_for_one_figure_a_part() -> None:
    rows = [line for line in lines(facts(3, "n" * 150)) if "nnn" in line]
    assert [row.count("0.500") for row in rows] == [1, 1, 1]


def test_too_little_is_said_at_the_head_and_once() -> None:
    known = facts(1)
    known["facts"]["too_little"] = "3 problems to evaluate on: too few"
    one = {"location": "r", "objective": "frozen", "too_little": "9 problems to train on: too few"}
    known["world_models"] = {"a": one, "b": one}
    shown = [line for line in lines(known) if line.startswith("too little: ")]
    assert [line.split()[2] for line in shown] == ["3", "9"]
