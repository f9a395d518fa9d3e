"""`rjepa-cli store import` of shards that do not tell how they were made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from rjepa_core import RecordKey, open_store
from rjepa_core.domain.identity import differences

from .conftest import only_line

pytest.importorskip("pyarrow")
Invoke = Callable[..., Result]
SHARED = Path(__file__).parents[3] / "shared" / "data"
NAMED = {
    "--model": "m",
    "--layer": "3",
    "--pooling": "mean",
    "--compute-dtype": "float32",
    "--quantisation": "none",
    "--steps": "auto",
    "--generation": "sampled",
}


def flags(**others: str | None) -> list[str]:
    """The identity's flags; None leaves one out."""
    named = {**NAMED, **{f"--{k.replace('_', '-')}": v for k, v in others.items()}}
    return [word for flag, value in named.items() if value is not None for word in (flag, value)]


@pytest.fixture
def original(extract: Invoke, invoke: Invoke) -> str:
    """Ten records in the original project's layout: no identity, no texts."""
    import pyarrow.parquet as parquet

    assert extract("--hidden-size", "12").exit_code == 0
    assert invoke("store", "export", "s", "old", "--per-shard", "4").exit_code == 0
    for table in Path("old").glob("*.parquet"):
        kept = ["cot_id", "problem_id", "domain", "subdomain", "num_steps", "hidden_size"]
        parquet.write_table(parquet.read_table(table, columns=kept), table)
    Path("old", "identity.json").unlink()
    Path("old", "failures.jsonl").unlink()
    return "old"


def test_named_shards(original: str, invoke: Invoke) -> None:
    result = invoke("store", "import", original, "new", *flags(), "--problems", "problems.jsonl")
    assert result.exit_code == 0, result.stderr
    assert "imported 10 records" in result.stdout
    assert "not encoded again" in result.stdout
    ours, theirs = open_store("new"), open_store("s")
    for key in theirs.keys():  # noqa: SIM118
        new, old = ours.get(key), theirs.get(key)
        assert new.latents.tobytes() == old.latents.tobytes()
        assert new.prompt_latent.tobytes() == old.prompt_latent.tobytes()
        assert new.trace.problem.statement == old.trace.problem.statement
        assert new.trace.problem.answer == old.trace.problem.answer
    identity = ours.identity
    assert identity is not None
    assert theirs.identity is not None
    assert identity.space.model == "named:m"
    assert (identity.space.layers, identity.space.hidden_size) == ((3,), 12)
    assert identity.space.store_dtype == "float16"
    assert identity.space.fingerprint != theirs.identity.space.fingerprint
    ours.close()
    theirs.close()


def test_shown_as_imported(original: str, invoke: Invoke) -> None:
    assert invoke("store", "import", original, "new", *flags()).exit_code == 0
    shown = invoke("show", "new").stdout
    assert "identity    named at import" in shown
    assert "imported without token ids" in shown
    assert "10 records from old" in shown
    assert json.loads(invoke("show", "new", "--json").stdout)["identity_named_at_import"] is True
    assert json.loads(invoke("show", "s", "--json").stdout)["identity_named_at_import"] is False
    opened = open_store("new")
    steps = opened.get(RecordKey("p3")).latents.shape[1]
    opened.close()
    one = invoke("show", "new", "p3")
    assert one.exit_code == 0, one.stderr
    assert one.stdout.count("|latent|") == steps + 1


def test_cannot_be_encoded_again(original: str, extract: Invoke, invoke: Invoke) -> None:
    assert invoke("store", "import", original, "new", *flags()).exit_code == 0
    result = extract("--store", "encoded", problems=("--traces", "new"))
    assert result.exit_code == 2
    assert "was imported without token ids" in only_line(result.stderr)
    assert not Path("encoded").exists()


def test_all_that_is_missing_is_listed(original: str, invoke: Invoke) -> None:
    result = invoke("store", "import", original, "new", "--pooling", "mean")
    assert result.exit_code == 2
    line = only_line(result.stderr)
    for flag in NAMED:
        assert (flag in line) == (flag != "--pooling")
    assert not Path("new").exists()


