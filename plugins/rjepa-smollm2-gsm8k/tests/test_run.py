"""The run that is shipped opens by its name, keeps a world model's promises, and is small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rjepa_smollm2_gsm8k import NAME, location, rjepa_pretrained_runs

from rjepa_core.domain.floors import FEWEST_COMPARED, FEWEST_PROBLEMS
from rjepa_core.plugins import open_world_model
from rjepa_core.testing.plugin_suite import PluginContract
from rjepa_core.testing.world_model_suite import PretrainedRunContract

CARD = Path(__file__).parents[1] / "README.md"
RUN = Path(location())


class TestPlugin(PluginContract):
    entry = NAME


class TestRun(PretrainedRunContract):
    adapter = next(iter(rjepa_pretrained_runs()))


def test_it_is_of_enough_problems_and_compares_with_enough() -> None:
    info = open_world_model(NAME, "cpu").info
    assert info.too_little is None
    assert info.problems is not None
    assert info.problems >= FEWEST_PROBLEMS
    assert info.compared[0] >= FEWEST_COMPARED
    assert info.space.steps == "auto-2"
    assert info.space.quantisation == "gguf-Q4_1"


def test_it_is_small_and_names_no_folder_of_its_maker() -> None:
    assert sum(file.stat().st_size for file in RUN.rglob("*") if file.is_file()) < 10 * 2**20
    for file in RUN.rglob("*"):
        if file.suffix in (".json", ".yaml"):
            text = file.read_text(encoding="utf-8")
            assert "/home/" not in text
            assert "/tmp/" not in text


@pytest.mark.parametrize("column", ["top-1", "error"])
def test_the_card_says_what_was_measured(column: str) -> None:
    """Every figure of the card's table is the evaluation's."""
    facts = json.loads((RUN / "evaluation.json").read_text(encoding="utf-8"))
    table = next(one for one in facts["tables"] if column in one["columns"])
    line = next(one for one in table["lines"] if one["kind"] == "world model")
    assert f"{line['figures'][column]['value']:.3f}" in CARD.read_text(encoding="utf-8")
