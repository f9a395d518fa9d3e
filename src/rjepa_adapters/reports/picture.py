"""A space of many dimensions as a picture of two."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray


@attrs.frozen(eq=False)
class LatentPicture:
    """Steps in the plane of their largest spread.

    Attributes:
        points: float64 [N, 2].
        positions: int64 [N], which step of its trace each is, from 0.
        explained: share of the whole variance that lies along each of the two.
        name: of the space, for the caption.
    """

    points: NDArray[np.float64]
    positions: NDArray[np.int64]
    explained: tuple[float, float]
    name: str = "step embeddings"


def latent_picture(
    sequences: Sequence[NDArray[np.float32]], name: str = "step embeddings", most: int = 2000
) -> LatentPicture:
    """The first two principal components of the steps of traces.

    Args:
        sequences: [S, W] a trace.
        name: of the space.
        most: steps that are shown; where there are more, evenly chosen ones.

    Raises:
        ValueError: no step, or a value that is not finite.
    """
    if not sequences:
        raise ValueError("a picture needs a trace at least")
    positions = np.concatenate([np.arange(len(s)) for s in sequences])
    chosen = np.arange(len(positions))
    if len(positions) > most:
        chosen = np.linspace(0, len(positions) - 1, most).astype(np.int64)
    values = np.concatenate(sequences)[chosen].astype(np.float64)
    if not len(values) or not np.isfinite(values).all():
        raise ValueError("a picture needs steps, and their values must be finite")
    values -= values.mean(0)
    if values.shape[1] == 1:
        values = np.concatenate([values, np.zeros_like(values)], 1)
    _, strength, axes = np.linalg.svd(values, full_matrices=False)
    if len(axes) == 1:
        axes, strength = np.concatenate([axes, np.zeros_like(axes)]), np.append(strength, 0.0)
    # A component's sign is nobody's; the largest entry is made positive, on every machine.
    signs = np.sign(np.take_along_axis(axes[:2], np.abs(axes[:2]).argmax(1)[:, None], 1))
    plane = axes[:2] * np.where(signs == 0, 1.0, signs)
    shares = strength**2 / max(float((strength**2).sum()), 1e-300)
    return LatentPicture(
        values @ plane.T, positions[chosen], (float(shares[0]), float(shares[1])), name
    )
