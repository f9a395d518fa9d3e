"""Flags are named behind the settings of a message, where the command has one."""

from pathlib import Path

import pytest

from rjepa_cli.wording import Wording
from rjepa_core.errors import StoreExistsError
from rjepa_core.extraction import open_extraction
from rjepa_core.settings import (
    AdapterSettings,
    ExtractionSettings,
    ModelSettings,
    ProblemSettings,
    StoreSettings,
)

from .conftest import Invoke, only_line


@pytest.fixture
def named() -> Wording:
    wording = Wording()
    wording.learn(
        {
            "run.resume": "--resume",
            "store.path": "--store",
            "model.name": "--model",
            "sampling.top_p": "--top-p",
            "problems.fields": "--field",
        },
        {"model.name": "run.yaml, line 3", "sampling.top_p": "--set"},
    )
    return wording


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("set run.resume to go on", "set run.resume (--resume) to go on"),
        (
            "set run.resume, or use another store.path.",
            "set run.resume (--resume), or use another store.path (--store).",
        ),
        ("model.name: no such model", "model.name (run.yaml, line 3): no such model"),
        ("store.path: missing", "store.path (--store): missing"),
        ("store.path[1]: missing", "store.path[1] (--store): missing"),
        ("sampling.top_p: sampling.top_p is 3", "sampling.top_p (--set): sampling.top_p is 3"),
        ("too few (run.resume)", "too few (run.resume, --resume)"),
        ("use sampling.top_p=0.5; else", "use sampling.top_p=0.5 (--top-p 0.5); else"),
        (
            "name it: problems.fields.statement=question+body",
            "name it: problems.fields.statement=question+body (--field statement=question+body)",
        ),
        ("problems.fields.x: unknown", "problems.fields.x (--field): unknown"),
        ("already: run.resume (--resume)", "already: run.resume (--resume)"),
        ("runs/model.name: is a file", "runs/model.name: is a file"),
        ("model.name.jsonl:3: no JSON", "model.name.jsonl:3: no JSON"),
        ("run.resumed, my-store.path", "run.resumed, my-store.path"),
        ("run.force has no flag here", "run.force has no flag here"),
        (
            "x is damaged: repair the store",
            "x is damaged: repair the store (rjepa-cli store repair STORE NEW_STORE)",
        ),
    ],
)
def test_a_setting_has_its_flag_behind_it(named: Wording, text: str, shown: str) -> None:
    assert named(text) == shown
    assert Wording()("set run.resume to go on") == "set run.resume to go on"


def test_advice_to_be_pasted_has_flags_alone(named: Wording) -> None:
    advice = "use store.path=a,b sampling.top_p=0.5: a larger model.name"
    assert named.replaced(advice) == "use --store a,b --top-p 0.5: a larger --model"


def test_from_python_and_on_the_command_line(invoke: Invoke) -> None:
    words = ("--problems", "demo", "--limit", "1", "--model", "m", "--backend", "seeded")
    assert invoke("extract", *words, "--store", "s").exit_code == 0
    settings = ExtractionSettings(
        model=ModelSettings(name="m"),
        store=StoreSettings(path="s"),
        backend=AdapterSettings(name="seeded"),
        problems=ProblemSettings(sources=("demo",), limit=1),
    )
    with pytest.raises(StoreExistsError) as caught, open_extraction(settings):
        pass
    said = "s holds 1 record; set run.resume to continue it, or use another store.path"
    assert str(caught.value) == said
    again = invoke("extract", *words, "--store", "s")
    assert again.exit_code == 2
    assert only_line(again.stderr) == (
        "s holds 1 record; set run.resume (--resume) to continue it, or use another "
        "store.path (--store)"
    )


def test_warnings_have_them_too(invoke: Invoke, home: Path) -> None:
    (home / "p.jsonl").write_text(
        '{"question": "Why?", "scenario": "Ann walks to school on every day."}\n'
    )
    words = ("--problems", "p.jsonl", "--model", "m", "--backend", "seeded", "--store", "s")
    done = invoke("extract", *words)
    assert "join it: problems.fields.statement=scenario+question (--field statement=" in done.stderr
