"""Rows in slots: read prompts, decode a token of every row, keep what the wanted layers say."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from rjepa_core.latents import Encoding
from rjepa_core.settings import EncodingSettings, SamplingSettings
from rjepa_core.traces import RecordKey, StepSpan

from .decoding import Decoder
from .encoding import pool
from .held_prompts import HeldPrompt, plan_reading
from .sampling import choose, draw_uniforms
from .slot_cache import resized, slots_like

# Prompt tokens in one forward, so that long prompts need no more memory than a decoding step.
_READ_TOKENS = 512
# Room for tokens comes in steps of so many, or slots would be made anew for every longer prompt.
_TOKEN_STEP = 64
# (slot, start, stop): tokens of a slot's prompt.
Stretch = tuple[int, int, int]


@attrs.define(eq=False)
class Row:
    """A completion in progress.

    Attributes:
        key: whose random numbers it draws.
        prompt: its tokens, and the statement's vectors once they are read.
        limit: most tokens of the completion.
        ids: generated so far.
        fed: of these, how many have been run, so that their states are collected.
        closing: complete; only its last token is still to be run.
        read: states [T, D] a layer of the statement's tokens, while it is being read.
    """

    key: RecordKey
    prompt: HeldPrompt
    limit: int
    ids: list[int] = attrs.field(factory=list)
    fed: int = 0
    closing: bool = False
    read: dict[int, list[Tensor]] = attrs.field(factory=dict)


class SlotBatch:
    """Up to R rows, each in a slot; all of it moves, grows and shrinks together."""

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
        """Let go of all rows and their memory."""
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
        """Run one more token of every row, `fresh` ones among them.

        Returns:
            rows that are complete, or that were closing and now are; they stay until `remove`.
        """
        if fresh:
            last_pieces = self._read(self._place(fresh))
        else:
            self._close_holes()
            last_pieces = []
        rows = self.rows
        logits_BV = self._forward(rows, last_pieces)
        assert logits_BV is not None
        count = torch.tensor([min(len(r.ids), self._sampling.max_new_tokens - 1) for r in rows])
        slot_B, count_B = torch.arange(len(rows)), count.to(logits_BV.device)
        slot_B = slot_B.to(logits_BV.device)
        chosen_B = choose(logits_BV, self._uniforms[slot_B, 0, count_B, 0], self._sampling)
        if self._encoding.logprobs:
            picked_B = logits_BV.gather(1, chosen_B[:, None])[:, 0].float()
            self._logprobs[slot_B, 0, count_B, 0] = torch.where(
                torch.tensor([r.closing for r in rows], device=logits_BV.device),
                self._logprobs[slot_B, 0, count_B, 0],
                picked_B - logits_BV.float().logsumexp(-1),
            )
        complete = []
        for row, token in zip(rows, chosen_B.tolist(), strict=True):
            row.fed = len(row.ids)
            if not row.closing:
                row.ids.append(token)
            full = len(row.ids) == row.limit
            if row.closing or full or token in self._end_ids:
                complete.append(row)
        return complete

    def encode(self, row: Row, spans: Sequence[StepSpan]) -> Encoding:
        """Vectors of a row's steps and statement."""
        slot = self._slots.index(row)
        places = [(slot, span.start, span.stop) for span in spans]
        layers, how = self._encoding.layers, self._encoding.pooling
        vectors = torch.stack([pool(self._states[k][:, 0], places, how) for k in layers])
        assert row.prompt.latent is not None
        flat = [vectors.flatten(), row.prompt.latent.flatten()]
        if self._encoding.logprobs:
            flat += [self._logprobs[slot, 0, a:b].mean(0) for _, a, b in places]
        moved = torch.cat(flat).cpu().numpy()  # the one copy of the row
        steps, prompts = vectors.numel(), row.prompt.latent.numel()
        return Encoding(
            moved[:steps].reshape(vectors.shape),
            moved[steps : steps + prompts].reshape(row.prompt.latent.shape),
            moved[steps + prompts :] if self._encoding.logprobs else None,
        )

    def remove(self, row: Row) -> None:
        """Free a row's slot; its prompt stays there until the slot is taken."""
        self._slots[self._slots.index(row)] = None

    def shrink(self, wanted: int, fresh: Sequence[Row]) -> None:
        """Give memory back where far fewer rows, or far shorter ones, are wanted."""
        rows = max(wanted, len(self._slots))
        tokens = self._tokens_for([*self.rows, *fresh])
        if 4 * rows <= 3 * self._cache.rows or 2 * tokens <= self._cache.tokens:
            self._resize(rows, min(tokens, self._cache.tokens))

    def fit(self) -> None:
        """Hold no more than the rows there are need; after an out-of-memory."""
        self._close_holes()
        self._resize(len(self._slots), self._tokens_for(self.rows))

    def _tokens_for(self, rows: Sequence[Row]) -> int:
        longest = max((len(row.prompt.ids) for row in rows), default=0)
        return -(-(longest + self._sampling.max_new_tokens) // _TOKEN_STEP) * _TOKEN_STEP

    def _resize(self, rows: int, tokens: int) -> None:
        kept, new = min(rows, len(self._held)), self._sampling.max_new_tokens
        held = [one if one and len(one.ids) <= tokens else None for one in self._held[:kept]]
        self._held = held + [None] * (rows - kept)
        self._cache.resize(rows, tokens, kept)
        for layer, states in self._states.items():
            self._states[layer] = resized(states, rows, new, kept)
        self._uniforms = resized(self._uniforms, rows, new, kept)
        self._logprobs = resized(self._logprobs, rows, new, kept)

    def _close_holes(self) -> None:
        """Move the last rows into free slots, so that rows stand side by side from the first."""
        while None in self._slots:
            if self._slots[-1] is None:
                self._slots.pop()
                continue
            self._move(len(self._slots) - 1, self._slots.index(None))
            self._slots.pop()

    def _move(self, source: int, target: int) -> None:
        row = self._slots[source]
        assert row is not None
        self._cache.copy(source, target, len(row.prompt.ids) + row.fed)
        for states in self._states.values():
            states[target, :, : row.fed] = states[source, :, : row.fed]
        self._uniforms[target] = self._uniforms[source]
        self._logprobs[target] = self._logprobs[source]
        self._held[target] = self._held[source]
        self._slots[target] = row

    def _place(self, fresh: Sequence[Row]) -> list[int]:
        """A slot for each new row: free ones first, then new ones behind the last."""
        needed = len(self.rows) + len(fresh)
        tokens = self._tokens_for([*self.rows, *fresh])
        if needed > self._cache.rows or tokens > self._cache.tokens:
            self._resize(max(needed, self._cache.rows), max(tokens, self._cache.tokens))
        drawn = draw_uniforms([row.key for row in fresh], self._sampling)
        slots = []
        for row, uniform in zip(fresh, drawn, strict=True):
            if None in self._slots:
                slot = self._slots.index(None)
                self._slots[slot] = row
            else:
                slot = len(self._slots)
                self._slots.append(row)
            self._uniforms[slot, 0, :, 0] = uniform.to(self._uniforms.device)
            slots.append(slot)
        self._close_holes()
        return [self._slots.index(row) for row in fresh]

    def _read(self, fresh: Sequence[int]) -> list[Stretch]:
        """Run the prompts in the fresh slots, all but their last tokens.

        Returns:
            pieces that are left, to be run together with the next token of every row.
        """
        rows = [row for slot in fresh if (row := self._slots[slot]) is not None]
        plans = plan_reading(self._held, fresh, [row.prompt for row in rows])
        for slot in fresh:
            self._held[slot] = None
        left: list[Stretch] = []
        for wave in range(max(plan.wave for plan in plans) + 1):
            if left:
                self._forward([], left)
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
        for slot, row in zip(fresh, rows, strict=True):
            self._held[slot] = row.prompt
        return left

    def _forward(self, rows: Sequence[Row], pieces: Sequence[Stretch]) -> Tensor | None:
        """One token of each row and pieces of prompts: logits [B, V], states collected."""
        ids = [row.ids[-1] if row.ids else int(row.prompt.ids[-1]) for row in rows]
        positions = [len(row.prompt.ids) - 1 + len(row.ids) for row in rows]
        hidden: dict[int, Tensor] = {}
        for slot, start, stop in pieces:
            row = self._slots[slot]
            assert row is not None
            ids += row.prompt.ids[start:stop].tolist()
        layers, take = self._encoding.layers, hidden.__setitem__
        logits = self._decoder.run(self._cache, ids, positions, pieces, layers, take)
        self._collect(rows, hidden)
        at = len(rows)
        for slot, start, stop in pieces:
            self._read_statement(self._slots[slot], hidden, at, start, stop)
            at += stop - start
        for at, (row, position) in enumerate(zip(rows, positions, strict=True)):
            if not row.ids:
                self._read_statement(row, hidden, at, position, position + 1)
        return logits

    def _collect(self, rows: Sequence[Row], hidden: dict[int, Tensor]) -> None:
        """Keep the states of the completions' tokens."""
        begun = [(slot, len(row.ids) - 1) for slot, row in enumerate(rows) if row.ids]
        if not begun:
            return
        slot_B, token_B = torch.tensor(begun).T.to(self._decoder.device)
        for layer, hidden_ND in hidden.items():
            if layer not in self._states:
                new = self._sampling.max_new_tokens
                self._states[layer] = slots_like(hidden_ND[None, None], self._cache.rows, new)
            self._states[layer][slot_B, 0, token_B] = hidden_ND[slot_B]

    def _read_statement(
        self, row: Row | None, hidden: dict[int, Tensor], at: int, start: int, stop: int
    ) -> None:
        """Keep what belongs to the statement of prompt tokens `start` to `stop`, which stand at
        `at` in the batch; pool it once it is whole."""
        assert row is not None
        first, last = row.prompt.statement
        a, b = max(first, start), min(last, stop)
        if row.prompt.latent is not None or a >= b:
            return
        for layer, hidden_ND in hidden.items():
            row.read.setdefault(layer, []).append(hidden_ND[at + a - start : at + b - start])
        if b == last:
            whole = [torch.cat(row.read[layer])[None] for layer in self._encoding.layers]
            place = [(0, 0, last - first)]
            how = self._encoding.pooling
            row.prompt.latent = torch.cat([pool(states, place, how) for states in whole])
            row.read.clear()


def _portions(stretches: Sequence[Stretch]) -> list[list[Stretch]]:
    """Stretches in forwards of at most `_READ_TOKENS` tokens; the last may be empty."""
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
