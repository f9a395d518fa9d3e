"""`rjepa-cli evaluate` as a user meets it, with a world model of the port that really predicts."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import evaluation_stores
import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors import safe_open

import rjepa_core.plugins.registry
from rjepa_adapters.reports.evaluation import html
from rjepa_cli.commands.evaluate import EVALUATE_FLAGS, OTHER_OPTIONS
from rjepa_cli.console import Screen
from rjepa_cli.main import main
from rjepa_core.evaluation.text import leads, lines, markdown

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
    assert list(dict.fromkeys(parts)) == ["prediction", "damage", "correctness", "probe"]
    for title in (
        "from the past alone, 1 step ahead",
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


def test_the_report_of_the_run_shows_the_evaluation(made: Path, evaluate: Invoke) -> None:
    report = made / "wm" / "report.html"
    report.write_text("<!DOCTYPE html>\n<html><h1>wm</h1><h2>Training</h2></html>\n")
    try:
        for _ in range(2):
            result = evaluate("--parts", "prediction")
            assert result.exit_code == 0, result.stderr
            assert "shown in: wm/report.html" in result.stderr
        text = report.read_text()
        assert text.count("<h2>Evaluation</h2>") == 1
        assert text.index("predicting steps, ") < text.index("<h2>Training</h2>")
        # What cannot be written is said, and the figures are there all the same.
        report.with_name("report.html.part").mkdir()
        result = evaluate("--parts", "prediction")
        assert result.exit_code == 0
        assert "its report cannot show the evaluation: Is a directory" in result.stderr
        assert "from the past alone" in result.stdout
        assert report.read_text() == text
    finally:
        report.unlink()
        report.with_name("report.html.part").rmdir()


def test_the_page_is_whole_and_fetches_nothing(whole: tuple[Result, Path]) -> None:
    _, out = whole
    text = (out / "evaluation.html").read_text()
    assert not REMOTE.search(text)
    doctype, _, rest = text.partition("\n")
    assert doctype == "<!DOCTYPE html>"
    page = ElementTree.fromstring(rest)
    assert len(page.findall(".//{http://www.w3.org/2000/svg}svg")) > 10
    assert "world model" in text
    assert text.index("In short") < text.index("What it can be used for") < text.index("<table")


def test_what_leads_is_the_fair_figure_beside_the_best_baseline(
    whole: tuple[Result, Path],
) -> None:
    _, out = whole
    title, found = next(leads(facts_at(out)))
    assert title == "Each step predicted from the past alone, 1 step ahead"
    top, error, use = found
    number = r"[+-]?\d+\.\d{3}"
    figure = rf"{number} \[{number}, {number}\]"
    for line, column in ((top, "top-1"), (error, "error")):
        assert re.fullmatch(
            rf"{column}: world model {figure}, (ridge regression|mean of the context|copy.*) "
            rf"{figure} \(the best baseline.*",
            line,
        ), line
    assert "for: to say where a step will lie" in use
    assert (out / "evaluation.md").read_text().index(top) < 2000


@pytest.mark.parametrize(
    ("difference", "column", "word"),
    [
        ((-0.2, -0.3, -0.1), "error", "ahead"),
        ((0.2, 0.1, 0.3), "error", "behind"),
        ((0.2, 0.1, 0.3), "top-1", "ahead"),
        ((-0.2, -0.3, -0.1), "top-1", "behind"),
        ((0.1, -0.1, 0.3), "top-1", "no difference that counts"),
    ],
)
def test_a_lead_says_who_is_ahead(
    difference: tuple[float, float, float], column: str, word: str
) -> None:
    def line(method: str, kind: str, value: float, **more: Any) -> dict[str, Any]:
        figure = {"value": value, "low": value, "high": value}
        return {"method": method, "kind": kind, "figures": {column: figure}, "of": [], **more}

    told = dict(zip(("value", "low", "high"), difference, strict=True))
    lines = [
        line("a-0", "world model", 0.9, differences={}),
        line("a", "world model", 0.4, of=["a-0"], differences={"ridge": {column: told}}),
        line("ridge", "baseline", 0.3),
    ]
    table = {"title": "t", "lines": lines, "leads": [column], "lower": ["error"], "use": "u"}
    ((_, (text, _)),) = leads({"tables": [table]})
    assert text.startswith(f"{column}: a 0.400")
    assert f"): {word}, {difference[0]:+.3f}" in text


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
    result = evaluate("--parts", "prediction", "--json")
    assert result.exit_code == 0, result.stderr
    facts = json.loads(result.stdout)
    assert [table["name"] for table in facts["tables"]] == [
        *(f"prediction/past/{ahead}" for ahead in (1, 2, 3)),
        "prediction/others/1",
    ]
    assert evaluate("--parts", "prediction", "--json").stdout == result.stdout


def test_files_are_written_whatever_becomes_of_stdout(
    evaluate: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("stdout")

    monkeypatch.setattr(Screen, "result", fails)
    result = evaluate("--parts", "prediction", "--draws", "0", "--out", str(tmp_path / "out"))
    assert result.exit_code != 0
    assert facts_at(tmp_path / "out")["tables"]


def test_a_part_that_cannot_be_done_is_skipped_unless_asked_for(made: Path, invoke: Invoke) -> None:
    store = evaluation_stores.make_store(made, "unread", count=30)
    usual = ["--world-model", str(made / "wm"), "--store", store, "--draws", "0"]
    result = invoke("evaluate", *usual)
    assert result.exit_code == 0, result.stderr
    assert "damage skipped: " in result.stdout
    assert "set model.name (--model)" in result.stderr


def test_predictions_are_written(evaluate: Invoke, tmp_path: Path) -> None:
    place = tmp_path / "predictions.safetensors"
    asked = ["--parts", "prediction", "--draws", "0", "--predictions", str(place), "--json"]
    result = evaluate(*asked)
    assert result.exit_code == 0, result.stderr
    with safe_open(place, "numpy") as file:
        metadata, names = file.metadata(), set(file.keys())
        targets = file.get_tensor("targets")
        made = file.get_tensor("ridge regression/past/2")
        ranks = file.get_tensor("ridge regression for ranks/past/2")
    assert metadata["format"] == "rjepa-predictions 1"
    traces = json.loads(metadata["traces"])
    table = json.loads(result.stdout)["tables"][1]
    assert len(targets) == sum(steps for _, _, steps in traces)
    place_of = np.concatenate([np.arange(steps) for _, _, steps in traces])
    assert np.isnan(made[place_of < 1]).all()
    error = np.square(made - targets)[place_of >= 1].mean()
    lines = {line["method"]: line["figures"] for line in table["lines"]}
    assert lines["ridge regression"]["error"]["value"] == pytest.approx(error, rel=1e-4)
    assert ranks.shape == made.shape
    assert {f"{name}/past/1" for name in lines} < names
    again = evaluate(*asked)
    assert again.exit_code == 2
    assert "is there already" in only_line(again.stderr)


def test_no_draws_no_intervals(evaluate: Invoke) -> None:
    result = evaluate("--parts", "prediction", "--draws", "0", "--json")
    figure = json.loads(result.stdout)["tables"][0]["lines"][0]["figures"]["MRR"]
    assert figure["low"] is None
    assert "[" not in evaluate("--parts", "prediction", "--draws", "0").stdout


def test_siblings_are_used_without_the_llm(whole: tuple[Result, Path], evaluate: Invoke) -> None:
    result = evaluate("--parts", "damage", "--damage", "result,foreign")
    assert result.exit_code == 0, result.stderr
    assert "encoding" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parts", "damages"], "evaluate.parts (--parts): must be of prediction, damage"),
        (["--damage", "foriegn"], "evaluate.damage (--damage): must be of result, operation"),
        (["--damaged", "0"], "evaluate.damaged (--damaged): must be >= 1"),
        (["--parts", "correctness"], "evaluate.parts (--parts): correctness needs labelled"),
        (["--split", "train"], "evaluate.split (--split): must be one of test, validation"),
        (["--limit", "0"], "evaluate.limit (--limit): must be >= 1"),
        (["--store", "nowhere"], "nowhere"),
        (["--world-model", "nowhere"], "nowhere: there is no trained world model"),
        (["--labelled", "labels.jsonl", "--parts", "damage"], "is for the part correctness, which"),
        (["--labelled", "none.jsonl", "--parts", "correctness"], "none.jsonl: no such file"),
        (["--predictions", "no/p", "--parts", "prediction"], "--predictions no/p: No such file"),
        (["--predictions", "p", "--parts", "damage"], "leaves out the part prediction; add it"),
        (["--set", "evaluate.horizons=0"], "evaluate.horizons (--set): must be >= 1"),
        (
            ["--set", "evaluate.horizons=1,9"],
            "(--set): wm predicts no more than 3 steps ahead",
        ),
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
    (made / "evaluate.yaml").write_text("evaluate:\n  parts: [prediction]\n  split: validation\n")
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
