"""A row's text as it grows, token by token, until a stop text is in it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from .tokenizer import REPLACEMENT, TextCodec


class StopFinder:
    """Follows one row; holds no more of its text than a stop text may still need."""

    def __init__(self, codec: TextCodec, stops: Sequence[str]) -> None:
        self._codec, self._stops = codec, stops
        self._kept = max(map(len, stops)) - 1
        self._tail = ""
        self._group: list[int] = []  # tokens that make no whole character yet

    def add(self, token: int) -> bool:
        """Whether the text holds a stop text once this token is behind it."""
        if token in self._codec.special:
            piece = self._codec.text_of(self._group) if self._group else ""
        else:
            self._group.append(token)
            piece = self._codec.text_of(self._group)
            if piece.endswith(REPLACEMENT):
                return False
        self._group = []
        text = self._tail + piece
        self._tail = text[len(text) - self._kept :] if self._kept < len(text) else text
        return any(stop in text for stop in self._stops)


class StopTexts:
    """A stopping criterion for `generate`: ends each row for itself.

    Attributes:
        lengths: tokens of each row up to its stop text, that one included; None if it has none.
    """

    def __init__(self, finders: Sequence[StopFinder], end_ids: Collection[int]) -> None:
        self._finders, self._end_ids = finders, frozenset(end_ids)
        self._done = [False] * len(finders)
        self._tokens = 0
        self.lengths: list[int | None] = [None] * len(finders)

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: object) -> Tensor:
        self._tokens += 1
        for row, token in enumerate(input_ids[:, -1].tolist()):
            if self._done[row]:
                continue
            if self._finders[row].add(token):
                self._done[row], self.lengths[row] = True, self._tokens
            elif token in self._end_ids:
                self._done[row] = True
        return torch.tensor(self._done, device=input_ids.device)