def test_the_same_space_as_an_extracted_store(
    original: str, extract: Invoke, invoke: Invoke
) -> None:
    """Whoever knows all of it can name the very latent space of a run."""
    opened = open_store("s")
    identity = opened.identity
    opened.close()
    assert identity is not None
    words = []
    for domain, template in identity.space.prompt.templates.items():
        Path(f"{domain}.txt").write_text(template)
        words += ["--prompt-template", f"{domain}={domain}.txt"]
    named = flags(
        content=identity.space.model,
        chat_format=identity.space.prompt.chat_format,
        tokenizer=identity.space.tokenizer,
        layer="-2",
        hidden_states="5",
        temperature="0.7",
        max_new_tokens="300",
        seed="0",
        steps="auto-2",
    )
    assert invoke("store", "import", original, "new", *named, *words).exit_code == 0
    again = open_store("new")
    assert again.identity is not None
    assert again.identity.space == identity.space
    assert differences(again.identity, identity) == []
    again.close()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"layer": "-2"}, "--layer -2: give the absolute index, or add --hidden-states"),
        ({"layer": "-9", "hidden_states": "5"}, "with 5 hidden states there is none"),
        ({"hidden_size": "13"}, "the shards' hidden size is 12, not 13"),
        ({"pooling": "middle"}, "'middle' is not one of"),
        ({"generation": "given", "seed": "0"}, "--seed: given solutions were not sampled"),
        ({"prompt_template": "none.txt"}, "none.txt: no such file"),
        ({"field": "statement=question"}, "belong to --problems"),
        ({"problems": "problems.jsonl", "problem_id": "x"}, "it must contain {line}"),
        ({"problems": "problems.jsonl", "problem_id": "{n}"}, "only {line} can be in braces"),
        ({"problems": "problems.jsonl", "problem_id": "q{line}"}, "'p0', those in the file 'q0'"),
        ({"problems": "nope.jsonl"}, "nope.jsonl: no such file"),
    ],
)
def test_what_does_not_fit(
    changed: dict[str, str], said: str, original: str, invoke: Invoke
) -> None:
    result = invoke("store", "import", original, "new", *flags(**changed))
    assert result.exit_code == 2
    assert said in only_line(result.stderr)
    assert not Path("new").exists()


def test_several_layers(original: str, invoke: Invoke) -> None:
    result = invoke("store", "import", original, "new", *flags(), "--layer", "1")
    assert result.exit_code == 2
    assert "the shards hold 1 layer, --layer names (3, 1)" in only_line(result.stderr)


@pytest.mark.parametrize("file", ["shard-0000.safetensors", "shard-0001.parquet"])
@pytest.mark.parametrize("problems", [[], ["--problems", "problems.jsonl"]])
def test_a_broken_file_is_named(
    file: str, problems: list[str], original: str, invoke: Invoke
) -> None:
    Path(original, file).write_bytes(b"\xff" * 40)
    result = invoke("store", "import", original, "new", *flags(), *problems)
    assert result.exit_code == 2
    assert f"old/{file}: cannot be read" in only_line(result.stderr)
    assert not Path("new").exists()


def test_a_missing_table_is_named(original: str, invoke: Invoke) -> None:
    Path(original, "shard-0001.parquet").unlink()
    result = invoke("store", "import", original, "new", *flags())
    assert result.exit_code == 2
    assert "shard-0001.parquet is missing" in only_line(result.stderr)


def test_ids_from_line_numbers(original: str, home: Path, invoke: Invoke) -> None:
    rows: list[dict[str, Any]] = [{"text": f"Statement {i}"} for i in range(10)]
    (home / "bare.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["--problems", "bare.jsonl", "--field", "statement=text", "--problem-id", "p{line}"]
    assert invoke("store", "import", original, "new", *flags(), *words).exit_code == 0
    opened = open_store("new")
    assert opened.get(RecordKey("p7")).trace.problem.statement == "Statement 7"
    opened.close()


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not there")
def test_gsm8k_of_the_original(home: Path, invoke: Invoke) -> None:
    from safetensors.numpy import load_file

    (home / "t.txt").write_text("Problem: {statement}\n\nSolution:\n")
    result = invoke(
        "store", "import", str(SHARED / "gsm8k_train_smollm2"), "gsm8k",
        "--model", "SmolLM2-135M-Instruct", "--layer", "-2", "--hidden-states", "31",
        "--pooling", "mean", "--compute-dtype", "float32", "--quantisation", "none",
        "--steps", "lines", "--generation", "given", "--prompt-template", "t.txt",
        "--problems", str(SHARED / "gsm8k_train.jsonl"), "--field", "statement=question",
        "--problem-id", "gsm8k-train-{line:05d}", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["records"], found["steps"], found["token_ids"]) == (7473, 26724, False)
    tensors = load_file(SHARED / "gsm8k_train_smollm2" / "shard-0003.safetensors")
    opened = open_store("gsm8k")
    assert opened.identity is not None
    assert opened.identity.space.layers == (29,)
    record = opened.get(RecordKey("gsm8k-train-03042"))
    assert np.array_equal(record.latents[0], tensors["gsm8k-train-03042"])
    assert np.array_equal(record.prompt_latent[0], tensors["gsm8k-train-03042/prompt"])
    line = (SHARED / "gsm8k_train.jsonl").read_text("utf-8").splitlines()[3042]
    assert record.trace.problem.statement == json.loads(line)["question"]
    opened.close()
