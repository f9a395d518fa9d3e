"""Bad input: each mistake has its one-line answer and exit code 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from click.testing import Result

from .conftest import only_line

GOOD = '{"id": "a", "question": "What is 1 plus 1?"}\n'


def files(home: Path) -> None:
    """All that the table below names."""
    (home / "folder").mkdir()
    (home / "empty.jsonl").write_bytes(b"")
    (home / "binary.jsonl").write_bytes(bytes(range(256)) * 8)
    rows = [f'{{"id": "p{i}", "question": "What is {i}?"}}' for i in range(10)]
    rows[6] = '{"id": "p6", "question": '
    (home / "broken.jsonl").write_text("\n".join(rows))
    (home / "no_statement.jsonl").write_text(GOOD + '{"id": "b", "text_of_it": 1}\n')
    (home / "twice.jsonl").write_text(GOOD + '{"id": "a", "question": "What is 2 plus 2?"}\n')
    (home / "no_solution.jsonl").write_text(GOOD)
    (home / "no_place.txt").write_text("Solve it.")
    (home / "misspelt.yaml").write_text("sampling:\n  seed: 3\n  temprature: 1\n")
    (home / "wrong_type.yaml").write_text("sampling:\n  temperature: warm\n")
    (home / "source.yaml").write_text("problems:\n  limt: 3\n")
    (home / "no_section.yaml").write_text("sampling: 3\n")
    (home / "twice.yaml").write_text("sampling:\n  seed: 1\n  top_k: 2\n  seed: 3\n")
    (home / "not_yaml.yaml").write_text("sampling:\n  seed: [1\n")
    (home / "empty.yaml").write_text("# nothing\n")


@attrs.frozen
class Row:
    """What is given after a call that is right, and what the answer has to say."""

    name: str
    arguments: str
    says: tuple[str, ...]


def row(name: str, arguments: str, *says: str) -> Row:
    return Row(name, arguments, says)


TABLE = [
    # the input
    row("missing file", "--problems nowhere.jsonl", "nowhere.jsonl", "no such file"),
    row("directory", "--problems folder", "folder", "or a folder"),
    row("empty file", "--problems empty.jsonl", "empty.jsonl", "empty"),
    row("binary file", "--problems binary.jsonl", "binary.jsonl", "binary"),
    row("broken JSON on line 7", "--problems broken.jsonl", "broken.jsonl:7", "JSON"),
    row(
        "missing field",
        "--problems no_statement.jsonl",
        "no_statement.jsonl:2",
        "problems.fields.",
        "(--field statement=",
    ),
    row("id with two statements", "--problems twice.jsonl", "twice.jsonl:2", "'a'"),
    row("no solutions", "--traces no_solution.jsonl", "solution"),
    row("no input at all", "", "--problems"),
    row("both kinds", "--problems demo --traces no_solution.jsonl", "either"),
    row("bad --field", "--problems demo --field statement", "--field 'statement'", "question"),
    row(
        "statement dropped",
        "--problems twice.jsonl --field statement=",
        "problems.fields.statement (--field): ",
    ),
    row(
        "samples of given solutions",
        "--traces no_solution.jsonl --samples 2",
        "problems.samples (--samples): problems.traces (--traces)",
    ),
    row("limit 0", "--problems demo --limit 0", "problems.limit (--limit): must be >= 1, got 0"),
    row("samples 0", "--problems demo --samples 0", "problems.samples (--samples)", "got 0"),
    # the model
    row("unknown model", "--problems demo --backend huggingface --model ./no/model", "./no/model"),
    row(
        "a device that isn't there",
        "--problems demo --backend huggingface --model ./no/model --device cuda:99",
        "model.device (--device)",
        "cuda:99",
    ),
    row("unknown dtype", "--problems demo --dtype int8", "model.dtype (--dtype)", "bfloat16"),
    row(
        "layer the model lacks", "--problems demo --layer 99", "(--layer)", "no layer 99", "0 to 4"
    ),
    row("layer twice", "--problems demo --layer -1 --layer 4", "(--layer)", "twice"),
    row("layer no number", "--problems demo --layer two", "(--layer): expected a whole number"),
    row("no layer", "--problems demo --set encoding.layers=", "encoding.layers (--set): must name"),
    # ranges
    row("batch size 0", "--problems demo --batch-size 0", "scheduler.batch_size (--batch-size)"),
    row(
        "negative temperature",
        "--problems demo --temperature -1",
        "sampling.temperature (--temperature): must be >= 0, got -1",
    ),
    row("top-p 0", "--problems demo --top-p 0", "sampling.top_p (--top-p): must be > 0, got 0"),
    row("top-p 2", "--problems demo --top-p 2", "must be <= 1, got 2"),
    row("failures above all", "--problems demo --allow-failures 150%", "must be <= 1, got 1.5"),
    row("no hours", "--problems demo --max-hours 0", "run.max_hours (--max-hours): must be > 0"),
    row("pooling", "--problems demo --pooling maen", "(--pooling)", "did you mean mean?"),
    row("thinking", "--problems demo --thinking maybe", "(--thinking): expected true or false"),
    # the store
    row("below a file", "--problems demo --store problems.jsonl/s", "problems.jsonl/s"),
    row("a file", "--problems demo --store problems.jsonl", "problems.jsonl", "file"),
    row(
        "where nothing can be made",
        "--problems demo --store /proc/s",
        "/proc/s",
        "name another place (--store)",
    ),
    row("store without a place", "--problems demo --store=", "store.path (--store)"),
    # adapters
    row("backend", "--problems demo --backend seded", "backend 'seded'", "did you mean 'seeded'?"),
    row("scheduler", "--problems demo --scheduler fixd", "did you mean 'fixed'?"),
    row("store adapter", "--problems demo --store lmbd:s", "did you mean 'lmdb'?"),
    # templates, YAML, --set, flags
    row("no {statement}", "--problems demo --prompt-template no_place.txt", "{statement}", "once"),
    row("no template", "--problems demo --prompt-template no.txt", "no.txt: no such file"),
    row("binary template", "--problems demo --prompt-template binary.jsonl", "UTF-8"),
    row("missing YAML", "--config nowhere.yaml", "nowhere.yaml: no such file"),
    row("YAML is a folder", "--config folder", "directory"),
    row("empty YAML", "--config empty.yaml", "empty.yaml", "no settings"),
    row("broken YAML", "--config not_yaml.yaml", "not_yaml.yaml, line 3"),
    row(
        "misspelt key",
        "--config misspelt.yaml",
        "sampling.temprature (misspelt.yaml, line 3)",
        "did you mean sampling.temperature (--temperature)?",
    ),
    row("misspelt source key", "--config source.yaml", "problems.limt (source.yaml, line 2)"),
    row(
        "wrong type in YAML",
        "--config wrong_type.yaml",
        "sampling.temperature (wrong_type.yaml, line 2): expected a number, got 'warm'",
    ),
    row("no section", "--config no_section.yaml", "sampling (no_section.yaml, line 1)"),
    row("key twice in YAML", "--config twice.yaml", "twice.yaml, line 4", "already on line 2"),
    row("--set without =", "--set foo", "--set 'foo'", "KEY=VALUE"),
    row("--set unknown section", "--set bakend.x=1", "bakend (--set)", "did you mean backend?"),
    row("--set unknown option", "--set backend.dealy=1", "backend.dealy (--set)", "backend.delay"),
    row("--set into a value", "--set sampling.seed.x=1", "sampling.seed"),
    row("flag against --set", "--seed 1 --set sampling.seed=2", "--set says 2 and --seed says 1"),
    row("unknown flag", "--bathc-size 3", "no such option: --bathc-size", "--batch-size"),
    row("flag without value", "--limit", "--limit", "argument"),
]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_mistake_is_one_line_and_exit_code_2(
    case: Row, home: Path, invoke: Callable[..., Result]
) -> None:
    files(home)
    given = case.arguments.split()
    usual = ["--model", "m"] if "--model" not in given else []
    usual += ["--backend", "seeded"] if "--backend" not in given else []
    usual += ["--store", "s"] if not any(word.startswith("--store") for word in given) else []
    if not {"--problems", "--traces"} & {*given} and case.name != "no input at all":
        usual += ["--problems", "demo"]
    result = invoke("extract", *usual, *given)
    answer = only_line(result.stderr)
    assert result.exit_code == 2, answer
    assert result.stdout == ""
    for part in case.says:
        assert part in answer


def test_store_of_another_latent_space(extract: Callable[..., Result]) -> None:
    assert extract().exit_code == 0
    result = extract("--resume", "--layer", "1")
    assert result.exit_code == 2
    answer = only_line(result.stderr)
    assert "space.layers is [3] there and [1] in this run" in answer
    assert "--store" in answer


def test_store_of_another_generation(extract: Callable[..., Result]) -> None:
    assert extract().exit_code == 0
    result = extract("--resume", "--seed", "1")
    assert result.exit_code == 2
    assert "generation.seed is 0 there and 1 in this run" in only_line(result.stderr)


def test_store_that_holds_records_without_resume(extract: Callable[..., Result]) -> None:
    assert extract().exit_code == 0
    result = extract()
    assert result.exit_code == 2
    assert "--resume" in only_line(result.stderr)


def test_changed_statement_under_an_old_id(home: Path, extract: Callable[..., Result]) -> None:
    assert extract().exit_code == 0
    problems = home / "problems.jsonl"
    problems.write_text(problems.read_text().replace("What is 3 plus", "What is 3 times"))
    result = extract("--resume")
    assert result.exit_code == 2
    assert "'p3'" in only_line(result.stderr)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["exract"], "did you mean extract?"),
        (["extract"], "model.name (--model): missing"),
        (["extract", "--model", "m"], "store.path (--store): missing"),
        (["show"], "STORE"),
        (["show", "nowhere"], "nowhere"),
        (["plugins", "seded"], "did you mean seeded?"),
    ],
)
def test_other_commands(arguments: list[str], says: str, invoke: Callable[..., Result]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert says in only_line(result.stderr)


@pytest.mark.parametrize("wanted", ["nobody", "p3#7"])
def test_record_that_is_not_there(
    wanted: str, extract: Callable[..., Result], invoke: Callable[..., Result]
) -> None:
    assert extract().exit_code == 0
    result = invoke("show", "s", wanted)
    assert result.exit_code == 2
    assert wanted in only_line(result.stderr)
