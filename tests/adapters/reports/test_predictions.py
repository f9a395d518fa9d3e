"""The file of predictions: what an independent script opens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open

from rjepa_adapters.reports.predictions import predictions
from rjepa_core.domain.trace import RecordKey
from rjepa_core.evaluation import Kept


def test_predictions_and_the_order_of_their_steps(tmp_path: Path) -> None:
    made = np.arange(6, dtype=np.float32).reshape(3, 2)
    traces = [(RecordKey("a/b é", 1), 1), (RecordKey("c"), 2)]
    kept = Kept(traces, {"targets": made, "ridge regression/past/1": 2 * made})
    (tmp_path / "p").write_bytes(predictions(kept))
    with safe_open(tmp_path / "p", "numpy") as file:
        assert file.metadata()["format"] == "rjepa-predictions 1"
        assert json.loads(file.metadata()["traces"]) == [["a/b é", 1, 1], ["c", 0, 2]]
        assert set(file.keys()) == set(kept.arrays)
        np.testing.assert_array_equal(file.get_tensor("ridge regression/past/1"), 2 * made)
