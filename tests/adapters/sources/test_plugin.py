"""The descriptors: who claims what, and that knowing them loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rjepa_adapters.sources import plugin
from rjepa_core.errors import SettingsError


def test_importing_the_descriptors_loads_neither_pyarrow_nor_datasets():
    code = (
        "import sys; from rjepa_adapters.sources import plugin; list(plugin.rjepa_sources()); "
        "print([m for m in ('pyarrow', 'datasets', 'torch', 'transformers') "
        "if m in sys.modules])"
    )
    source = Path(plugin.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(source)},
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("location", "names"),
    [
        ("gone.jsonl", ["jsonl"]),
        ("gone.JSON.gz", ["jsonl"]),
        ("deep/gone.ndjson", ["jsonl"]),
        ("gone.csv", ["csv"]),
        ("gone.tsv.gz", ["csv"]),
        ("gone.parquet", ["parquet"]),
        ("owner/name.jsonl", ["jsonl"]),
        ("openai/gsm8k", ["huggingface"]),
        ("HuggingFaceH4/MATH-500", ["huggingface"]),
        ("hf:openai/gsm8k", ["huggingface"]),
        ("hf:openai/gsm8k:test", ["huggingface"]),
        ("hf:name.jsonl", ["huggingface"]),
        ("demo", ["demo"]),
        # A mistyped path beside an existing folder is not looked for on the hub.
        ("folder/gone", []),
        ("../gsm8k", []),
        ("./gsm8k", []),
        ("/gsm8k", []),
        ("a/b/c", []),
        ("gone", []),
        ("gone.txt", []),
        ("folder", []),
        ("plain.txt", []),
        ("objects.txt", ["jsonl"]),
        ("folder.jsonl", ["jsonl"]),
        ("https://example.org/f.txt", []),
    ],
)
def test_one_adapter_at_most_claims_a_location(location, names, claimants, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("folder.jsonl").mkdir()
    Path("plain.txt").write_text("What is 2+2?\n")
    Path("objects.txt").write_text('\n {"question": "Why?"}\n')
    assert claimants(location) == names


def test_settings_are_checked(open_source, tmp_path):
    path = tmp_path / "f.csv"
    path.write_text("question\nWhy?\n")
    with pytest.raises(SettingsError, match=r"problems\.csv\.delimiter"):
        open_source(path, {"delimiter": "::"})
    with pytest.raises(SettingsError, match=r"problems\.huggingface\.splitt.*split"):
        open_source("hf:a/b", {"splitt": "x"})
