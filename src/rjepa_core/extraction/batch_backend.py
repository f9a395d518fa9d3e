"""The base class of backends that work batch by batch, and their session."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from ..domain.latents import Encoding, LatentRecord
from ..domain.problem import GivenSolution
from ..domain.trace import OUT_OF_MEMORY, Completion, Prompt, Trace, Work
from ..errors import BackendError, OutOfMemoryError, UnsupportedError
from ..ports.backend import (
    InFlight,
    ModelInfo,
    Observation,
    Refused,
    Room,
    Session,
    SessionSpec,
    Step,
)
from ..settings import EncodingSettings, SamplingSettings
from .outcomes import Outcomes


class BatchSession:
    """Implements the session port with a backend's `generate`, `read` and `encode`.

    Generated traces are encoded before anything new is generated, so that few traces wait. If
    `generate` runs out of memory, the batch is given back; if `encode` does, the traces are kept
    for a smaller batch next time. A row that does not fit alone is a failure.
    """

    def __init__(self, backend: BatchBackend, spec: SessionSpec) -> None:
        self._backend = backend
        self._spec = spec
        self._new: list[tuple[Work, int]] = []
        self._given: list[tuple[Work, int]] = []
        self._waiting: list[tuple[Work, Trace]] = []
        self._outcomes = Outcomes(spec)

    @property
    def in_flight(self) -> InFlight:
        generated = [trace for work, trace in self._waiting if work.given is None]
        given = sum(cost for _, cost in self._given) + sum(
            trace.encoded_length for work, trace in self._waiting if work.given is not None
        )
        tokens = sum(cost for _, cost in self._new) + sum(trace.length for trace in generated)
        return InFlight(len(self._new) + len(generated), given, tokens)

    def cost(self, work: Work) -> int:
        if isinstance(work.given, Trace):
            return work.given.encoded_length
        prompt = self._spec.pose(work)
        tokens = self._backend.count_tokens((prompt.system or "") + prompt.user)
        if isinstance(work.given, GivenSolution):
            return tokens + work.given.length // 3 + 1
        return tokens + self._spec.sampling.max_new_tokens

    def admit(self, work: Sequence[Work]) -> None:
        for item in work:
            if item.given is None:
                self._new.append((item, self.cost(item)))
            elif isinstance(item.given, Trace):
                self._waiting.append((item, item.given))
            else:
                self._given.append((item, self.cost(item)))

    def advance(self, room: Room) -> Step:
        if self._given:
            self._read()
        if self._waiting:
            return self._encode(room.encode_tokens)
        if self._new:
            return self._generate()
        return self._step()

    def close(self) -> None:
        self._new, self._given, self._waiting = [], [], []

    def _read(self) -> None:
        works = [work for work, _ in self._given]
        self._given = []
        solutions = [work.given for work in works if isinstance(work.given, GivenSolution)]
        prompts = [self._spec.pose(work) for work in works]
        self._take_completions(works, self._backend.read(prompts, solutions))

    def _generate(self) -> Step:
        works, tokens = [work for work, _ in self._new], sum(cost for _, cost in self._new)
        self._new = []
        prompts = [self._spec.pose(work) for work in works]
        began = self._spec.clock()
        needed: int | None = None
        try:
            answers = self._backend.generate(prompts, self._spec.sampling)
        except OutOfMemoryError as error:
            # Not the error itself: its traceback would keep the failed batch's tensors alive.
            answers, reason, needed = None, str(error), error.needed_bytes
        seconds = self._spec.clock() - began
        if answers is None:
            observation = Observation("generate", len(works), 0, 0, seconds, True, tokens=tokens)
            if len(works) > 1:
                return self._step(given_back=works, observation=observation)
            self._outcomes.fail(works[0], OUT_OF_MEMORY, f"generating it alone: {reason}", needed)
            return self._step(observation=observation)
        done = [a for a in answers if isinstance(a, Completion)]
        read, new = sum(len(a.prompt_ids) for a in done), sum(len(a.ids) for a in done)
        self._take_completions(works, answers)
        observation = Observation("generate", len(works), read, new, seconds, tokens=tokens)
        return self._step(observation=observation)

    def _take_completions(
        self, works: Sequence[Work], answers: Sequence[Completion | Refused]
    ) -> None:
        self._check_count("completions", works, answers)
        for work, answer in zip(works, answers, strict=True):
            trace = self._outcomes.trace(work, answer)
            if trace is not None:
                self._waiting.append((work, trace))

    def _encode(self, budget: int) -> Step:
        batch = self._next_batch(budget)
        traces = [trace for _, trace in batch]
        began = self._spec.clock()
        needed: int | None = None
        try:
            answers = self._backend.encode(traces, self._spec.encoding)
        except OutOfMemoryError as error:
            answers, reason, needed = None, str(error), error.needed_bytes
        seconds = self._spec.clock() - began
        read = sum(trace.encoded_length for trace in traces)
        if answers is None:
            observation = Observation("encode", len(batch), read, 0, seconds, out_of_memory=True)
            if len(batch) == 1:
                self._outcomes.fail(
                    batch[0][0], OUT_OF_MEMORY, f"encoding it alone: {reason}", needed
                )
            else:
                self._waiting.extend(batch)
            return self._step(observation=observation)
        self._check_count("encodings", traces, answers)
        finished = []
        for (work, trace), answer in zip(batch, answers, strict=True):
            record = self._outcomes.record(work, trace, answer)
            if record is not None:
                finished.append(record)
        observation = Observation("encode", len(batch), read, 0, seconds)
        return self._step(finished, observation=observation)

    def _next_batch(self, budget: int) -> list[tuple[Work, Trace]]:
        """Take the longest waiting traces whose padded size is within the budget, at least one."""
        self._waiting.sort(key=lambda item: item[1].encoded_length)
        longest = self._waiting[-1][1].encoded_length
        size = max(1, min(len(self._waiting), budget // max(longest, 1)))
        batch, self._waiting = self._waiting[-size:], self._waiting[:-size]
        return batch

    def _check_count(self, what: str, asked: Sequence[object], got: Sequence[object]) -> None:
        if len(asked) != len(got):
            raise BackendError(
                f"the backend {self._backend.info.name} was asked for {len(asked)} {what} and "
                f"returned {len(got)}; nothing of this batch was stored"
            )

    def _step(
        self,
        finished: Sequence[LatentRecord] = (),
        given_back: Sequence[Work] = (),
        observation: Observation | None = None,
    ) -> Step:
        return Step(tuple(finished), self._outcomes.failures(), tuple(given_back), observation)


class BatchBackend(abc.ABC):
    """A backend that works batch by batch; the core provides `open_session`.

    Subclasses set `info` and implement `generate` and `encode`, and `read` only to accept given
    solutions. Each raises `OutOfMemoryError` if a batch does not fit, after releasing its memory;
    the same problems are then tried again in a smaller batch.
    """

    info: ModelInfo

    @abc.abstractmethod
    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingSettings
    ) -> Sequence[Completion | Refused]:
        """Complete each prompt; return one result per prompt, in order.

        The randomness of a row comes only from `row_generator(sampling.seed, prompt.key)`, so that
        its batch does not matter.
        """

    @abc.abstractmethod
    def encode(
        self, traces: Sequence[Trace], encoding: EncodingSettings
    ) -> Sequence[Encoding | Refused]:
        """Return the vectors of each trace's steps and statement; one result per trace, in order.

        `encoding.layers` are absolute. The batch was chosen to fit: run it as one.
        """

    def read(
        self, prompts: Sequence[Prompt], solutions: Sequence[GivenSolution]
    ) -> Sequence[Completion | Refused]:
        """Tokenise given solutions as if the model had produced them; one result each, in order."""
        raise UnsupportedError(
            f"the backend of {self.info.name} cannot read given solutions; "
            "use another backend.name, or leave problems.traces out"
        )

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of a text, to plan batches; an estimate by default."""
        return len(text) // 3 + 1

    def open_session(self, spec: SessionSpec) -> Session:
        """Return a session that runs batches."""
        return BatchSession(self, spec)

    def close(self) -> None:  # noqa: B027  a backend without resources has nothing to do
        """Release the model."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
