"""The JSON of requests and answers, and a check of its outline before it is parsed."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field
from pydantic_core import PydanticCustomError

from . import problem_details as problems
from .problem_details import ProblemError

ContextName = Literal["others", "past"]
By = Literal["mean", "max", "right", "vote"]
# Type of the error that says which step of a solution is not a text.
NO_STEP = "no_step"
SplitName = Literal["train", "validation", "test"]
SPLIT = "Part of the split that the problem's statement puts it into"
T = TypeVar("T")
# Only the first error is reported, so stop there: there may be millions.
Listed = Annotated[list[T], FailFast()]


def _check_texts(value: object) -> object:
    """Refuse what is neither a text nor steps, without naming the types that were tried."""
    if value == "":
        raise PydanticCustomError("no_text", "holds no text")
    if value == []:
        raise PydanticCustomError("no_steps", "needs at least one step")
    if isinstance(value, list):
        for number, step in enumerate(value):
            if not isinstance(step, str):
                raise PydanticCustomError(NO_STEP, "must be a text", {"step": number})
    elif not isinstance(value, str):
        raise PydanticCustomError("no_texts", "must be a text or a list of steps")
    return value


Texts = Annotated[
    Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)],
    BeforeValidator(_check_texts),
]


class Strict(BaseModel):
    """A model without unknown fields, conversions or non-finite numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class SequenceIn(Strict):
    """The latents of one trace."""

    space: str = Field(min_length=1, max_length=64, description="Fingerprint of the latent space")
    latents: Listed[Listed[float]] = Field(min_length=1, description="[S, D], one vector per step")
    prompt: Listed[float] = Field(min_length=1, description="[D], the prompt's vector")
    domain: str = Field("", max_length=200, description="Of the problem")
    logprobs: Listed[float] = Field(
        [],
        description="[S], mean log-probability of each step's tokens, which some verifiers need; "
        "left out if they are not known",
    )


class ContextIn(SequenceIn):
    """Latents, and the context that each step is predicted from."""

    context: ContextName = Field("others", description="all other steps, or those before it")


class MaskedIn(SequenceIn):
    """Latents, and the steps that are to be predicted from all others."""

    masked: Listed[int] = Field(min_length=1, description="Different steps, from 0")
    form: Literal["llm", "target"] = Field(
        "llm",
        description="the LLM's own latents if the model predicts those, or its target space",
    )


class ValuesIn(Strict):
    """Predictions in a standardised target space."""

    space: str = Field(min_length=1, max_length=64, description="Fingerprint of the latent space")
    values: Listed[Listed[float]] = Field(min_length=1, description="[N, D]")


class TextIn(Strict):
    """A problem and a solution."""

    problem: str = Field(min_length=1, description="The statement")
    solution: Texts = Field(description="A text, to be divided into steps, or a list of steps")
    domain: str = Field("math", min_length=1, max_length=200)
    context: ContextName = "others"
    keep_notes: bool = Field(False, description="Keep `<<…>>` calculator notes")
    expected: int = Field(
        0, ge=0, le=20, description="Stored steps nearest to what was expected at the worst step"
    )


class RankIn(Strict):
    """A problem and several solutions."""

    problem: str = Field(min_length=1, description="The statement")
    solutions: Listed[Texts] = Field(min_length=1)
    domain: str = Field("math", min_length=1, max_length=200)
    context: ContextName = "others"
    keep_notes: bool = False
    by: By | None = Field(
        None,
        description="Order by the mean or the largest surprise of the steps; or, with a verifier, "
        "by the probability that the answer is right, or by the sum of these over the solutions "
        "with the same answer. By default right with a verifier, else mean",
    )


class RecordIn(Strict):
    """A record of the service's store."""

    problem_id: str = Field(min_length=1, max_length=1000)
    sample: int = Field(0, ge=0, le=2**31 - 1)
    context: ContextName = "others"
    expected: int = Field(0, ge=0, le=20)
    foreign_at: int | None = Field(
        None, ge=0, description="Put a step of another record in the place of this one, from 0"
    )
    foreign_problem_id: str | None = Field(
        None, min_length=1, max_length=1000, description="The record that the step is taken from"
    )
    foreign_sample: int = Field(0, ge=0, le=2**31 - 1)
    foreign_step: int = Field(0, ge=0, description="Its index there")


_OF_VERIFIERS = "left out if there is no verifier, or no log-probabilities that it needs"
Wrong = Annotated[
    list[float] | None,
    Field(description=f"[S], probability that a step is wrong; {_OF_VERIFIERS}"),
]
Right = Annotated[
    float | None, Field(description=f"Probability that the answer is right; {_OF_VERIFIERS}")
]
WrongStep = Annotated[
    int | None,
    Field(description="The step that is wrong with the highest probability, if above 0.5"),
]


class ScoreOut(BaseModel):
    """Surprise of a trace, and a verifier's verdict."""

    surprise: float = Field(description="Mean of the steps'")
    steps: list[float] = Field(description="[S]")
    percentiles: list[float] | None = Field(
        description="[S], percentage of validation steps with less surprise; null for a single "
        "step if validation had none"
    )
    worst: int = Field(description="The most surprising step, from 0")
    wrong: Wrong = None
    right: Right = None
    wrong_step: WrongStep = None


class VerdictOut(BaseModel):
    """A verifier's verdict on a trace."""

    wrong: list[float] = Field(description="[S], probability that a step is wrong")
    right: float = Field(description="Probability that the answer is right")
    wrong_step: WrongStep


