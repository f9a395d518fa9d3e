"""`rjepa-cli evaluate` as a user meets it, with a world model of the port that really predicts."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import evaluation_stores
import pytest
from click.testing import CliRunner, Result

import rjepa_core.plugins.registry
from rjepa_adapters.reports.evaluation import html
from rjepa_cli.commands.evaluate import EVALUATE_FLAGS, OTHER_OPTIONS
from rjepa_cli.main import main
from rjepa_core.evaluation.text import lines, markdown

from .conftest import Invoke, command, only_line
from .test_lazy import HEAVY, imported

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
REMOTE = re.compile(
    r"""(?:src|href)\s*=|url\(|@import|https?://(?!www\.w3\.org/2000/svg)|<script"""
)


@pytest.fixture(autouse=True)
def _ridge(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ridge world model is installed."""
    entries = evaluation_stores.entries()
    monkeypatch.setattr(rjepa_core.plugins.registry, "groups", lambda: ["rjepa"])
    monkeypatch.setattr(rjepa_core.plugins.registry, "entry_points", lambda group: entries)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store `s`, the run `wm` and labelled solutions."""
    home = tmp_path_factory.mktemp("evaluate")
    store = evaluation_stores.make_store(home)
    evaluation_stores.make_run(store, home / "wm")
    evaluation_stores.write_labelled(home / "labels.jsonl", 10)
    return home


@pytest.fixture
def evaluate(made: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.chdir(made)

    def run(*arguments: str) -> Result:
        usual = ["--world-model", "wm", "--store", "s", "--backend", "seeded"]
        draws = [] if "--draws" in arguments else ["--draws", "40"]
        return invoke("evaluate", *usual, *draws, *arguments)

    return run


@pytest.fixture(scope="module")
def whole(made: Path) -> tuple[Result, Path]:
    """All parts, with a report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        entries = evaluation_stores.entries()
        patch.setattr(rjepa_core.plugins.registry, "groups", lambda: ["rjepa"])
        patch.setattr(rjepa_core.plugins.registry, "entry_points", lambda group: entries)
        arguments = ["--world-model", "wm", "--store", "s", "--backend", "seeded", "--model", "m"]
        arguments += ["--labelled", "labels.jsonl", "--out", "out/here", "--draws", "40"]
        result = CliRunner().invoke(main, ["evaluate", *arguments])
    return result, made / "out" / "here"


def facts_at(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / "evaluation.json").read_text())
    return found


def test_a_table_a_part(whole: tuple[Result, Path]) -> None:
    result, out = whole
    assert result.exit_code == 0, result.stderr
    parts = [table["part"] for table in facts_at(out)["tables"]]
    assert list(dict.fromkeys(parts)) == ["retrieval", "damage", "correctness", "probe"]
    for title in (
        "found among",
        "A step of a random other problem",
        "A result changed",
        "Wrong sol",
    ):
        assert title in result.stdout
    assert re.search(r"ridge regression +0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]", result.stdout)
    assert re.search(r"less ridge regression +[+-]0\.\d{3} \[[+-]0\.\d{3}, ", result.stdout)
    assert "chance" in result.stdout
    assert "Traceback" not in result.stderr
    assert "encoding" in result.stderr


def test_the_page_is_whole_and_fetches_nothing(whole: tuple[Result, Path]) -> None:
    _, out = whole
    text = (out / "evaluation.html").read_text()
    assert not REMOTE.search(text)
    doctype, _, rest = text.partition("\n")
    assert doctype == "<!DOCTYPE html>"
    page = ElementTree.fromstring(rest)
    assert len(page.findall(".//{http://www.w3.org/2000/svg}svg")) > 10
    assert "world model" in text


def test_the_markdown_has_every_table(whole: tuple[Result, Path]) -> None:
    _, out = whole
    facts, text = facts_at(out), (out / "evaluation.md").read_text()
    for table in facts["tables"]:
        assert f"### {table['title']}" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(row.endswith("|") for row in rows)
    assert "| **world model** |" in text


def test_names_that_are_markup_do_no_harm(whole: tuple[Result, Path]) -> None:
    facts = facts_at(whole[1])
    facts["stores"] = ["<b>&|\x1b[31m"]
    facts["tables"][0]["lines"][0]["method"] = "<i>|\x07"
    ElementTree.fromstring(html(facts).partition("\n")[2])
    shown = "\n".join(lines(facts)) + markdown(facts)
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "<i>\\|" in markdown(facts)


def test_json_alone_on_stdout(whole: tuple[Result, Path], evaluate: Invoke) -> None:
    result = evaluate("--parts", "retrieval", "--json")
    assert result.exit_code == 0, result.stderr
    facts = json.loads(result.stdout)
    assert [table["name"] for table in facts["tables"]] == ["retrieval/others", "retrieval/past"]
    assert evaluate("--parts", "retrieval", "--json").stdout == result.stdout


def test_no_draws_no_intervals(evaluate: Invoke) -> None:
    result = evaluate("--parts", "retrieval", "--draws", "0", "--json")
    figure = json.loads(result.stdout)["tables"][0]["lines"][0]["figures"]["MRR"]
    assert figure["low"] is None
    assert "[" not in evaluate("--parts", "retrieval", "--draws", "0").stdout


def test_siblings_are_used_without_the_llm(whole: tuple[Result, Path], evaluate: Invoke) -> None:
    result = evaluate("--parts", "damage", "--damage", "result,foreign")
    assert result.exit_code == 0, result.stderr
    assert "encoding" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parts", "damages"], "evaluate.parts (--parts): must be of retrieval, damage"),
        (["--damage", "foriegn"], "evaluate.damage (--damage): must be of result, operation"),
        (["--damaged", "0"], "evaluate.damaged (--damaged): must be >= 1"),
        (["--parts", "correctness"], "evaluate.parts (--parts): correctness needs labelled"),
        (["--split", "train"], "evaluate.split (--split): must be one of test, validation"),
        (["--limit", "0"], "evaluate.limit (--limit): must be >= 1"),
        (["--store", "nowhere"], "nowhere"),
        (["--world-model", "nowhere"], "nowhere: there is no trained world model"),
        (["--labelled", "labels.jsonl", "--parts", "damage"], "is for the part correctness, which"),
        (["--labelled", "none.jsonl", "--parts", "correctness"], "none.jsonl: no such file"),
        (["--out", "s.jsonl"], "--out s.jsonl: is not a folder"),
        (["--set", "evaluate.drows=3"], "evaluate.drows (--set): unknown setting; did you mean"),
    ],
)
def test_mistakes_are_one_line(evaluate: Invoke, arguments: list[str], message: str) -> None:
    result = evaluate(*arguments)
    assert result.exit_code == 2
    assert message in only_line(result.stderr)


def test_the_llm_is_asked_for(made: Path, evaluate: Invoke) -> None:
    evaluation_stores.make_store(made, "fresh")
    result = CliRunner().invoke(
        main, ["evaluate", "--world-model", "wm", "--store", "fresh", "--parts", "damage"]
    )
    assert result.exit_code == 2
    assert "fresh.damage-test lacks" in only_line(result.stderr)
    assert "set model.name (--model)" in result.stderr


def test_a_report_is_not_overwritten(whole: tuple[Result, Path], evaluate: Invoke) -> None:
    result = evaluate("--out", "out/here")
    assert result.exit_code == 2
    assert "holds a evaluation.json already" in only_line(result.stderr)


def test_settings_from_a_file(made: Path, evaluate: Invoke) -> None:
    (made / "evaluate.yaml").write_text("evaluate:\n  parts: [retrieval]\n  split: validation\n")
    result = evaluate("--config", "evaluate.yaml", "--json")
    assert json.loads(result.stdout)["split"] == "validation"


def test_help_loads_nothing_heavy() -> None:
    done = subprocess.run(command("evaluate", "--help"), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "gsm8k.damage-test" in done.stdout
    assert not HEAVY & imported("-m", "rjepa_cli", "evaluate", "--help")


def test_the_reference_names_every_option() -> None:
    text = REFERENCE.read_text()
    section = text.partition("## `rjepa-cli evaluate`")[2].partition("\n## ")[0]
    for flag in EVALUATE_FLAGS:
        assert f"`{flag.name}" in section, flag.name
    for option in OTHER_OPTIONS:
        if option.opts[0] != "--debug":
            assert f"`{option.opts[0]}" in section, option.opts[0]
