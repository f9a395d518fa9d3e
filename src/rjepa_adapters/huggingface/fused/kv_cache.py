"""Keys and values of rows in flight: allocated once, written in place, one slot per row.

A transformers `Cache` whose `update` writes each token where the current `Layout` says and returns
all slots. A slot keeps its prompt after its row has ended, so that a later prompt with the same
beginning can copy it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from .attention import current_layout

# numpy has no bfloat16; bytes of zeros are zeros in any dtype.
_INTEGERS = {2: np.int16, 4: np.int32, 8: np.int64}


class SlotLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's keys and values, [R slots, H heads, C tokens, D] each."""

    is_sliding = False

    def __init__(self, rows: int, tokens: int) -> None:
        super().__init__()
        self.rows, self.tokens = rows, tokens

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys = slots_like(key_states, self.rows, self.tokens)
        self.values = slots_like(value_states, self.rows, self.tokens)
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write [1, H, N, D] in place and return all slots."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        layout = current_layout()
        at = (layout.slots_N, slice(None), layout.positions_N)
        self.keys[at] = key_states[0].transpose(0, 1)
        self.values[at] = value_states[0].transpose(0, 1)
        return self.keys, self.values

    def resize(self, rows: int, tokens: int, kept: int, filled: int) -> None:
        """Resize to `rows` slots of `tokens` tokens, keeping `filled` tokens of `kept` slots."""
        self.rows, self.tokens = rows, tokens
        if not self.is_initialized:
            return
        # One tensor at a time, so that little more than the larger of both sizes is held.
        self.keys = resize_slots(self.keys, rows, tokens, kept, filled)
        self.values = resize_slots(self.values, rows, tokens, kept, filled)

    def copy(self, source: int, target: int, tokens: int) -> None:
        """Copy the first `tokens` tokens of a slot into another."""
        if self.is_initialized:
            self.keys[target, :, :tokens] = self.keys[source, :, :tokens]
            self.values[target, :, :tokens] = self.values[source, :, :tokens]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return self.tokens


class SlotCache(Cache):  # type: ignore[misc]
    """The slots of all layers."""

    def __init__(self, layers: int) -> None:
        super().__init__(layers=[SlotLayer(0, 0) for _ in range(layers)])
        self.rows = self.tokens = 0

    def resize(self, rows: int, tokens: int, kept: int, filled: int) -> None:
        """Resize to `rows` slots of `tokens` tokens, keeping `filled` tokens of `kept` slots."""
        self.rows, self.tokens = rows, tokens
        for layer in self.layers:
            layer.resize(rows, tokens, kept, filled)

    def copy(self, source: int, target: int, tokens: int) -> None:
        """Copy the first `tokens` tokens of a slot into another, in every layer."""
        if source != target and tokens:
            for layer in self.layers:
                layer.copy(source, target, tokens)


def resize_slots(old: Tensor, rows: int, tokens: int, kept: int, filled: int) -> Tensor:
    """Return `old` [R, H, C, D] resized to `rows` slots of `tokens` tokens.

    The first `filled` tokens of the first `kept` slots are copied.
    """
    new = slots_like(old, rows, tokens)
    # What was never written is not copied: on a host, reading it would allocate memory for zeros.
    new[:kept, :, :filled] = old[:kept, :, :filled]
    return new


def slots_like(states: Tensor, rows: int, tokens: int) -> Tensor:
    """Return zeros [rows, H, tokens, D] for states [_, H, _, D].

    What no row has written must be finite, because it is multiplied by a weight of 0. On a host the
    system allocates pages of zeros only when they are first written, so that slots for the longest
    completions take no memory until they are used.
    """
    shape = (rows, states.shape[1], tokens, states.shape[3])
    if states.device.type != "cpu":
        return torch.zeros(shape, dtype=states.dtype, device=states.device)
    plain = np.zeros(shape, _INTEGERS[states.element_size()])
    return torch.from_numpy(plain).view(states.dtype)
