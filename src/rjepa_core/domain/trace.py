"""Traces: a problem, its prompt, the completion, and the spans of its steps."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError
from ..text import brief, count, excerpt, shape_text
from .problem import GivenSolution, Problem

FinishReason = Literal["stop", "length", "given"]
TokenIds = NDArray[np.int32]
"""Ids of the LLM's tokens, int32 [P] of a prompt, [T] of a completion."""
Offsets = NDArray[np.int32]

LARGEST_SAMPLE = 2**32 - 1


@attrs.frozen(order=True)
class RecordKey:
    """Key of a trace, its record and its failure.

    Attributes:
        problem_id: of the problem.
        sample: index among the problem's samples, 0 to `LARGEST_SAMPLE`.

    Raises:
        ArgumentError: the sample is no integer.

    Its text is the id, followed by `#SAMPLE` for any sample but the first, and always if the id
    contains a `#`, so that no two keys have the same text.
    """

    problem_id: str
    sample: int = 0

    def __attrs_post_init__(self) -> None:
        # The range is checked where a key is used: one is made for every record that is read.
        if type(self.sample) is not int and not hasattr(self.sample, "__index__"):
            _check_sample(self.sample, "RecordKey")

    def __str__(self) -> str:
        if self.sample == 0 and "#" not in self.problem_id:
            return self.problem_id
        return f"{self.problem_id}#{self.sample}"


def key_named(text: str) -> RecordKey | None:
    """Return the key that a text of the form `ID#SAMPLE` names; leading zeros are ignored."""
    problem_id, sign, sample = text.rpartition("#")
    digits = sample.lstrip("0") or sample[:1]
    if not (
        sign and digits.isascii() and digits.isdecimal() and len(digits) <= len(str(LARGEST_SAMPLE))
    ):
        return None
    return RecordKey(problem_id, int(digits)) if int(digits) <= LARGEST_SAMPLE else None


def check_key(key: object, name: str = "key") -> None:
    """Refuse an invalid key; `name` is the argument's name, for the message.

    Raises:
        ArgumentError: it is not a `RecordKey`, or its id or sample is invalid.
    """
    if not isinstance(key, RecordKey):
        raise ArgumentError(
            f"{name}: got {key!r:.80}, expected a RecordKey(problem_id, sample){_as_key(key)}"
        )
    if not isinstance(key.problem_id, str):
        raise ArgumentError(f"{name}: its problem_id is {key.problem_id!r:.80}, expected a string")
    _check_sample(key.sample, name)


def _check_sample(sample: object, name: str) -> None:
    try:
        valid = 0 <= operator.index(sample) <= LARGEST_SAMPLE  # type: ignore[arg-type]
    except TypeError:
        valid = False
    if not valid:
        raise ArgumentError(
            f"{name}: its sample is {sample!r:.80}, expected an integer from 0 to {LARGEST_SAMPLE}"
        )


def _as_key(text: object) -> str:
    """Return the end of a message: where the text of a key is taken, and the key that it names."""
    if not isinstance(text, str):
        return ""
    key = key_named(text) or RecordKey(text)
    return f": RecordKey({key.problem_id!r:.80}, {key.sample}); store[{text!r:.80}] takes the text"


def check_keys(keys: Iterable[RecordKey]) -> list[RecordKey]:
    """Return the keys as a list, each of them checked.

    Raises:
        ArgumentError: a key is invalid; see `check_key`.
    """
    checked = list_keys(keys)
    for i, key in enumerate(checked):
        check_key(key, f"keys[{i}]")
    return checked


def list_keys(keys: Iterable[RecordKey] | str) -> list[RecordKey]:
    """Return the keys as a list, unchecked.

    Raises:
        ArgumentError: they are not iterable.
    """
    if isinstance(keys, str):
        raise ArgumentError(f"keys: got {keys!r:.80}, expected several RecordKeys{_as_key(keys)}")
    try:
        return list(keys)
    except TypeError:
        raise ArgumentError(f"keys: got {keys!r:.80}, expected several RecordKeys") from None


