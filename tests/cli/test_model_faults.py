"""A model that cannot do what is asked ends a run in one line, before a store is begun."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hf_checkpoints import llama
from safetensors.torch import load_file, save_file

from .conftest import Invoke, only_line

NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}{{ m['content'] }}{% endfor %}"
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llama(tmp_path_factory.mktemp("source") / "llama")


@pytest.fixture
def model(source: Path, home: Path) -> Path:
    return shutil.copytree(source, home / "model")


@pytest.fixture
def extract(invoke: Invoke) -> Callable[..., Result]:
    def run(*arguments: str) -> Result:
        usual = ["--model", "model", "--device", "cpu", "--problems", "problems.jsonl"]
        usual += ["--store", "runs/s", "--max-new-tokens", "4", "--limit", "2"]
        return invoke("extract", *usual, *arguments)

    return run


def refused(result: Result, home: Path) -> str:
    assert result.exit_code == 2, result.output
    assert not (home / "runs" / "s").exists(), "no store was begun"
    return only_line(result.stderr)


def lose_a_layer(folder: Path) -> None:
    file = folder / "model.safetensors"
    kept = {n: t for n, t in load_file(file).items() if "layers.1." not in n}
    save_file(kept, file, metadata={"format": "pt"})


def cut_short(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])


@pytest.mark.parametrize(
    ("break_it", "says"),
    [(lose_a_layer, "lack 9 of the model's 30"), (cut_short, "is damaged or cut short")],
)
def test_weights_that_are_not_there(
    model: Path,
    home: Path,
    extract: Callable[..., Result],
    break_it: Callable[[Path], None],
    says: str,
) -> None:
    break_it(model)
    said = refused(extract(), home)
    assert said.startswith("model.name (--model): ")
    assert says in said


def test_an_empty_folder_that_was_there_stays(
    model: Path, home: Path, extract: Callable[..., Result]
) -> None:
    lose_a_layer(model)
    (home / "runs" / "s").mkdir(parents=True)
    assert extract().exit_code == 2
    assert list((home / "runs" / "s").iterdir()) == []


def test_a_template_that_takes_no_system_text(
    model: Path, home: Path, extract: Callable[..., Result]
) -> None:
    (model / "chat_template.jinja").write_text(NO_SYSTEM)
    said = refused(extract("--system", "Be brief."), home)
    assert said.startswith("prompt.system (--system): ")
    assert "System role not supported" in said
    assert extract().exit_code in (0, 3), "without a system text it is taken"


@pytest.mark.parametrize("template", ["{% for m in %}", "{{ tools[0].name }}", "{{ 1 / 0 }}"])
def test_a_template_that_fails(
    model: Path, home: Path, extract: Callable[..., Result], template: str
) -> None:
    (model / "chat_template.jinja").write_text(template)
    assert "the chat template of model refuses this prompt (" in refused(extract(), home)


def test_more_new_tokens_than_the_context_holds(
    model: Path, home: Path, extract: Callable[..., Result]
) -> None:
    (model / "model.safetensors").unlink()  # It is not even looked for.
    said = refused(extract("--max-new-tokens", "512"), home)
    assert said.startswith("sampling.max_new_tokens (--max-new-tokens): 512 new tokens")


def test_several_samples_at_temperature_0(home: Path, invoke: Invoke) -> None:
    run = ["extract", "--model", "m", "--backend", "seeded", "--problems", "problems.jsonl"]
    run += ["--store", "runs/s", "--samples", "3"]
    said = refused(invoke(*run, "--temperature", "0"), home)
    assert said.startswith("problems.samples (--samples): at temperature 0 all 3 samples")
    assert invoke(*run, "--temperature", "0.5").exit_code == 0


def test_a_store_of_several_samples_at_temperature_0_goes_on(
    home: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ["extract", "--model", "m", "--backend", "seeded", "--problems", "problems.jsonl"]
    run += ["--store", "s", "--samples", "2", "--temperature", "0"]
    with monkeypatch.context() as earlier:
        earlier.setattr("rjepa_core.extraction.run.check_samples", lambda settings: None)
        assert invoke(*run, "--limit", "4").exit_code == 0
    assert invoke(*run, "--resume").exit_code == 0
