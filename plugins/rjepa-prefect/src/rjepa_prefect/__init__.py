"""R-JEPA's use cases as Prefect flows: queued, retried and monitored."""

from __future__ import annotations

from .deploying import deploy
from .flows import evaluate, extract_latents, extract_then_train, train_world_model

__all__ = ["deploy", "evaluate", "extract_latents", "extract_then_train", "train_world_model"]
