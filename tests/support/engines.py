"""Backends for the loop's tests: one that refills slots, and ones that run out of memory."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rjepa_core.domain.latents import Encoding, LatentRecord, make_record
from rjepa_core.domain.segmentation import make_trace
from rjepa_core.domain.trace import Completion, Failure, Prompt, Trace, Work
from rjepa_core.errors import OutOfMemoryError
from rjepa_core.ports.backend import (
    InFlight,
    ModelInfo,
    Observation,
    Refused,
    Room,
    SessionSpec,
    Step,
)
from rjepa_core.settings.extraction import EncodingSettings, ModelSettings, SamplingSettings
from rjepa_core.testing.seeded import SeededBackend, SeededSettings

EMPTY_ID = "empty"


def seeded(**settings: int) -> SeededBackend:
    return SeededBackend(ModelSettings(name="tests"), SeededSettings(**settings))


class GivesNothing(SeededBackend):
    """Completes the problem named `empty` with an empty text."""

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingSettings
    ) -> Sequence[Completion | Refused]:
        answers = list(super().generate(prompts, sampling))
        for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            if prompt.key.problem_id == EMPTY_ID and isinstance(answer, Completion):
                answers[i] = attrs.evolve(
                    answer, text="", ids=answer.ids[:0], offsets=answer.offsets[:0]
                )
        return answers


class Cramped(SeededBackend):
    """Runs out of memory above so many rows in `generate` or tokens in `encode`."""

    def __init__(self, rows: int = 10**9, tokens: int = 10**9) -> None:
        super().__init__(ModelSettings(name="tests"), SeededSettings())
        self._rows, self._tokens = rows, tokens
        self.generated: list[int] = []
        self.encoded: list[int] = []

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingSettings
    ) -> Sequence[Completion | Refused]:
        self.generated.append(len(prompts))
        if len(prompts) > self._rows:
            raise OutOfMemoryError("too many rows", needed_bytes=len(prompts))
        return super().generate(prompts, sampling)

    def encode(
        self, traces: Sequence[Trace], encoding: EncodingSettings
    ) -> Sequence[Encoding | Refused]:
        tokens = sum(trace.encoded_length for trace in traces)
        self.encoded.append(tokens)
        if tokens > self._tokens:
            raise OutOfMemoryError("too many tokens", needed_bytes=tokens)
        return super().encode(traces, encoding)


@attrs.define
class _Row:
    work: Work
    made: Completion | Trace
    done: int = 0

    @property
    def tokens(self) -> int:
        """Tokens to be generated; none of a given trace."""
        return len(self.made.ids) if isinstance(self.made, Completion) else 0


class RefillingSession:
    """Advances every row by a few tokens; a row that ends leaves its slot at once. A given trace
    is done in one step."""

    def __init__(self, backend: RefillingBackend, spec: SessionSpec) -> None:
        self._inner, self._spec = backend.inner, spec
        self._rows: list[_Row] = []
        self.most_in_flight = 0

    @property
    def in_flight(self) -> InFlight:
        return InFlight(rows=len(self._rows))

    def cost(self, work: Work) -> int:
        return len(work.problem.statement) + self._spec.sampling.max_new_tokens

    def admit(self, work: Sequence[Work]) -> None:
        for item in work:
            if isinstance(item.given, Trace):
                self._rows.append(_Row(item, item.given))
                continue
            [answer] = self._inner.generate([self._spec.pose(item)], self._spec.sampling)
            assert isinstance(answer, Completion)
            self._rows.append(_Row(item, answer))
        self.most_in_flight = max(self.most_in_flight, len(self._rows))

    def advance(self, room: Room) -> Step:
        finished: list[LatentRecord] = []
        failed: list[Failure] = []
        for row in list(self._rows):
            row.done += 5
            if row.done >= row.tokens:
                self._rows.remove(row)
                self._finish(row, finished, failed)
        seen = Observation("generate", len(self._rows), 0, 5 * len(self._rows), 0.0)
        return Step(tuple(finished), tuple(failed), (), seen)

    def _finish(self, row: _Row, finished: list[LatentRecord], failed: list[Failure]) -> None:
        work, trace = row.work, row.made
        if isinstance(trace, Completion):
            found = self._spec.cut(trace)
            if not found.spans:
                digest = work.problem.statement_hash
                failed.append(Failure(work.key, digest, "empty completion", ""))
                return
            trace = make_trace(work.problem, work.sample, trace, found)
        [encoding] = self._inner.encode([trace], self._spec.encoding)
        assert isinstance(encoding, Encoding)
        settings = self._spec.encoding
        finished.append(make_record(trace, encoding, settings.store_dtype, settings.logprobs))

    def close(self) -> None:
        self._rows.clear()


class RefillingBackend:
    """An engine with a session of its own: continuous batching."""

    def __init__(self, inner: SeededBackend) -> None:
        self.inner = inner
        self.sessions: list[RefillingSession] = []

    @property
    def info(self) -> ModelInfo:
        return self.inner.info

    def open_session(self, spec: SessionSpec) -> RefillingSession:
        self.sessions.append(RefillingSession(self, spec))
        return self.sessions[-1]

    def close(self) -> None:
        self.inner.close()
