"""The LLM backend port: a frozen LLM that holds rows in flight and gives back encoded traces.

Two ways to fill it. An engine of its own writes `LLMBackend` and a `Session`. A simple backend
subclasses `BatchBackend`, writes `generate` and `encode`, and the core makes a session of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import attrs

from ..domain.latents import LatentRecord
from ..domain.step_spans import Cut
from ..domain.trace import Completion, Failure, Prompt, Work
from ..settings import EncodingSettings, SamplingSettings
from .probe import MemoryReading

Phase = Literal["generate", "encode"]


# What the content of a model with untrained weights begins with.
RANDOM = "random:"


@attrs.frozen
class ModelInfo:
    """What a backend says of its model.

    Attributes:
        content: hash of the weights' files, or hub name and revision; never a path. `random:…`
            for weights that were never trained.
        name: for people.
        quantisation: `none`, `awq-4bit`, ….
        compute_dtype: dtype of the forward pass.
        hidden_size: D.
        hidden_states: how many there are, the embeddings included; layers count into these.
        chat_format: hash of the chat template, or `plain`.
        device: where it runs.
        notes: other facts worth a line on screen.
        stops: whether it ends completions at the texts of `sampling.stop`; a run with any is
            refused otherwise. `rjepa_core.extraction.outcomes` helps.
        passes: how generating and encoding are arranged, where a backend has several ways; kept in
            the run history and never part of what a record is.
        tokenizer: content of the tokenizer: equal where every text has the same ids, however it is
            kept; None where the backend does not tell.
        reads_clock: prompts hold the day that they are posed on, which is `Prompt.date`.
        end_ids: tokens that end a completion and are its last; None where the backend does not
            tell.
        sampler: how the next token is drawn, with a version that rises with whatever changes the
            choice; None where the backend does not tell.
        context: most tokens of prompt and completion together; None where there is no such limit,
            or the backend does not tell.
    """

    content: str
    name: str
    quantisation: str
    compute_dtype: str
    hidden_size: int
    hidden_states: int
    chat_format: str = "plain"
    device: str = "cpu"
    notes: Mapping[str, str] = attrs.field(factory=dict)
    passes: str | None = None
    stops: bool = False
    tokenizer: str | None = None
    reads_clock: bool = False
    end_ids: tuple[int, ...] | None = None
    sampler: str | None = None
    context: int | None = None

    @property
    def random(self) -> bool:
        """The weights were never trained: times mean something, texts and vectors nothing."""
        return self.content.startswith(RANDOM)


@attrs.frozen
class InFlight:
    """What a session holds.

    Attributes:
        rows: traces being generated, or generated and not encoded yet.
        given_tokens: tokens of given solutions that wait to be encoded.
        tokens: what these rows may cost together, as `Session.cost` counts it; 0 where the
            session does not tell.
    """

    rows: int = 0
    given_tokens: int = 0
    tokens: int = 0

    def __bool__(self) -> bool:
        return bool(self.rows or self.given_tokens)


@attrs.frozen
class Room:
    """What a scheduler has room for, beyond what is in flight.

    Attributes:
        rows: more rows to generate.
        tokens: most tokens that those rows may cost together; None for no limit.
        given_tokens: more tokens of given solutions to admit.
        encode_tokens: most tokens, padding included, of one encoding batch.
    """

    rows: int
    tokens: int | None
    given_tokens: int
    encode_tokens: int


@attrs.frozen
class Observation:
    """What a session saw while it advanced; all that a scheduler learns from.

    Attributes:
        phase: `generate` or `encode`.
        rows: rows worked on.
        prompt_tokens, new_tokens: tokens read, and tokens generated.
        seconds: wall time.
        out_of_memory: the batch did not fit; its work was given back or waits for a retry.
        memory: what a probe read afterwards, where there is one.
        tokens: what the rows may cost together, as `Session.cost` counts it (also of a batch
            that did not fit); 0 where the session does not tell.
        ended: rows whose completion ended; None for all of them, as in a whole batch.
    """

    phase: Phase
    rows: int
    prompt_tokens: int
    new_tokens: int
    seconds: float
    out_of_memory: bool = False
    memory: MemoryReading | None = None
    tokens: int = 0
    ended: int | None = None


@attrs.frozen
class Step:
    """What one `advance` brought.

    Attributes:
        finished: records ready to be stored.
        failed: work that cannot be done, with reasons.
        given_back: work to be done later; nothing of it was kept.
        observation: what was seen, or None where nothing was run.
    """

    finished: tuple[LatentRecord, ...] = ()
    failed: tuple[Failure, ...] = ()
    given_back: tuple[Work, ...] = ()
    observation: Observation | None = None


@attrs.frozen(kw_only=True)
class SessionSpec:
    """What a session is opened with.

    Attributes:
        sampling: how completions are drawn.
        encoding: which vectors are kept; `layers` are absolute.
        pose: the prompt of a problem and a sample.
        cut: cuts a completion into steps, and may be called as soon as it is complete.
        clock: seconds, for observations.
        most_steps: a completion that was cut into more is a failure, and never encoded.
    """

    sampling: SamplingSettings
    encoding: EncodingSettings
    pose: Callable[[Work], Prompt]
    cut: Callable[[Completion], Cut]
    clock: Callable[[], float]
    most_steps: int | None = None


class Session(Protocol):
    """Rows in flight in a backend. Not safe for several threads."""

    @property
    def in_flight(self) -> InFlight:
        """What was admitted and has not come back yet."""
        ...

    def cost(self, work: Work) -> int:
        """Tokens of the work: its prompt, plus its solution or those it may still produce."""
        ...

    def admit(self, work: Sequence[Work]) -> None:
        """Take work in. Nothing is run yet."""
        ...

    def advance(self, room: Room) -> Step:
        """Run for a while. Every admitted work comes back exactly once, in some step, as a
        finished record, a failure, or given back. With work in flight it must make progress."""
        ...

    def close(self) -> None:
        """Let go of the rows in flight; the backend stays open."""
        ...


class LLMBackend(Protocol):
    """A frozen LLM."""

    @property
    def info(self) -> ModelInfo:
        """What it says of its model; the same as long as it is open."""
        ...

    def open_session(self, spec: SessionSpec) -> Session:
        """A session with nothing in flight. A run opens one and closes it before it begins.

        Raises:
            UsageError: the model cannot do what is asked.
        """
        ...

    def close(self) -> None:
        """Let go of the model."""
        ...


@attrs.frozen
class Refused:
    """In place of a completion or an encoding: this one cannot be done, the others can."""

    reason: str
    detail: str
