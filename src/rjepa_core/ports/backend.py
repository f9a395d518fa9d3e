"""The LLM backend port: a frozen LLM that holds rows in flight and returns encoded traces.

There are two ways to implement it. An inference engine implements `LLMBackend` and `Session`. A
simple backend subclasses `BatchBackend` and implements `generate` and `encode`; the core makes a
session of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import attrs

from ..domain.latents import LatentRecord
from ..domain.step_spans import Cut
from ..domain.trace import Completion, Failure, Prompt, Work
from ..settings import EncodingSettings, SamplingSettings
from ..text import brief
from .probe import MemoryReading

Phase = Literal["generate", "encode"]


# Prefix of `ModelInfo.content` for untrained weights.
RANDOM = "random:"


@attrs.frozen
class ModelInfo:
    """What a backend reports about its model.

    Attributes:
        content: hash of the weight files, or hub name and revision; never a path. `random:…`
            for weights that were never trained.
        name: for people.
        quantisation: `none`, `awq-4bit`, ….
        compute_dtype: dtype of the forward pass.
        hidden_size: D.
        hidden_states: their number, the embeddings included; layers are indices into them.
        chat_format: hash of the chat template, or `plain`.
        device: where it runs.
        notes: other facts to show to the user.
        stops: whether it ends completions at the texts of `sampling.stop`; otherwise a run with
            any is refused. `rjepa_core.extraction.outcomes` helps.
        passes: how generating and encoding are arranged, if the backend has several ways; kept in
            the run history and never part of a record's identity.
        tokenizer: identifies the tokenizer's content: equal if every text has the same ids,
            whatever the file format; None if not reported.
        reads_clock: prompts contain the current day, which is `Prompt.date`.
        end_ids: tokens that end a completion and are its last; None if not reported.
        sampler: how the next token is drawn, with a version that changes with anything that affects
            the choice; None if not reported.
        context: most tokens of prompt and completion together; None if there is no limit or it is
            not reported.
    """

    __repr__ = brief

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
        """Whether the weights were never trained: times are meaningful, texts and vectors not."""
        return self.content.startswith(RANDOM)


@attrs.frozen
class InFlight:
    """What a session holds.

    Attributes:
        rows: traces being generated, or generated and not yet encoded.
        given_tokens: tokens of given solutions that wait to be encoded.
        tokens: total cost of these rows, as `Session.cost` counts it; 0 if the session does not
            report it.
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
        rows: how many more rows to generate.
        tokens: most tokens that those rows may cost together; None for no limit.
        given_tokens: how many more tokens of given solutions to admit.
        encode_tokens: most tokens, padding included, of one encoding batch.
    """

    rows: int
    tokens: int | None
    given_tokens: int
    encode_tokens: int


@attrs.frozen
class Observation:
    """What a session measured while it advanced; a scheduler learns from nothing else.

    Attributes:
        phase: `generate` or `encode`.
        rows: rows processed.
        prompt_tokens, new_tokens: tokens read, and tokens generated.
        seconds: wall time.
        out_of_memory: the batch did not fit; its work was given back or waits for a retry.
        memory: what a probe read afterwards, if there is one.
        tokens: total cost of the rows, as `Session.cost` counts it (also of a batch that did not
            fit); 0 if the session does not report it.
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
    """The result of one `advance`.

    Attributes:
        finished: records ready to be stored.
        failed: work that cannot be done, with reasons.
        given_back: work to be done later; nothing of it was kept.
        observation: what was measured, or None if nothing was run.
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
        pose: returns the prompt of a work item.
        cut: cuts a completion into steps; may be called as soon as it is complete.
        clock: returns seconds, for observations.
        most_steps: a completion with more steps is a failure, and never encoded; None for no limit.
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
        """What was admitted and has not been returned yet."""
        ...

    def cost(self, work: Work) -> int:
        """Return the tokens of a work item: its prompt, and its solution or longest completion."""
        ...

    def admit(self, work: Sequence[Work]) -> None:
        """Accept work. Nothing is run yet."""
        ...

    def advance(self, room: Room) -> Step:
        """Run for a while and return what came of it.

        Each admitted work item is returned exactly once, in some step: as a finished record, as a
        failure, or given back. With work in flight a call must make progress.
        """
        ...

    def close(self) -> None:
        """Release the rows in flight; the backend stays open."""
        ...


class LLMBackend(Protocol):
    """A frozen LLM."""

    @property
    def info(self) -> ModelInfo:
        """What it reports about its model; constant while it is open."""
        ...

    def open_session(self, spec: SessionSpec) -> Session:
        """Return a session with nothing in flight.

        Before a run starts, one is opened and closed again as a check.

        Raises:
            UsageError: the model cannot do what is asked.
        """
        ...

    def close(self) -> None:
        """Release the model."""
        ...


@attrs.frozen
class Refused:
    """Returned in place of a completion or an encoding that failed while the others did not."""

    reason: str
    detail: str