class ValuesOut(BaseModel):
    """Vectors, one per step, and their space."""

    space: Literal["llm", "llm-standardised", "model", "embedding"]
    values: list[list[float]]


class StepOut(BaseModel):
    """A step of a solution."""

    text: str
    start: int = Field(description="First token of the completion")
    stop: int = Field(description="Token after the last")
    truncated: bool
    thinking: bool = Field(description="Whether it is thought before the answer")
    surprise: float
    percentile: float | None
    wrong: float | None = Field(None, description=f"Probability that it is wrong; {_OF_VERIFIERS}")


class NearOut(BaseModel):
    """A stored step near a prediction."""

    text: str
    problem_id: str
    sample: int
    problem: str
    step: int
    distance: float
    split: SplitName = Field(description=SPLIT)


class TextOut(BaseModel):
    """Steps of a solution with their surprise, and a verifier's verdict."""

    surprise: float
    worst: int
    right: Right = None
    wrong_step: WrongStep = None
    problem: str
    strategy: str = Field(description="How the text was divided into steps")
    answer: str | None = Field(description="The final answer, as written")
    given: str | None = Field(description="The final answer, without the words around it")
    reference: str | None = Field(
        None, description="The answer that a stored problem has; left out of texts"
    )
    split: SplitName | None = Field(None, description=f"{SPLIT}; left out of texts")
    compared: str | None = Field(None, description="What the percentiles are among, in words")
    steps: list[StepOut]
    expected: list[NearOut] = Field(description="At the worst step; the nearest first")


class RankedOut(BaseModel):
    """A ranked solution."""

    solution: int = Field(description="Its index in the request, from 0")
    score: float
    surprise: float
    largest: float
    steps: list[float]
    worst: int
    wrong: Wrong = None
    right: Right = None
    wrong_step: WrongStep = None
    answer: str | None = Field(None, description="The final answer, if one was found")


class VoteOut(BaseModel):
    """An answer of several solutions."""

    answer: str = Field(description="As the first of its solutions gives it")
    weight: float = Field(description="Sum of the probabilities that it is right")
    solutions: list[int] = Field(description="Indices of its solutions in the request")


class RankOut(BaseModel):
    """Solutions from the best to the worst."""

    by: By
    order: list[int]
    ranked: list[RankedOut]
    votes: list[VoteOut] | None = Field(
        None, description="For vote: the answers, the largest sum first"
    )


class RecordOut(BaseModel):
    """A record that can be chosen."""

    problem_id: str
    sample: int
    problem: str
    solution: str
    steps: int
    split: SplitName | None = Field(default=None, description=SPLIT)


class RecordsOut(BaseModel):
    """Some records of the store."""

    records: list[RecordOut]
    total: int = Field(description="Records of the store, or of those searched that match")
    searched: int | None = Field(default=None, description="Records that were searched")


class LimitsOut(BaseModel):
    """The limits of a request."""

    body_bytes: int
    sequences: int
    steps: int
    characters: int
    request_characters: int


class InfoOut(BaseModel):
    """The world model, and the service's limits."""

    fingerprint: str
    space: dict[str, object]
    hidden_size: int
    target_size: int
    target_space: Literal["llm", "model"]
    objective: str
    quantiles: dict[str, list[float]]
    compared: dict[str, int] = Field(description="Validation traces behind each of the quantiles")
    problems: int | None = Field(description="How many it was trained on, if it is known")
    too_little: str | None = Field(description="What is to be said if these were too few")
    network: str
    seed: int | None
    verifies: bool = Field(description="Whether it is a verifier, which says what is wrong")
    needs_logprobs: bool = Field(description="Whether verdicts need log-probabilities")
    limits: LimitsOut
    llm: str | None = Field(description="The LLM that texts are encoded with")
    store: bool = Field(description="Whether there is a store with records")
    records: int | None = Field(description="How many it had at the start")
    high_percentile: float = Field(description="From this percentile on, a surprise is high")


class StateOut(BaseModel):
    """The state of the service."""

    status: Literal["ok", "ready"]


class ProblemOut(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(title="Problem")

    type: str
    title: str
    status: int
    detail: str
    pointer: str | None = None


# A string, scanned once whatever it contains, and whether it is a key.
_STRING = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"?(\s*+:)?', re.DOTALL)


def check_outline(body: bytes, known: Collection[str], commas: int, quotes: int) -> None:
    """Refuse a body with too many values, or with unknown or duplicate keys.

    Args:
        body: a flat JSON object; anything else is left to the parser to refuse.
        known: the allowed keys.
        commas, quotes: most of each, in texts and around values; two backslashes are allowed per
            quotation mark.

    Raises:
        ProblemError: says what is wrong, and where.
    """
    marks = ((b",", commas), (b'"', quotes), (b"\\", 2 * quotes))
    if any(body.count(mark) > most for mark, most in marks):
        raise ProblemError(problems.BAD_INPUT, "holds more values than a request may", "")
    seen: set[str] = set()
    for string in _STRING.finditer(body):
        if not string[2]:
            continue
        try:
            key = json.loads(b'"%b"' % string[1])
        except ValueError:
            return
        if key in seen or key not in known:
            detail = "comes twice" if key in seen else "is not known"
            raise ProblemError(problems.BAD_BODY, detail, f"/{escaped(key)}")
        seen.add(key)


def escaped(part: object) -> str:
    """Return `part` escaped for a JSON pointer and shortened to fit on a line."""
    return str(part)[:80].replace("~", "~0").replace("/", "~1")
