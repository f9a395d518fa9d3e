"""What requests and answers look like in JSON; the service's own description is made from these."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field
from pydantic_core import PydanticCustomError

ContextName = Literal["others", "past"]
By = Literal["mean", "max"]
# Type of the error that tells which step of a solution is none.
NO_STEP = "no_step"
T = TypeVar("T")
# One fault is told, so no others are looked for: there may be millions.
Listed = Annotated[list[T], FailFast()]


def _no_texts(value: object) -> object:
    """Refuse what is neither a text nor steps, in words that do not name the types tried."""
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
    BeforeValidator(_no_texts),
]


class Strict(BaseModel):
    """Nothing unknown, nothing converted, nothing that is not finite."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class SequenceIn(Strict):
    """The latents of one trace."""

    space: str = Field(min_length=1, max_length=64, description="Fingerprint of the latent space")
    latents: Listed[Listed[float]] = Field(min_length=1, description="[S, D], one vector a step")
    prompt: Listed[float] = Field(min_length=1, description="[D], the prompt's vector")
    domain: str = Field("", max_length=200, description="Of the problem")


class ContextIn(SequenceIn):
    """Latents, and which steps a step is predicted from."""

    context: ContextName = Field("others", description="all other steps, or those before it")


class MaskedIn(SequenceIn):
    """Latents, and the steps that are to be predicted from all others."""

    masked: Listed[int] = Field(min_length=1, description="Different steps, from 0")
    form: Literal["llm", "target"] = Field(
        "llm",
        description="the LLM's own latents where the model predicts those, or its target space",
    )


class ValuesIn(Strict):
    """Predictions in a standardised target space."""

    space: str = Field(min_length=1, max_length=64, description="Fingerprint of the latent space")
    values: Listed[Listed[float]] = Field(min_length=1, description="[N, D]")


class TextIn(Strict):
    """A problem and a solution."""

    problem: str = Field(min_length=1, description="The statement")
    solution: Texts = Field(description="A text, to be cut into steps, or a list of steps")
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
    by: By = Field("mean", description="What orders them: mean or largest surprise of the steps")


class RecordIn(Strict):
    """A record of the service's store."""

    problem_id: str = Field(min_length=1, max_length=1000)
    sample: int = Field(0, ge=0, le=2**31 - 1)
    context: ContextName = "others"
    expected: int = Field(0, ge=0, le=20)


class ScoreOut(BaseModel):
    """Surprise of a trace."""

    surprise: float = Field(description="Mean of the steps'")
    steps: list[float] = Field(description="[S]")
    percentiles: list[float] | None = Field(
        description="[S], share in percent of validation's steps that surprised less; null for a "
        "lone step where validation had none"
    )
    worst: int = Field(description="The most surprising step, from 0")


class ValuesOut(BaseModel):
    """Vectors, one a step, and the space that they are of."""

    space: Literal["llm", "llm-standardised", "model", "embedding"]
    values: list[list[float]]


class StepOut(BaseModel):
    """A step."""

    text: str
    start: int = Field(description="First token of the completion")
    stop: int = Field(description="Token behind the last")
    truncated: bool
    thinking: bool = Field(description="Thought before the answer")
    surprise: float
    percentile: float | None


class NearOut(BaseModel):
    """A stored step near a prediction."""

    text: str
    problem_id: str
    sample: int
    problem: str
    step: int
    distance: float


class TextOut(BaseModel):
    """Steps of a solution with their surprise."""

    surprise: float
    worst: int
    problem: str
    strategy: str = Field(description="How the steps were found")
    answer: str | None = Field(description="The final answer, as it stands there")
    steps: list[StepOut]
    expected: list[NearOut] = Field(description="At the worst step; the nearest first")


class RankedOut(BaseModel):
    """A solution's place."""

    solution: int = Field(description="Its place in the request, from 0")
    score: float
    surprise: float
    largest: float
    steps: list[float]
    worst: int


class RankOut(BaseModel):
    """Solutions from the least surprising to the most."""

    by: By
    order: list[int]
    ranked: list[RankedOut]


class RecordOut(BaseModel):
    """A record that can be picked."""

    problem_id: str
    sample: int
    problem: str
    solution: str
    steps: int


class RecordsOut(BaseModel):
    """Some records of the store."""

    records: list[RecordOut]
    total: int


class LimitsOut(BaseModel):
    """What a request may hold."""

    body_bytes: int
    sequences: int
    steps: int
    characters: int
    request_characters: int


class InfoOut(BaseModel):
    """The world model, and what the service takes."""

    fingerprint: str
    space: dict[str, object]
    hidden_size: int
    target_size: int
    target_space: Literal["llm", "model"]
    objective: str
    quantiles: dict[str, list[float]]
    network: str
    seed: int | None
    limits: LimitsOut
    llm: str | None = Field(description="The LLM that texts are encoded with")
    store: bool = Field(description="Whether records can be picked")


class StateOut(BaseModel):
    """How the service is."""

    status: Literal["ok", "ready"]


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    pointer: str | None = None
