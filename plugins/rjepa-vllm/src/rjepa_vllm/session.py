"""A session over vLLM's engine: rows are admitted as requests, and come back pooled.

The driver ends a row, not vLLM: the tokens that end a text, stop texts and the length are the
core's business, and the last token's hidden state exists only once that token has been run. A row
is asked for one token more than it may have; once its steps are cut and their last token has been
run, its request is ended, and its pages are kept until they have been pooled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from numpy.typing import NDArray

from rjepa_core.domain.latents import Encoding, LatentRecord
from rjepa_core.domain.randomness import row_generator
from rjepa_core.domain.trace import Completion, RecordKey, Trace, Work
from rjepa_core.errors import BackendError
from rjepa_core.extraction import Outcomes
from rjepa_core.ports.backend import InFlight, Observation, Refused, Room, SessionSpec, Step

from .engine import LATER, LOST, Engine, Tokens
from .prompts import Rendered

if TYPE_CHECKING:
    from .backend import VllmBackend

# Most tokens per row between two observations, if no row ends before.
_MOST_STEPS = 16
# Most prompts that were rendered to know their cost and are kept until they are admitted.
_RENDERED = 1024


@attrs.define(eq=False)
class _Row:
    """A row in flight.

    Attributes:
        work, cost: what was admitted.
        prompt: of a row that is generated; None for a given trace.
        ends: returns whether a token ends the completion.
        trace: once the completion is there and cut.
        request: vLLM's id of it.
        ids, logprobs: what was generated so far.
    """

    work: Work
    cost: int
    prompt: Rendered | None = None
    ends: Callable[[int], bool] | None = None
    trace: Trace | None = None
    request: str = ""
    ids: list[int] = attrs.field(factory=list)
    logprobs: list[float] = attrs.field(factory=list)

    @property
    def fed(self) -> int:
        """Number of tokens of the completion that have been run."""
        return len(self.ids) - 1


class VllmSession:
    """See the module's docstring."""

    def __init__(self, backend: VllmBackend, engine: Engine, spec: SessionSpec) -> None:
        self._backend, self._engine, self._spec = backend, engine, spec
        self._outcomes = Outcomes(spec)
        self._rendered: dict[RecordKey, Rendered | Refused] = {}
        self._new: list[tuple[Work, int]] = []
        self._running: dict[str, _Row] = {}  # by the name under which vLLM answers
        self._ended: list[_Row] = []  # their states can be pooled after one more step
        self._names = 0

    @property
    def in_flight(self) -> InFlight:
        held = [(row.work, row.cost) for row in (*self._running.values(), *self._ended)]
        costs = [cost for work, cost in (*self._new, *held) if work.given is None]
        given = [cost for work, cost in (*self._new, *held) if work.given is not None]
        return InFlight(len(costs), sum(given), sum(costs))

    def cost(self, work: Work) -> int:
        if isinstance(work.given, Trace):
            return work.given.encoded_length
        if work.given is not None:
            prompt = self._spec.pose(work)
            known = self._backend.codec.count((prompt.system or "") + prompt.user)
            return known + work.given.length // 3 + 1
        rendered = self._render(work)
        known = 0 if isinstance(rendered, Refused) else len(rendered.ids)
        return known + self._spec.sampling.max_new_tokens

    def admit(self, work: Sequence[Work]) -> None:
        self._new += [(item, self.cost(item)) for item in work]

    def advance(self, room: Room) -> Step:
        read = self._begin()
        generating = sum(row.work.given is None for row in self._running.values())
        rows, tokens = len(self._running) + len(self._ended), self.in_flight.tokens
        if not rows:
            return Step(failed=self._outcomes.failures())
        finished: list[LatentRecord] = []
        began, new = self._spec.clock(), 0
        before = len(self._running)
        for _ in range(_MOST_STEPS):
            ready, self._ended = self._ended, []
            for answer in self._engine.step():
                new += self._take(answer)
            self._pool(ready, finished)
            if finished or self._outcomes or not (self._running or self._ended):
                break
        preempted = self._engine.release()
        seconds = self._spec.clock() - began
        seen = Observation(
            "generate" if generating or not read else "encode",
            rows,
            read,
            new if generating else 0,
            seconds,
            # vLLM made room by itself; the rows that it stopped run again later.
            out_of_memory=preempted > 0 and rows > 1,
            tokens=tokens,
            ended=max(0, before - len(self._running)),
        )
        return Step(tuple(finished), self._outcomes.failures(), (), seen)

    def close(self) -> None:
        running, ended = list(self._running.values()), self._ended
        self._new, self._running, self._ended = [], {}, []
        # An engine that has died holds nothing.
        with contextlib.suppress(BackendError):
            if running:
                self._engine.abort([row.request for row in running])
            if running or ended:
                self._engine.release([row.request for row in (*running, *ended)])

    def _render(self, work: Work) -> Rendered | Refused:
        found = self._rendered.get(work.key)
        if found is None:
            if len(self._rendered) >= _RENDERED:
                self._rendered.clear()
            found = self._backend.prepare(self._spec.pose(work), self._spec.sampling)
            self._rendered[work.key] = found
        return found

    def _begin(self) -> int:
        """Make requests of the admitted work; return how many tokens they will read."""
        admitted, self._new = self._new, []
        read = 0
        for work, cost in admitted:
            row = self._row(work, cost)
            if row is not None:
                read += self._request(row)
        return read

    def _row(self, work: Work, cost: int) -> _Row | None:
        """Return the row of a work item; None if it cannot be done, which is a failure."""
        if isinstance(work.given, Trace):
            refused = self._backend.refuse_trace(work.given)
            if refused is not None:
                self._outcomes.fail(work, refused.reason, refused.detail)
                return None
            return _Row(work, cost, trace=work.given)
        if work.given is not None:
            answer = self._backend.read(self._spec.pose(work), work.given)
            trace = self._outcomes.trace(work, answer)
            return None if trace is None else _Row(work, cost, trace=trace)
        prompt = self._render(work)
        self._rendered.pop(work.key, None)
        if isinstance(prompt, Refused):
            self._outcomes.fail(work, prompt.reason, prompt.detail)
            return None
        return _Row(work, cost, prompt, self._backend.ends(self._spec.sampling))

    def _request(self, row: _Row) -> int:
        """Give a row to vLLM; return the number of tokens that it will read."""
        self._names += 1
        name = f"{self._names}"
        if row.trace is not None:
            trace = row.trace
            ids = np.concatenate([trace.prompt_ids, trace.completion_ids])[: trace.encoded_length]
            params = self._reading()
        else:
            assert row.prompt is not None
            ids, params = row.prompt.ids, self._generating(row.work.key)
        self._running[name] = row
        row.request = self._engine.add(name, ids, params)
        return len(ids)

    def _generating(self, key: RecordKey) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        sampling = self._spec.sampling
        return SamplingParams(
            temperature=sampling.temperature,
            top_p=1.0 if sampling.top_p is None else sampling.top_p,
            top_k=0 if sampling.top_k is None else sampling.top_k,
            # The problem's own: neither batch nor order matters.
            seed=int(row_generator(sampling.seed, key).bit_generator.random_raw()) >> 1,
            max_tokens=sampling.max_new_tokens + 1,
            ignore_eos=True,
            detokenize=False,
            logprobs=0 if self._spec.encoding.logprobs else None,
            output_kind=RequestOutputKind.DELTA,
        )

    def _reading(self) -> Any:
        from vllm import SamplingParams

        return SamplingParams(
            temperature=0.0,
            max_tokens=1,
            ignore_eos=True,
            detokenize=False,
            prompt_logprobs=0 if self._spec.encoding.logprobs else None,
        )

    def _take(self, answer: Tokens) -> int:
        """Add new tokens to their row, and end it if it is complete; return how many were kept."""
        row = self._running.get(answer.request)
        if row is None:  # ended already: an engine of its own process runs ahead
            return 0
        if row.prompt is None:
            row.logprobs = answer.prompt_logprobs or []
            self._end(answer.request, row, answer.finished)
            return 0
        kept = 0
        for i, token in enumerate(answer.ids):
            row.ids.append(token)
            if answer.logprobs is not None:
                row.logprobs.append(answer.logprobs[i])
            if row.trace is None:
                kept += 1
                if not self._is_complete(row, token):
                    continue
                row.trace = self._outcomes.trace(row.work, self._completion(row))
                if row.trace is None:
                    self._end(answer.request, row, answer.finished)
                    return kept
            if row.trace.spans[-1].stop <= row.fed:
                self._end(answer.request, row, answer.finished)
                return kept
        if answer.finished:
            raise BackendError(
                f"{row.work.key}: vLLM ended it after {len(row.ids)} tokens, by itself"
            )
        return kept

    def _is_complete(self, row: _Row, token: int) -> bool:
        assert row.ends is not None
        return row.ends(token) or len(row.ids) == self._spec.sampling.max_new_tokens

    def _completion(self, row: _Row) -> Completion:
        assert row.prompt is not None
        ids = np.asarray(row.ids, np.int32)
        return self._backend.completion(row.prompt, ids, self._spec.sampling)

    def _end(self, name: str, row: _Row, finished: bool) -> None:
        """End a row's request; its states can be pooled after the next step."""
        del self._running[name]
        if not finished:
            self._engine.abort([row.request])
        if row.trace is None:
            self._engine.release([row.request])
        else:
            self._ended.append(row)

    def _pool(self, rows: Sequence[_Row], finished: list[LatentRecord]) -> None:
        """Make records of ended rows."""
        if not rows:
            return
        wanted = [(row.request, _segments(row.trace)) for row in rows if row.trace is not None]
        answers = self._engine.pool(wanted, self._spec.encoding)
        for row, pooled in zip(rows, answers, strict=True):
            if isinstance(pooled, str):
                if pooled == LATER:
                    self._ended.append(row)
                elif pooled == LOST:  # stopped to make room just as it ended: read what it wrote
                    row.prompt = None
                    self._request(row)
                continue
            assert row.trace is not None
            encoding = self._encoding(row, row.trace, pooled)
            record = self._outcomes.record(row.work, row.trace, encoding)
            if record is not None:
                finished.append(record)

    def _encoding(self, row: _Row, trace: Trace, pooled: NDArray[np.float32]) -> Encoding:
        """Return the vectors [L, 1 + S, D] of a statement and its steps as an encoding."""
        logprobs = None
        if self._spec.encoding.logprobs:
            # A prompt's first token has none.
            at = 0 if row.prompt is not None else len(trace.prompt_ids) - 1
            each = np.asarray(row.logprobs, np.float32)[at:]
            logprobs = np.asarray([each[s.start : s.stop].mean() for s in trace.spans], np.float32)
        return Encoding(pooled[:, 1:].copy(), pooled[:, 0].copy(), logprobs)


def _segments(trace: Trace) -> list[tuple[int, int]]:
    """Return the token ranges of a trace's statement and then of its steps."""
    prompt = len(trace.prompt_ids)
    steps = [(prompt + span.start, prompt + span.stop) for span in trace.spans]
    return [trace.statement_span, *steps]
