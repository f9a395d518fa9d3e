"""A session that generates and encodes in one pass, and refills slots as soon as rows end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np
import torch

from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.trace import OUT_OF_MEMORY, RecordKey, Trace, Work
from rjepa_core.errors import OutOfMemoryError
from rjepa_core.extraction import BatchSession, Outcomes
from rjepa_core.ports.backend import InFlight, Observation, Refused, Room, SessionSpec, Step

from ..placement import convert_out_of_memory
from ..tokenizer import Rendered
from .decoder import Decoder
from .prefixes import HeldPrompt
from .slots import Row, SlotBatch

if TYPE_CHECKING:
    from ..backend import HuggingFaceBackend


# Most tokens per row between two observations, if no row ends before.
_MOST_STEPS = 16
# Most prompts that were rendered to know their cost and are kept until they are admitted.
_RENDERED = 1024


@attrs.define(eq=False)
class _Running:
    """A row with its work, and its trace once that is complete."""

    work: Work
    cost: int
    prompt: Rendered
    row: Row
    trace: Trace | None = None


class FusedSession:
    """A session over a `SlotBatch`; given solutions are encoded batch by batch."""

    def __init__(self, backend: HuggingFaceBackend, decoder: Decoder, spec: SessionSpec) -> None:
        self._backend, self._spec = backend, spec
        self._batch = SlotBatch(decoder, spec.sampling, spec.encoding, backend.end_ids)
        self._given = BatchSession(backend, spec)
        self._outcomes = Outcomes(spec)
        self._rendered: dict[RecordKey, Rendered | Refused] = {}
        self._new: list[tuple[Work, int]] = []
        self._running: dict[Row, _Running] = {}

    @property
    def in_flight(self) -> InFlight:
        costs = [cost for _, cost in self._new] + [one.cost for one in self._running.values()]
        return InFlight(len(costs), self._given.in_flight.given_tokens, sum(costs))

    def cost(self, work: Work) -> int:
        if work.given is not None:
            return self._given.cost(work)
        prompt = self._render(work)
        known = 0 if isinstance(prompt, Refused) else len(prompt.ids)
        return known + self._spec.sampling.max_new_tokens

    def limit(self, work: Work) -> int:
        """Return the most tokens of a completion, at most the sampling's."""
        return self._spec.sampling.max_new_tokens

    def admit(self, work: Sequence[Work]) -> None:
        self._given.admit([item for item in work if item.given is not None])
        self._new += [(item, self.cost(item)) for item in work if item.given is None]

    def advance(self, room: Room) -> Step:
        if self._given.in_flight:
            return self._given.advance(room)
        before = len(self._running)
        fresh = self._begin()
        if not self._running:
            return Step(failed=self._outcomes.failures())
        rows, tokens = len(self._running), self.in_flight.tokens
        finished: list[LatentRecord] = []
        began = self._spec.clock()
        needed: int | None = None
        reason = None
        try:
            with torch.inference_mode():
                most = max(rows, before + room.rows)
                new = convert_out_of_memory(
                    self._backend.model.device,
                    lambda: self._run(most, [one.row for one in fresh], finished),
                )
        except OutOfMemoryError as error:
            reason, needed = str(error), error.needed_bytes
        seconds = self._spec.clock() - began
        if reason is not None:
            seen = Observation("generate", rows, 0, 0, seconds, True, tokens=tokens)
            back = self._make_room(fresh, reason, needed)
            return Step(tuple(finished), self._outcomes.failures(), back, seen)
        read = sum(len(one.prompt.ids) for one in fresh)
        ended = rows - len(self._running)
        seen = Observation("generate", rows, read, new, seconds, tokens=tokens, ended=ended)
        return Step(tuple(finished), self._outcomes.failures(), (), seen)

    def close(self) -> None:
        self._given.close()
        self._new, self._running = [], {}
        self._batch.release()

    def _render(self, work: Work) -> Rendered | Refused:
        found = self._rendered.get(work.key)
        if found is None:
            if len(self._rendered) >= _RENDERED:
                self._rendered.clear()
            found = self._backend.prepare(self._spec.pose(work), self._spec.sampling)
            self._rendered[work.key] = found
        return found

    def _begin(self) -> list[_Running]:
        """Make rows of the admitted work."""
        admitted, self._new = self._new, []
        fresh = []
        for work, cost in admitted:
            prompt = self._render(work)
            self._rendered.pop(work.key, None)
            if isinstance(prompt, Refused):
                self._outcomes.fail(work, prompt.reason, prompt.detail)
                continue
            held = HeldPrompt(prompt.ids, prompt.statement)
            finder = self._backend.stop_finder(self._spec.sampling)
            row = Row(work.key, held, self.limit(work), finder)
            fresh.append(_Running(work, cost, prompt, row))
            self._running[row] = fresh[-1]
        return fresh

    def _run(self, most: int, fresh: Sequence[Row], finished: list[LatentRecord]) -> int:
        """Decode until a row ends, at most a few tokens; return how many were generated."""
        self._batch.shrink(most, fresh)
        rows, new = len(self._running), 0
        for _ in range(_MOST_STEPS):
            before = sum(len(row.ids) for row in self._running)
            complete = self._batch.step(fresh)
            new += sum(len(row.ids) for row in self._running) - before
            fresh = ()
            for row in complete:
                self._complete(self._running[row], finished)
            if len(self._running) < rows:
                break
        return new

    def _complete(self, one: _Running, finished: list[LatentRecord]) -> None:
        """Finish a complete row, or keep it until the last token that its steps need is run."""
        if one.trace is None:
            ids = np.asarray(one.row.ids, np.int32)
            answer = self._backend.completion(one.prompt, ids, self._spec.sampling)
            one.trace = self._outcomes.trace(one.work, answer)
            if one.trace is not None and one.trace.spans[-1].stop > one.row.fed:
                one.row.closing = True
                return
        if one.trace is not None:
            encoding = self._batch.encode(one.row, one.trace.spans)
            record = self._outcomes.record(one.work, one.trace, encoding)
            if record is not None:
                finished.append(record)
        self._remove(one)

    def _remove(self, one: _Running) -> None:
        self._batch.remove(one.row)
        del self._running[one.row]

    def _make_room(
        self, fresh: Sequence[_Running], reason: str, needed: int | None
    ) -> tuple[Work, ...]:
        """After an out-of-memory, give back rows, first those that lose the least work."""
        rows = list(self._running.values())
        if len(rows) == 1:
            self._outcomes.fail(
                rows[0].work, OUT_OF_MEMORY, f"generating it alone: {reason}", needed
            )
            self._remove(rows[0])
        back = [one for one in fresh if one.row in self._running]
        if not back:
            rows.sort(key=lambda one: len(one.row.ids), reverse=True)
            back = rows[(len(rows) + 1) // 2 :]
        for one in back:
            self._remove(one)
        try:
            with torch.inference_mode():
                convert_out_of_memory(self._backend.model.device, self._batch.fit)
        except OutOfMemoryError:
            # Not even the remaining rows can be moved: give all back, to be begun again.
            back += self._running.values()
            self._running = {}
        if not self._running:
            self._batch.release()
        return tuple(one.work for one in back)
