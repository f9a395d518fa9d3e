"""The world model `gsm8k-smollm2`: a run of `rjepa-cli train` that comes as a package."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rjepa_core.plugins import PretrainedRunAdapter, hookimpl

NAME = "gsm8k-smollm2"


def location() -> str:
    """Return the folder of the run."""
    return str(Path(__file__).parent / NAME)


@hookimpl
def rjepa_pretrained_runs() -> Iterable[PretrainedRunAdapter]:
    return [
        PretrainedRunAdapter(
            name=NAME,
            summary="trained on SmolLM2-135M's step latents of GSM8K's worked solutions",
            location=location,
        )
    ]
