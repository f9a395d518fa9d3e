"""Predictions of an evaluation as a safetensors file, to be computed with again."""

from __future__ import annotations

import json

from safetensors.numpy import save

from rjepa_core.evaluation import Kept

FORMAT = "rjepa-predictions 1"


def predictions(kept: Kept) -> bytes:
    """Return the file's content; what is in it stands in the evaluation's protocol."""
    traces = [[key.problem_id, key.sample, steps] for key, steps in kept.traces]
    return save(kept.arrays, {"format": FORMAT, "traces": json.dumps(traces)})
