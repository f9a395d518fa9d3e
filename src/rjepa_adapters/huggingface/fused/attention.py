"""Attention over slots: each row's one new token, and pieces of prompts, in one packed batch.

It is registered with transformers as an attention implementation, so that every layer runs as
written there; only where keys and values are, and what attends to what, is decided here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from rjepa_core.errors import UnsupportedError

NAME = "rjepa_slots"
_LAYOUT: ContextVar[Layout] = ContextVar("layout")


@attrs.frozen
class Piece:
    """A stretch of a prompt: tokens `start` to `stop` of a slot.

    Attributes:
        slot: of the row.
        start, stop: positions; what comes before is in the slot already.
        at: index of its first token in the packed batch.
    """

    slot: int
    start: int
    stop: int
    at: int


class Layout:
    """Slots and positions of the N tokens of one packed forward.

    The first `rows` tokens are one for each of the slots 0 to rows - 1; the pieces of prompts
    follow.

    Args:
        positions: of each row's token.
        pieces: (slot, start, stop) of each piece of a prompt.
        device: for the tensors.
        group: number of rows whose attention is computed together.

    Attributes:
        slots_N, positions_N: int64 [N].
        rows: number of rows.
        groups: (first slot, one past the last, tokens of the longest row) of slots whose attention
            is computed together.
        pieces: of prompts.
    """

    def __init__(
        self,
        positions: Sequence[int],
        pieces: Sequence[tuple[int, int, int]],
        device: torch.device,
        group: int,
    ) -> None:
        self.rows = len(positions)
        found, at = [], self.rows
        slots, places = list(range(self.rows)), list(positions)
        for slot, start, stop in pieces:
            found.append(Piece(slot, start, stop, at))
            slots += [slot] * (stop - start)
            places += range(start, stop)
            at += stop - start
        self.pieces = tuple(found)
        packed = torch.tensor([slots, places]).to(device)
        self.slots_N, self.positions_N = packed[0], packed[1]
        self.groups = tuple(
            (a, min(a + group, self.rows), max(positions[a : a + group]) + 1)
            for a in range(0, self.rows, group)
        )
        self._masks: dict[int | None, list[Tensor]] = {}
        self._piece_masks: dict[tuple[int, int | None], Tensor | None] = {}

    def masks(self, window: int | None, dtype: torch.dtype) -> list[Tensor]:
        """Return, for each group, a mask [rows of the group, 1, 1, T] to be added to scores."""
        if window not in self._masks:
            self._masks[window] = [self._mask(a, b, t, window, dtype) for a, b, t in self.groups]
        return self._masks[window]

    def _mask(self, a: int, b: int, tokens: int, window: int | None, dtype: torch.dtype) -> Tensor:
        at_T = torch.arange(tokens, device=self.positions_N.device)
        last_R1 = self.positions_N[a:b, None]
        hidden_RT = at_T > last_R1
        if window is not None:
            hidden_RT |= at_T <= last_R1 - window
        mask_RT = torch.zeros(hidden_RT.shape, dtype=dtype, device=hidden_RT.device)
        return mask_RT.masked_fill_(hidden_RT, -torch.inf)[:, None, None]

    def piece_mask(self, piece: Piece, window: int | None) -> Tensor | None:
        """Return bool [tokens, T], true where attended; None for plain causal attention."""
        if piece.start == 0 and (window is None or piece.stop <= window):
            return None
        key = (piece.slot, window)
        if key not in self._piece_masks:
            device = self.positions_N.device
            own_T1 = torch.arange(piece.start, piece.stop, device=device)[:, None]
            at_T = torch.arange(piece.stop, device=device)
            seen = at_T <= own_T1
            if window is not None:
                seen &= at_T > own_T1 - window
            self._piece_masks[key] = seen
        return self._piece_masks[key]


def current_layout() -> Layout:
    """Return the layout of the running forward."""
    return _LAYOUT.get()


@contextlib.contextmanager
def attend_in_slots(config: Any, layout: Layout) -> Iterator[None]:
    """Make models with this config attend over slots, as the layout says, within the block."""
    before, token = config._attn_implementation, _LAYOUT.set(layout)
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
        _LAYOUT.reset(token)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Return attention [1, N, H, D] of queries [1, H, N, D] over slots [R, K heads, C, D]."""
    for name in ("softcap", "s_aux", "position_bias"):
        if more.get(name) is not None:
            raise UnsupportedError(f"{type(module).__name__} attends with {name}")
    layout = current_layout()
    heads, tokens, width = query.shape[1:]
    groups = heads // key.shape[1]
    scale = width**-0.5 if scaling is None else scaling
    query_NHD = query[0].transpose(0, 1)
    out_NHD = query.new_empty(tokens, heads, value.shape[-1])
    if layout.rows:
        masks = layout.masks(sliding_window, query.dtype)
        for (a, b, longest), mask in zip(layout.groups, masks, strict=True):
            rows_RKGD = query_NHD[a:b].reshape(b - a, key.shape[1], groups, width)
            found = _one_token(
                rows_RKGD, key[a:b, :, :longest], value[a:b, :, :longest], mask, scale
            )
            out_NHD[a:b] = found.reshape(b - a, heads, -1)
    for piece in layout.pieces:
        end = piece.at + piece.stop - piece.start
        query_KGTD = query[0, :, piece.at : end].reshape(key.shape[1], groups, -1, width)
        seen = layout.piece_mask(piece, sliding_window)
        found = nn.functional.scaled_dot_product_attention(
            query_KGTD,
            key[piece.slot, :, None, : piece.stop].expand(-1, groups, -1, -1),
            value[piece.slot, :, None, : piece.stop].expand(-1, groups, -1, -1),
            attn_mask=seen,
            is_causal=seen is None,
            scale=scale,
        )
        out_NHD[piece.at : end] = found.flatten(0, 1).transpose(0, 1)
    return out_NHD[None], None


def _one_token(
    query_RKGD: Tensor, key_RKTD: Tensor, value_RKTD: Tensor, mask: Tensor, scale: float
) -> Tensor:
    """Return the attention of one token per row.

    The heads that share keys are in the dimension of tokens, so that no key is repeated.
    """
    if query_RKGD.device.type == "cpu" and query_RKGD.dtype == torch.float32:
        # On a host two plain products read the cache once, and faster than the fused kernel.
        scores_RKGT = torch.matmul(query_RKGD * scale, key_RKTD.transpose(2, 3))
        return torch.matmul(torch.softmax(scores_RKGT.add_(mask), -1), value_RKTD)
    return nn.functional.scaled_dot_product_attention(
        query_RKGD, key_RKTD, value_RKTD, attn_mask=mask, scale=scale
    )


def register() -> None:
    """Register this attention with transformers, without its masks."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
