"""Traces: a problem, the prompt that posed it, the completion, and where its steps are."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError
from .problem import GivenSolution, Problem

FinishReason = Literal["stop", "length", "given"]
TokenIds = NDArray[np.int32]
Offsets = NDArray[np.int32]

LARGEST_SAMPLE = 2**32 - 1


@attrs.frozen(order=True)
class RecordKey:
    """Key of a trace, its record and its failure.

    Attributes:
        problem_id: of the problem.
        sample: index among the problem's samples, 0 to `LARGEST_SAMPLE`.

    As text it is the id, with `#SAMPLE` behind it for any sample but the first; behind an id that
    has a `#` of its own always, so that no two keys have the same text.
    """

    problem_id: str
    sample: int = 0

    def __str__(self) -> str:
        if self.sample == 0 and "#" not in self.problem_id:
            return self.problem_id
        return f"{self.problem_id}#{self.sample}"


def check_key(key: object, name: str = "key") -> None:
    """Refuse what can be no key in a store; `name` is the argument's.

    Raises:
        ArgumentError: it is no `RecordKey`, or its id or sample is none.
    """
    if not isinstance(key, RecordKey):
        raise ArgumentError(f"{name}: got {key!r:.80}, expected a RecordKey(problem_id, sample)")
    if not isinstance(key.problem_id, str):
        raise ArgumentError(f"{name}: its problem_id is {key.problem_id!r:.80}, expected a string")
    try:
        good = 0 <= operator.index(key.sample) <= LARGEST_SAMPLE
    except TypeError:
        good = False
    if not good:
        raise ArgumentError(
            f"{name}: its sample is {key.sample!r:.80}, expected an integer from 0 to "
            f"{LARGEST_SAMPLE}"
        )


def check_keys(keys: Iterable[RecordKey]) -> list[RecordKey]:
    """The keys as a list, each of them checked.

    Raises:
        ArgumentError: they are no keys; see `check_key`.
    """
    found = list_keys(keys)
    for i, key in enumerate(found):
        check_key(key, f"keys[{i}]")
    return found


def list_keys(keys: Iterable[RecordKey]) -> list[RecordKey]:
    """The keys as a list, each as it is.

    Raises:
        ArgumentError: there is nothing to list.
    """
    try:
        return list(keys)
    except TypeError:
        raise ArgumentError(f"keys: got {keys!r:.80}, expected several RecordKeys") from None


@attrs.frozen
class StepSpan:
    """Tokens of one step: `completion_ids[start:stop]`.

    Attributes:
        start, stop: token range in the completion, never empty.
        truncated: the length limit cut this step off (only ever the last one).
        thinking: it belongs to what the model thought before it answered.
    """

    start: int
    stop: int
    truncated: bool = False
    thinking: bool = False

    def __len__(self) -> int:
        return self.stop - self.start


@attrs.frozen
class Prompt:
    """What a backend is asked to complete; chat formatting is the backend's business.

    Attributes:
        key: problem id and sample, from which (with the seed) all its randomness comes.
        user: the instructions with the statement in them.
        statement_start, statement_stop: where the statement stands, in characters of `user`.
        system: system text, if any.
        thinking: whether a model that can think before it answers is asked to.
        date: the day that a chat template is told which reads the clock, `2026-11-03`; None for
            the day of the asking.
    """

    key: RecordKey
    user: str
    statement_start: int
    statement_stop: int
    system: str | None = None
    thinking: bool = False
    date: str | None = None


@attrs.frozen(eq=False)
class Completion:
    """What a backend answers to a prompt, or reads from a given solution.

    Attributes:
        prompt_text: the prompt as the model saw it.
        prompt_ids: int32 [P].
        statement_span: token range of the statement inside `prompt_ids`.
        text: the decoded completion.
        ids: int32 [T], the very ids that the model produced.
        offsets: int32 [T, 2], characters of `text` that each token covers. Tokens that share a
            character (an emoji in several tokens) have overlapping ranges; a token without text
            (end of sequence) an empty one.
        finish_reason: `stop`, `length` or `given`.
        step_starts: characters of `text` at which a given solution's own steps start, if it had
            steps; otherwise None and the text is cut by a strategy.
    """

    prompt_text: str
    prompt_ids: TokenIds
    statement_span: tuple[int, int]
    text: str
    ids: TokenIds
    offsets: Offsets
    finish_reason: FinishReason
    step_starts: tuple[int, ...] | None = None


@attrs.frozen(eq=False)
class Trace:
    """A cut completion: all that is needed to encode it again, with any layer or pooling.

    Attributes:
        problem: the problem; its statement is kept whole.
        sample: index of this trace among the problem's samples.
        prompt_text, prompt_ids (int32 [P]), statement_span: as in `Completion`.
        completion: text of the completion.
        completion_ids: int32 [T].
        spans: S steps, ordered and disjoint.
        step_texts: S texts, each the decoding of its span.
        answer: the bare final-answer line, if the completion ends with one.
        strategy: how the steps were found: `markers`, `lines`, `sentences` or `given`.
        finish_reason: `stop`, `length` or `given`.
        metadata: labels of this solution (`correct`, …), as strings.
    """

    problem: Problem
    sample: int
    prompt_text: str
    prompt_ids: TokenIds
    statement_span: tuple[int, int]
    completion: str
    completion_ids: TokenIds
    spans: tuple[StepSpan, ...]
    step_texts: tuple[str, ...]
    answer: str | None
    strategy: str
    finish_reason: FinishReason
    metadata: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def key(self) -> RecordKey:
        return RecordKey(self.problem.id, self.sample)

    @property
    def length(self) -> int:
        """Tokens of prompt and completion together."""
        return len(self.prompt_ids) + len(self.completion_ids)

    @property
    def encoded_length(self) -> int:
        """Tokens that have to be run to encode every span; what follows the last step is not."""
        return len(self.prompt_ids) + (self.spans[-1].stop if self.spans else 0)


@attrs.frozen
class Work:
    """One (problem, sample) pair to be done.

    Attributes:
        problem: the problem.
        sample: which of its samples.
        given: None to generate; a solution to be read; or a trace to be encoded as it is.
    """

    problem: Problem
    sample: int = 0
    given: GivenSolution | Trace | None = None

    @property
    def key(self) -> RecordKey:
        return RecordKey(self.problem.id, self.sample)


@attrs.frozen
class Failure:
    """A (problem, sample) pair that could not be done, and why. It is stored, never dropped.

    Attributes:
        key: problem id and sample.
        statement_hash: of the problem, as a record keeps it.
        reason: short and countable, one of the constants below or a backend's own.
        detail: the sentence a person reads.
        needed_bytes: memory that the process would have needed for it at least, where known.
    """

    key: RecordKey
    statement_hash: str
    reason: str
    detail: str
    needed_bytes: int | None = None


EMPTY = "empty completion"
EMPTY_STEP = "empty step"
ANSWER_ONLY = "answer only"
THINKING_ONLY = "thinking only"
OUT_OF_MEMORY = "out of memory"
TOO_LONG = "too long"
TOO_MANY_STEPS = "too many steps"
CONTROL_TOKEN = "control token"
TEMPLATE = "chat template"
NOT_FINITE = "not finite"
NOT_SCORED = "cannot be scored"
DAMAGED = "damaged record"
OUT_OF_RANGE = "out of range"
