"""Packed forwards over a slot cache: logits of each row's next token, and wanted hidden states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from rjepa_core.errors import OutOfMemoryError, UnsupportedError

from ..hidden_states import LayerReader, nearly_equal
from ..placement import is_out_of_memory
from .attention import Layout, attend_in_slots, register
from .kv_cache import SlotCache

# Rows whose attention is computed together, over the tokens of the longest of them.
_GROUP = 16
_LOGITS = -1
Take = Callable[[int, Tensor], None]


class Decoder:
    """Runs a causal LM over rows in slots, by the model's own layers.

    Attributes:
        group: number of neighbouring slots whose attention is computed together.
    """

    def __init__(self, model: Any, reader: LayerReader) -> None:
        register()
        self._model, self._reader = model, reader
        self.group = _GROUP if model.device.type == "cpu" else 1 << 30
        self._checked: set[int] = set()

    @property
    def device(self) -> torch.device:
        return self._model.device

    def new_cache(self) -> SlotCache:
        """Return an empty cache; `resize` gives it slots."""
        return SlotCache(self._reader.hidden_states - 1)

    def layout(self, positions: Sequence[int], pieces: Sequence[tuple[int, int, int]]) -> Layout:
        """Return the layout of a forward's tokens.

        Args:
            positions: of the next token of each of the first slots.
            pieces: (slot, start, stop) of each stretch of a prompt.
        """
        return Layout(positions, pieces, self.device, self.group)

    def run(
        self,
        cache: SlotCache,
        ids: Sequence[int],
        layout: Layout,
        layers: Sequence[int],
        take: Take,
    ) -> Tensor | None:
        """Run one forward.

        Args:
            cache: written in place.
            ids: N tokens, in the layout's order.
            layout: their slots and positions.
            layers: wanted layers.
            take: called with each wanted layer and its hidden state [N, D], in order of depth.

        Returns:
            logits [rows, V] of the rows' tokens; None if there are only pieces.
        """
        model = self._model
        inputs = {
            "input_ids": torch.tensor([list(ids)]).to(self.device),
            "position_ids": layout.positions_N[None],
            "past_key_values": cache,
            "use_cache": True,
        }
        with (
            attend_in_slots(model.config, layout),
            self._reader.reading(layers, lambda layer, hidden: take(layer, hidden[0])),
        ):
            if not layout.rows:
                model.base_model(**inputs)
                return None
            kept = torch.arange(layout.rows, device=self.device)
            logits: Tensor = model(**inputs, logits_to_keep=kept).logits[0]
            return logits

    def check(self, ids: Sequence[int], layers: Sequence[int]) -> None:
        """Compare rows, pieces and copied prefixes with transformers' own forward, once.

        Raises:
            UnsupportedError: this model cannot be run over slots.
        """
        if {*layers, _LOGITS} <= self._checked:
            return
        name = type(self._model).__name__
        try:
            wrong = self._find_difference(list(ids)[:16], layers)
        except OutOfMemoryError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            wrong = f"{type(error).__name__}: {error}".splitlines()[0]
        if wrong:
            raise UnsupportedError(
                f"{name} cannot be run in one pass ({wrong}); set backend.extraction=double-pass"
            )
        self._checked |= {*layers, _LOGITS}

    def _find_difference(self, ids: list[int], layers: Sequence[int]) -> str | None:
        """Return what differs from the model's own forward over the same tokens, or None."""
        own = self._model(
            input_ids=torch.tensor([ids], device=self.device), output_hidden_states=True
        )
        cache, last, half = self.new_cache(), len(ids) - 1, len(ids) // 2
        cache.resize(2, len(ids) + 1, 0, 0)
        found: dict[int, Tensor] = {}
        self.run(cache, ids[:half], self.layout([], [(0, 0, half)]), layers, found.__setitem__)
        cache.copy(0, 1, half)
        # Slot 0 runs to the last token; slot 1, with the copied half, to the one before it.
        tokens = [ids[last], ids[last - 1], *ids[half:last], *ids[half : last - 1]]
        layout = self.layout([last, last - 1], [(0, half, last), (1, half, last - 1)])
        logits = self.run(cache, tokens, layout, layers, found.__setitem__)
        assert logits is not None
        if not nearly_equal(logits, own.logits[0, [last, last - 1]], self._model.dtype):
            return "its logits differ from transformers' own"
        wanted = [last, last - 1, *range(half, last), *range(half, last - 1)]
        for layer in layers:
            if not nearly_equal(
                found[layer], own.hidden_states[layer][0, wanted], self._model.dtype
            ):
                return f"layer {layer} differs from transformers' own"
        return None
