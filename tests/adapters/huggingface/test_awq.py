"""AWQ 4-bit checkpoints on a CPU: dequantised at load, said so, and equal to their reference."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hf_checkpoints import backend_of, qwen3
from hf_traces import given, problems
from safetensors.torch import load_file, save_file

from rjepa_adapters.huggingface import awq
from rjepa_core.domain.latents import Encoding
from rjepa_core.errors import UsageError
from rjepa_core.settings.extraction import EncodingSettings

pytest.importorskip("awq", reason="AutoAWQ is not installed: pip install 'rjepa[awq]'")

LAYER = "model.layers.1.self_attn.q_proj"
SOLUTION = "Step 1: Ann has 3 apples and buys 4 more.\nStep 2: 3 + 4 = 7.\nAnswer: 7"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    from awq_pack import pack

    folder = tmp_path_factory.mktemp("awq")
    source = qwen3(folder / "source", num_hidden_layers=4, hidden_size=128, intermediate_size=256)
    return pack(source, folder / "packed")


def test_a_packed_checkpoint_matches_its_dequantised_reference(
    packed: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        ours = backend_of(packed[0])
    said = [r.message for r in caplog.records if "dequantised" in r.message]
    assert len(said) == 1, "one visible line says that the weights were dequantised"
    assert ours.info.quantisation == "awq-4bit"
    assert ours.info.notes["awq"].startswith("dequantised")
    reference = backend_of(packed[1])
    settings = EncodingSettings(layers=(0, 2, 4), logprobs=True)
    for a, b in zip(
        ours.encode(given(ours, problems(4), SOLUTION), settings),
        reference.encode(given(reference, problems(4), SOLUTION), settings),
        strict=True,
    ):
        assert isinstance(a, Encoding)
        assert isinstance(b, Encoding)
        assert np.linalg.norm(a.latents - b.latents) / np.linalg.norm(b.latents) < 1e-3
        assert np.allclose(a.latents, b.latents, atol=1e-3)
        assert a.logprobs is not None
        assert b.logprobs is not None
        assert np.allclose(a.logprobs, b.logprobs, atol=1e-3)


def test_its_identity_differs_from_the_references(packed: tuple[Path, Path]) -> None:
    assert backend_of(packed[0]).info.content != backend_of(packed[1]).info.content


def test_autoawq_is_imported_only_for_such_a_checkpoint(packed: tuple[Path, Path]) -> None:
    """And nothing of its farewell reaches the screen."""
    script = f"""
import sys
from rjepa_adapters.huggingface.plugin import _create
from rjepa_adapters.huggingface.settings import HuggingFaceSettings
from rjepa_core.settings import ModelSettings
def load(name): return _create(ModelSettings(name=name, device="cpu"), HuggingFaceSettings())
load({str(packed[1])!r})
assert "awq" not in sys.modules
load({str(packed[0])!r})
assert "awq" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stdout + done.stderr
    assert "dequantised to float32" in done.stderr


def test_without_a_package_the_answer_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awq.importlib.util, "find_spec", lambda name: None)
    assert awq.awq_path("cpu")[0] == "none"


def test_transformers_own_way_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awq.importlib.util, "find_spec", lambda name: object())
    assert awq.awq_path("cuda")[0] == awq.awq_path("cpu")[0] == "transformers"


def test_other_packings_are_refused(packed: tuple[Path, Path], tmp_path: Path) -> None:
    import json
    import shutil

    folder = shutil.copytree(packed[0], tmp_path / "gemv")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"]["version"] = "gemv"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="gemv"):
        backend_of(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda name: None if name == f"{LAYER}.qweight" else name, rf"\({LAYER}.qweight\)"),
        (lambda name: None if name == f"{LAYER}.scales" else name, rf"\({LAYER}.scales\)"),
        (lambda name: None if LAYER in name else name, rf"\({LAYER}.weight\)"),
        (lambda name: None if name == "model.norm.weight" else name, r"\(model.norm.weight\)"),
        (lambda name: f"module.{name}", "begin with 'module.'"),
    ],
    ids=["packed", "scales", "layer", "norm", "prefix"],
)
def test_weights_that_are_not_in_the_files(
    packed: tuple[Path, Path],
    tmp_path: Path,
    change: Callable[[str], str | None],
    says: str,
) -> None:
    folder = shutil.copytree(packed[0], tmp_path / "changed")
    tensors = load_file(folder / "model.safetensors")
    renamed = {change(name): tensor for name, tensor in tensors.items()}
    kept = {name: tensor for name, tensor in renamed.items() if name is not None}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match=says):
        backend_of(folder)


def test_extract_end_to_end(packed: tuple[Path, Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rjepa_cli", "extract", "--problems", "demo", "--limit", "3"]
    command += ["--model", str(packed[0]), "--max-new-tokens", "20", "--device", "cpu"]
    done = subprocess.run(
        [*command, "--store", str(tmp_path / "store")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "awq-4bit" in done.stderr + done.stdout
    assert "dequantised to float32" in done.stderr
