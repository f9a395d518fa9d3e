"""Rows in slots: read prompts, decode a token per row, keep the hidden states of wanted layers."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from rjepa_core.domain.latents import Encoding
from rjepa_core.domain.trace import RecordKey, StepSpan
from rjepa_core.settings import EncodingSettings, SamplingSettings

from ..generate import StopFinder, choose, draw_uniforms
from ..hidden_states import pool
from .decoder import Decoder
from .kv_cache import resize_slots, slots_like
from .prefixes import HeldPrompt, plan_reading

# Most prompt tokens per forward, so that long prompts need no more memory than a decoding step.
_READ_TOKENS = 512
# Slots grow by multiples of this many tokens, or each longer prompt would reallocate them.
_TOKEN_STEP = 64
# (slot, start, stop): tokens of a slot's prompt.
Stretch = tuple[int, int, int]


@attrs.define(eq=False)
class Row:
    """A completion in progress.

    Attributes:
        key: seeds the row's random numbers.
        prompt: its tokens, and the statement's vectors once they are read.
        limit: most tokens of the completion.
        finder: finds the stop text that ends it, if there are stop texts.
        ids: tokens generated so far.
        fed: how many of these have been run, so that their states are collected.
        closing: whether it is complete except that its last token must still be run.
    """

    key: RecordKey
    prompt: HeldPrompt
    limit: int
    finder: StopFinder | None = None
    ids: list[int] = attrs.field(factory=list)
    fed: int = 0
    closing: bool = False

    @property
    def next(self) -> int:
        """Position in the slot of the token that is run next."""
        return len(self.prompt.ids) - 1 + len(self.ids)


class SlotBatch:
    """Up to R rows, each in a slot, with their keys, values, states and random numbers."""

    def __init__(
        self,
        decoder: Decoder,
        sampling: SamplingSettings,
        encoding: EncodingSettings,
        end_ids: Sequence[int],
    ) -> None:
        self._decoder, self._sampling, self._encoding = decoder, sampling, encoding
        self._end_ids = frozenset(end_ids)
        self.release()

    def release(self) -> None:
        """Drop all rows and free their memory."""
        self._slots: list[Row | None] = []
        self._held: list[HeldPrompt | None] = []
        self._cache = self._decoder.new_cache()
        self._states: dict[int, Tensor] = {}
        new = self._sampling.max_new_tokens
        self._uniforms = torch.zeros(0, 1, new, 1, device=self._decoder.device)
        self._logprobs = torch.zeros_like(self._uniforms)

    @property
    def rows(self) -> list[Row]:
        return [row for row in self._slots if row is not None]

    def step(self, fresh: Sequence[Row] = ()) -> list[Row]:
        """Run one more token of every row, including the `fresh` ones.

        Returns:
            rows that are complete, including those that were closing; they stay until `remove`.
        """
        if fresh:
            last_pieces = self._read(self._assign_slots(fresh))
        else:
            self._close_holes()
            last_pieces = []
            self._grow(self.rows)
        rows = self.rows
        logits_BV = self._forward(rows, last_pieces)
        assert logits_BV is not None
        # Every new prompt has been run completely only now.
        self._held[: len(rows)] = [row.prompt for row in rows]
        count = torch.tensor([min(len(r.ids), self._sampling.max_new_tokens - 1) for r in rows])
        slot_B, count_B = torch.arange(len(rows)), count.to(logits_BV.device)
        slot_B = slot_B.to(logits_BV.device)
        uniform_B, logprobs = self._uniforms[slot_B, 0, count_B, 0], self._encoding.logprobs
        chosen_B = choose(logits_BV, uniform_B, self._sampling, overwrite=not logprobs)
        if logprobs:
            picked_B = logits_BV.gather(1, chosen_B[:, None])[:, 0].float()
            self._logprobs[slot_B, 0, count_B, 0] = torch.where(
                torch.tensor([r.closing for r in rows], device=logits_BV.device),
                self._logprobs[slot_B, 0, count_B, 0],
                picked_B - logits_BV.float().logsumexp(-1),
            )
        complete = []
        for row, token in zip(rows, chosen_B.tolist(), strict=True):
            row.fed = len(row.ids)
            stopped = False
            if not row.closing:
                row.ids.append(token)
                stopped = row.finder is not None and row.finder.add(token)
            full = len(row.ids) == row.limit
            if row.closing or full or stopped or token in self._end_ids:
                complete.append(row)
        self._pool_statements(rows if fresh else ())
        return complete

    def encode(self, row: Row, spans: Sequence[StepSpan]) -> Encoding:
        """Return the vectors of a row's steps and statement."""
        slot, begin = self._slots.index(row), len(row.prompt.ids)
        places = [(slot, begin + span.start, begin + span.stop) for span in spans]
        layers, how = self._encoding.layers, self._encoding.pooling
        vectors = torch.stack([pool(self._states[k][:, 0], places, how) for k in layers])
        assert row.prompt.latent is not None
        flat = [vectors.flatten(), row.prompt.latent.flatten()]
        if self._encoding.logprobs:
            flat += [self._logprobs[slot, 0, s.start : s.stop].mean(0) for s in spans]
        moved = torch.cat(flat).cpu().numpy()  # the one copy of the row
        steps, prompts = vectors.numel(), row.prompt.latent.numel()
        return Encoding(
            moved[:steps].reshape(vectors.shape),
            moved[steps : steps + prompts].reshape(row.prompt.latent.shape),
            moved[steps + prompts :] if self._encoding.logprobs else None,
        )

    def remove(self, row: Row) -> None:
        """Free a row's slot, if it has one; its prompt stays there until the slot is reused."""
        if row in self._slots:
            self._slots[self._slots.index(row)] = None

    def shrink(self, wanted: int, fresh: Sequence[Row]) -> None:
        """Free memory if far fewer, or far shorter, rows are wanted."""
        rows = max(wanted, len(self._slots))
        tokens = self._tokens_for([*self.rows, *fresh])
        if 4 * rows <= 3 * self._cache.rows or 4 * tokens <= self._cache.tokens:
            self._resize(rows, min(tokens, self._cache.tokens))

    def fit(self) -> None:
        """Hold no more memory than the present rows need; used after an out-of-memory."""
        self._close_holes()
        self._resize(len(self._slots), self._tokens_for(self.rows))

    def _tokens_for(self, rows: Sequence[Row]) -> int:
        """Return the slot size for each row's next token and a reserve, within their limits."""
        needed = max((row.next + 1 for row in rows), default=1)
        most = max((len(row.prompt.ids) + row.limit for row in rows), default=1)
        # On a host, a slot takes no memory until it is written, and moving it takes time.
        ahead = most if self._decoder.device.type == "cpu" else min(most, needed + needed // 4)
        return -(-max(needed, ahead) // _TOKEN_STEP) * _TOKEN_STEP

    def _resize(self, rows: int, tokens: int) -> None:
        kept, new = min(rows, len(self._held)), self._sampling.max_new_tokens
        held = [one if one and len(one.ids) <= tokens else None for one in self._held[:kept]]
        self._held = held + [None] * (rows - kept)
        written = [len(one.ids) for one in held if one] + [row.next for row in self.rows]
        filled = min(tokens, max(written, default=0))
        self._cache.resize(rows, tokens, kept, filled)
        for layer, states in self._states.items():
            self._states[layer] = resize_slots(states, rows, tokens, kept, filled)
        self._uniforms = resize_slots(self._uniforms, rows, new, kept, new)
        self._logprobs = resize_slots(self._logprobs, rows, new, kept, new)

    def _grow(self, rows: Sequence[Row]) -> None:
        """Grow the slots to hold these rows and their next tokens."""
        longest = max(row.next + 1 for row in rows)
        if len(rows) > self._cache.rows or longest > self._cache.tokens:
            tokens = max(self._tokens_for(rows), self._cache.tokens)
            self._resize(max(len(rows), self._cache.rows), tokens)

    def _close_holes(self, fresh: int = 0) -> None:
        """Move rows into free slots, so that they fill the slots from the first on.

        A hole is filled with the longest row of the groups after its own, so that rows whose
        attention is computed together are of similar length. In the last group, `fresh` holes are
        left for new rows, which are short; the others are filled with the last row.
        """
        slots, group = self._slots, self._decoder.group
        while True:
            while slots and slots[-1] is None:
                slots.pop()
            if None not in slots:
                return
            hole = slots.index(None)
            after = range((hole // group + 1) * group, len(slots))
            if not after and slots.count(None) <= fresh:
                return
            longest = max(after, key=self._filled, default=len(slots) - 1)
            self._move(longest, hole)
            slots[longest] = None

    def _filled(self, slot: int) -> int:
        row = self._slots[slot]
        return row.next if row else -1

    def _move(self, source: int, target: int) -> None:
        row = self._slots[source]
        assert row is not None
        used = len(row.prompt.ids) + row.fed
        self._cache.copy(source, target, used)
        for states in self._states.values():
            states[target, :, :used] = states[source, :, :used]
        self._uniforms[target] = self._uniforms[source]
        self._logprobs[target] = self._logprobs[source]
        self._held[target] = self._held[source]
        self._slots[target] = row

    def _assign_slots(self, fresh: Sequence[Row]) -> list[int]:
        """Put each new row into a slot, after the groups of longer ones, and return the slots."""
        self._close_holes(len(fresh))
        self._grow([*self.rows, *fresh])
        self._slots += [None] * (len(fresh) - self._slots.count(None))
        places = [slot for slot, row in enumerate(self._slots) if row is None]
        drawn = draw_uniforms([row.key for row in fresh], self._sampling)
        for slot, row, uniform in zip(places, fresh, drawn, strict=True):
            self._slots[slot] = row
            self._uniforms[slot, 0, :, 0] = uniform.to(self._uniforms.device)
        return places

    def _read(self, fresh: Sequence[int]) -> list[Stretch]:
        """Run the prompts in the fresh slots, except for their last tokens.

        Returns:
            remaining pieces, to be run together with the next token of every row.
        """
        rows = [row for slot in fresh if (row := self._slots[slot]) is not None]
        plans = plan_reading(self._held, fresh, [row.prompt for row in rows])
        for slot in fresh:
            self._held[slot] = None
        left: list[Stretch] = []
        for wave in range(max(plan.wave for plan in plans) + 1):
            if left:
                self._forward([], left)
                read = zip(rows, plans, strict=True)
                self._pool_statements([row for row, plan in read if plan.wave < wave])
            wanted = []
            for slot, row, plan in zip(fresh, rows, plans, strict=True):
                if plan.wave == wave:
                    self._cache.copy(plan.slot, slot, plan.tokens)
                    if plan.statement is not None:
                        row.prompt.latent = plan.statement.latent
                    wanted.append((slot, plan.tokens, len(row.prompt.ids) - 1))
            *before, left = _portions(wanted)
            for pieces in before:
                self._forward([], pieces)
        return left

    def _forward(self, rows: Sequence[Row], pieces: Sequence[Stretch]) -> Tensor | None:
        """Run one token per row and pieces of prompts, keep their states, return logits [B, V]."""
        ids = [row.ids[-1] if row.ids else int(row.prompt.ids[-1]) for row in rows]
        for slot, start, stop in pieces:
            row = self._slots[slot]
            assert row is not None
            ids += row.prompt.ids[start:stop].tolist()
        layout = self._decoder.layout([row.next for row in rows], pieces)

        def keep(layer: int, hidden_ND: Tensor) -> None:
            if layer not in self._states:
                room = (self._cache.rows, self._cache.tokens)
                self._states[layer] = slots_like(hidden_ND[None, None], *room)
            self._states[layer][layout.slots_N, 0, layout.positions_N] = hidden_ND

        return self._decoder.run(self._cache, ids, layout, self._encoding.layers, keep)

    def _pool_statements(self, rows: Sequence[Row]) -> None:
        """Pool the vectors of statements that have been read completely."""
        for row in rows:
            start, stop = row.prompt.statement
            # The prompt's last token is run together with the next of every row.
            if row.prompt.latent is None and (row.ids or stop < len(row.prompt.ids)):
                place = [(self._slots.index(row), start, stop)]
                layers, how = self._encoding.layers, self._encoding.pooling
                row.prompt.latent = torch.cat(
                    [pool(self._states[layer][:, 0], place, how) for layer in layers]
                )


def _portions(stretches: Sequence[Stretch]) -> list[list[Stretch]]:
    """Divide stretches into forwards of at most `_READ_TOKENS` tokens; the last may be empty."""
    portions: list[list[Stretch]] = [[]]
    room = _READ_TOKENS
    for slot, start, stop in stretches:
        while start < stop:
            if not room:
                portions.append([])
                room = _READ_TOKENS
            end = min(stop, start + room)
            portions[-1].append((slot, start, end))
            room -= end - start
            start = end
    return portions
