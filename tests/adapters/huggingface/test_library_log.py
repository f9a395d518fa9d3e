"""Warnings of transformers reach whoever loads a model."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from hf_checkpoints import backend_of, llama

from rjepa_adapters.huggingface.library_log import relay_messages


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llama(tmp_path_factory.mktemp("log") / "llama")


def said_of(folder: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        backend_of(folder)
    return [record.getMessage() for record in caplog.records]


def test_a_clean_checkpoint_loads_without_a_word(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert said_of(folder, caplog) == []


@pytest.mark.parametrize(
    ("rope", "says"),
    [
        ({"rope_type": "yarn", "factor": 0.5}, "factor field must be"),
        ({"rope_type": "linear", "factor": 2.0, "bogus": 3}, "Unrecognized keys"),
    ],
    ids=["out of range", "unknown"],
)
def test_a_doubtful_configuration_is_said_once(
    folder: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    rope: dict[str, object],
    says: str,
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    usual = {"rope_theta": 10_000.0, "original_max_position_embeddings": 256}
    config["rope_parameters"] = {**usual, **rope}
    (copy / "config.json").write_text(json.dumps(config))
    found = [line for line in said_of(copy, caplog) if says in line]
    assert len(found) == 1
    assert found[0].startswith("transformers: ")


def test_the_logger_is_left_as_it_was() -> None:
    library = logging.getLogger("transformers")
    before = library.handlers[:], library.level, library.propagate
    with relay_messages():
        assert library.handlers != before[0]
    assert (library.handlers, library.level, library.propagate) == before
