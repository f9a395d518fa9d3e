"""Texts that end a completion: it goes up to the first of them, which is left out."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from ..domain.trace import Completion
from ..errors import UnsupportedError
from ..ports.backend import ModelInfo
from ..settings import SamplingSettings


def find_stop(text: str, stops: Sequence[str]) -> tuple[int, int] | None:
    """Characters of the stop text that is complete first; of several, of the longest."""
    found = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
    if not found:
        return None
    end, start = min(found)
    return start, end


def end_at_stop(completion: Completion, stops: Sequence[str]) -> Completion:
    """The completion up to the first stop text.

    The ids are those up to the token with which the stop text was complete. Tokens of the stop text
    alone stay among them and have no text; one that begins before it covers what is before it.
    """
    found = find_stop(completion.text, stops)
    if found is None:
        return completion
    start, end = found
    tokens = int(np.searchsorted(completion.offsets[:, 0], end))
    return attrs.evolve(
        completion,
        text=completion.text[:start],
        ids=completion.ids[:tokens].copy(),
        offsets=np.minimum(completion.offsets[:tokens], start),
        finish_reason="stop",
    )


def check_stops(sampling: SamplingSettings, info: ModelInfo) -> None:
    """Refuse stop texts where the backend would go on behind them.

    Raises:
        UnsupportedError: it would.
    """
    if sampling.stop and not info.stops:
        raise UnsupportedError(
            f"sampling.stop: the backend of {info.name} cannot end completions at a text; leave it "
            "out, or use another backend"
        )
