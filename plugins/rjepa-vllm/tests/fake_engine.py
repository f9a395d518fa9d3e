"""An engine that answers as vLLM's does, from a list of tokens for each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rjepa_vllm.engine import Tokens

from rjepa_core.settings import EncodingSettings


class FakeEngine:
    """Writes `text` in every row; a state is the token's position.

    Attributes:
        answers: what `pool` returns in place of vectors, in order, before it pools.
        preempted: what `release` returns next.
    """

    def __init__(self, text: Sequence[int], layers: tuple[int, ...]) -> None:
        self.text, self.layers = list(text), layers
        self.rows: dict[str, tuple[int, int, bool]] = {}  # prompt, done, reads
        self.ended: dict[str, int] = {}
        self.aborted: list[str] = []
        self.released: list[str] = []
        self.answers: list[str] = []
        self.preempted = 0
        self.fails: Callable[[], None] = lambda: None

    def add(self, name: str, ids: Any, params: Any) -> str:
        self.rows[name] = (len(ids), 0, params.max_tokens == 1)
        return f"{name}-x"

    def step(self) -> list[Tokens]:
        self.fails()
        answers = []
        for name, (prompt, done, reads) in list(self.rows.items()):
            token = self.text[done % len(self.text)]
            self.rows[name] = (prompt, done + 1, reads)
            read = [-1.0] * (prompt - 1) if reads else None
            answers.append(Tokens(name, [token], None if reads else [-2.0], read, reads))
            if reads:
                self._end(name)
        return answers

    def abort(self, requests: Sequence[str]) -> None:
        for request in requests:
            self.aborted.append(request)
            self._end(request.removesuffix("-x"))

    def _end(self, name: str) -> None:
        prompt, done, _ = self.rows.pop(name)
        self.ended[f"{name}-x"] = prompt + done - 1

    def pool(self, wanted: Sequence[Any], encoding: EncodingSettings) -> list[Any]:
        found: list[Any] = []
        for request, segments in wanted:
            if self.answers:
                found.append(self.answers.pop(0))
                continue
            assert max(stop for _, stop in segments) <= self.ended[request], "not run yet"
            means = [np.arange(start, stop).mean() for start, stop in segments]
            shape = (len(encoding.layers), len(means), 32)
            found.append(np.broadcast_to(np.float32(means)[None, :, None], shape))
        return found

    def release(self, requests: Sequence[str] = ()) -> int:
        self.released += requests
        preempted, self.preempted = self.preempted, 0
        return preempted

    def close(self) -> None:
        """Do nothing."""
