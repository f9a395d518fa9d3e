"""The training use case: from stored latents to a trained world model."""

from .run import DEFAULT_TRAINER, train_world_model

__all__ = [
    "DEFAULT_TRAINER",
    "train_world_model",
]