@attrs.frozen
class StepSpan:
    """Tokens of one step: `completion_ids[start:stop]`.

    Attributes:
        start, stop: token range in the completion, never empty.
        truncated: the length limit cut this step off (only the last one can be).
        thinking: it belongs to the model's thinking before the answer.
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
        key: problem id and sample, which together with the seed determine all randomness.
        user: the instructions with the statement in them.
        statement_start, statement_stop: range of the statement in the characters of `user`.
        system: system text, if any.
        thinking: whether a model that can think before it answers is asked to.
        date: the day, `2026-11-03`, for a chat template that reads the clock; None for today.
    """

    __repr__ = brief

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
        ids: int32 [T], the ids exactly as the model produced them.
        offsets: int32 [T, 2], characters of `text` that each token covers. Tokens that share a
            character (an emoji in several tokens) have overlapping ranges, a token without text
            (end of sequence) an empty one.
        finish_reason: `stop`, `length` or `given`.
        step_starts: positions in `text` at which a given solution's own steps start; None if it has
            none, so that a strategy cuts the text.
    """

    __repr__ = brief

    prompt_text: str = attrs.field(repr=excerpt)
    prompt_ids: TokenIds = attrs.field(repr=shape_text)
    statement_span: tuple[int, int]
    text: str = attrs.field(repr=excerpt)
    ids: TokenIds = attrs.field(repr=shape_text)
    offsets: Offsets = attrs.field(repr=shape_text)
    finish_reason: FinishReason
    step_starts: tuple[int, ...] | None = None


@attrs.frozen(eq=False, repr=False)
class Trace:
    """A completion cut into steps, with all that is needed to encode it again in any layer.

    Attributes:
        problem: the problem; its statement is kept whole.
        sample: index of this trace among the problem's samples.
        prompt_text: the prompt as the model saw it.
        prompt_ids: int32 [P].
        statement_span: token range of the statement inside `prompt_ids`.
        completion: text of the completion.
        completion_ids: int32 [T].
        spans: S steps, ordered and disjoint.
        step_texts: S texts, each the decoding of its span.
        answer: the final answer as the completion has it, if one was found.
        strategy: how the steps were found: `given`, or the strategy that was used.
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

    def __repr__(self) -> str:
        answer = "" if self.answer is None else f", answer {excerpt(self.answer)}"
        return (
            f"Trace({str(self.key)!r}: {count(len(self.spans), 'step')}, "
            f"{count(len(self.completion_ids), 'token')}, {self.finish_reason}{answer})"
        )

    @property
    def key(self) -> RecordKey:
        """Its problem's id and the sample."""
        return RecordKey(self.problem.id, self.sample)

    @property
    def length(self) -> int:
        """Number of tokens of prompt and completion together."""
        return len(self.prompt_ids) + len(self.completion_ids)

    @property
    def encoded_length(self) -> int:
        """Number of tokens to run to encode every span; those after the last step are not."""
        return len(self.prompt_ids) + (self.spans[-1].stop if self.spans else 0)


@attrs.frozen
class Work:
    """One (problem, sample) pair to generate or encode.

    Attributes:
        problem: the problem.
        sample: which of its samples.
        given: None to generate; a solution to encode; or a trace to encode as it is.
    """

    __repr__ = brief

    problem: Problem
    sample: int = 0
    given: GivenSolution | Trace | None = None

    @property
    def key(self) -> RecordKey:
        return RecordKey(self.problem.id, self.sample)


@attrs.frozen
class Failure:
    """A (problem, sample) pair that failed, and why. It is stored, never dropped.

    Attributes:
        key: problem id and sample.
        statement_hash: of the problem, as a record keeps it.
        reason: a short phrase to count by, a backend's own or one of `empty completion`,
            `empty step`, `answer only`, `thinking only`, `out of memory`, `too long`,
            `too many steps`, `control token`, `chat template`, `not finite`, `out of range`,
            `cannot be scored` and `damaged record`.
        detail: a sentence for people.
        needed_bytes: least memory that the process would have needed for it, if known.
    """

    __repr__ = brief

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
