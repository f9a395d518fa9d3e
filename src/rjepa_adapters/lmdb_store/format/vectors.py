"""The block of a record's vectors: latents, prompt latent and log-probabilities, in this order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rjepa_core.domain.latents import LatentRecord, Vectors


def encode_vectors(record: LatentRecord) -> bytes:
    """Return the block of `record`, little-endian and in C order."""
    latents = np.ascontiguousarray(record.latents)
    prompt = np.ascontiguousarray(record.prompt_latent, dtype=latents.dtype)
    parts = [latents.tobytes(), prompt.tobytes()]
    if record.logprobs is not None:
        parts.append(np.ascontiguousarray(record.logprobs, dtype="<f4").tobytes())
    return b"".join(parts)


def vectors_size(
    layers: int, steps: float, width: int, dtype: np.dtype[Any], logprobs: bool
) -> int:
    """Return the size of a block in bytes; `steps` may be an average."""
    values = layers * width * (steps + 1)
    return round(values * dtype.itemsize + (4 * steps if logprobs else 0))


def view_latents(
    block: Any, layers: int, steps: int, width: int, dtype: np.dtype[Any]
) -> tuple[Vectors, Vectors]:
    """Return views of latents [L, S, D] and prompt latent [L, D]."""
    values = np.frombuffer(block, dtype, layers * (steps + 1) * width)
    end = layers * steps * width
    return values[:end].reshape(layers, steps, width), values[end:].reshape(layers, width)


def view_logprobs(
    block: Any, layers: int, steps: int, width: int, dtype: np.dtype[Any]
) -> NDArray[np.float32]:
    """Return a view of the log-probabilities [S] of a block that has them."""
    return np.frombuffer(block, "<f4", steps, layers * (steps + 1) * width * dtype.itemsize)
