"""Examples that the page scores on one click, made of what the service has.

With a store they are records of it, where possible of problems that the world model was not trained
on. Where it holds none but wrong ones they are prepared texts if there is an LLM, as without a
store; else wrong ones, which are called so. With neither store nor LLM there are none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.problem import GivenSolution, split_of
from rjepa_core.domain.trace import Failure
from rjepa_core.ports.world_model import Context, Floats, LatentSequence
from rjepa_core.scoring import HIGH_PERCENTILE, Solution, percentiles, sequence_of

from . import answers, prepared
from . import problem_details as problems
from .example_records import PARTS, Candidate, candidates_in, pair_in
from .problem_details import ProblemError
from .records import Records
from .scorer import SURPRISE, Job, Scorer, in_thread, results_of, run_each, seconds_left
from .settings import HttpSettings

# So many with a foreign step are read by the LLM, if there is one, and if it takes no longer.
_READ, _READ_SECONDS = 6, 12.0
Name = Literal["clean", "foreign", "compare"]
_TITLES: dict[Name, str] = {
    "clean": "A clean solution",
    "foreign": "A foreign step",
    "compare": "Two to compare",
}


class ExampleSolutionOut(BaseModel):
    """A solution of an example, and the request that scores it."""

    text: str
    path: Literal["/score_record", "/score_text"]
    body: dict[str, object] = Field(description="To be sent there, with `context` and `expected`")
    foreign: int | None = Field(description="The step that is another problem's, from 0")
    from_problem: str | None = Field(description="That problem's statement")


class ExampleOut(BaseModel):
    """An example that can be scored."""

    name: Name
    title: str
    note: str = Field(description="Where it comes from, and how it was picked")
    problem: str
    solutions: list[ExampleSolutionOut]


class ExamplesOut(BaseModel):
    """Examples that the service can score; none if it has neither store nor LLM."""

    examples: list[ExampleOut]


def router(scorer: Scorer, records: Records | None, limits: HttpSettings) -> APIRouter:
    """Return the endpoint that lists the examples; they are made at the first request."""
    endpoints = APIRouter(tags=["texts"])
    lock, made = asyncio.Lock(), list[ExamplesOut]()

    @endpoints.get(
        "/examples",
        response_model=ExamplesOut,
        responses=answers.answers(problems.BUSY),
        summary="Examples to score: a clean solution, a foreign step, two to compare",
    )
    async def examples(request: Request) -> Response:
        async with lock:
            if not made:
                made.append(ExamplesOut(examples=await make(request)))
        return answers.json_response(made[0])

    async def make(request: Request) -> list[ExampleOut]:
        if records is None:
            return [] if scorer.texts is None else _prepared()
        seconds = seconds_left(request, limits.answer_seconds)
        found, pair = await in_thread(
            request, lambda: (candidates_in(records), pair_in(records)), seconds, records.threads
        )
        wrong = not found
        if wrong and scorer.texts is not None:
            return _prepared()
        if wrong:
            found = await in_thread(
                request, lambda: candidates_in(records, wrong=True), seconds, records.threads
            )
        if not found:
            return []
        clean = await places(request, [sequence_of(one.record, records.layer) for one in found])
        tried, spoiled = await read(request, found[:_READ])
        with_llm = bool(tried)
        if not with_llm:
            tried = found
            spoiled = [sequence_of(one.spoiled, records.layer) for one in found]
        seen = _Seen(tried, await places(request, spoiled), with_llm)
        return _of_records(found, clean, seen, pair, wrong)

    async def read(
        request: Request, found: Sequence[Candidate]
    ) -> tuple[list[Candidate], list[LatentSequence]]:
        """Have the LLM read those with a foreign step; none if there is no LLM, or it is slow."""
        side = scorer.texts
        if side is None:
            return [], []
        texts = [
            Solution(
                one.record.trace.problem.statement,
                GivenSolution(steps=_steps(one)),
                one.record.trace.problem.domain,
            )
            for one in found
        ]
        seconds = min(_READ_SECONDS, seconds_left(request, limits.answer_seconds) / 2)
        try:
            encoded = await results_of(
                request, lambda: side.submit(texts), seconds, ["/examples"] * len(texts)
            )
        except ProblemError:
            return [], []
        read = [
            (one, sequence_of(record))
            for one, record in zip(found, encoded, strict=True)
            if not isinstance(record, Failure) and len(record.trace.spans) == len(_steps(one))
        ]
        return [one for one, _ in read], [sequence for _, sequence in read]

    async def places(
        request: Request, sequences: Sequence[LatentSequence]
    ) -> list[tuple[float, ...] | None]:
        """The percentiles of each sequence's steps."""
        jobs = [[Job(SURPRISE, one, Context.OTHERS)] for one in sequences]
        seconds = seconds_left(request, limits.answer_seconds)
        pointers = ["/examples"] * len(jobs)
        rows: list[list[Floats]] = await run_each(request, scorer, jobs, seconds, pointers)
        return [percentiles(scorer.world_model.info, row) for [row] in rows]

    return endpoints


class _Seen:
    """Candidates with their foreign steps, and in which of them these stand out.

    Args:
        tried: the candidates.
        places: percentiles of the steps of each.
        read: whether the LLM read them, rather than that vectors were put together.
    """

    def __init__(
        self, tried: Sequence[Candidate], places: Sequence[tuple[float, ...] | None], read: bool
    ) -> None:
        self.read, self.tried = read, len(tried)
        found = []
        for i, (one, row) in enumerate(zip(tried, places, strict=True)):
            if row is not None and row[one.foreign.at] == max(row) >= HIGH_PERCENTILE:
                found.append((max(row[: one.foreign.at] + row[one.foreign.at + 1 :]), i))
        # Easiest to see where nothing else is surprising beside it.
        self.found = [tried[i] for _, i in sorted(found)]

    def note(self, part: str) -> str:
        """Say how they were made, and how often the foreign step stood out."""
        how = "and the LLM reads it there" if self.read else "with the vector from its own solution"
        told = (
            f"A step of another problem takes the place of one, {how}. In {len(self.found)} of "
            f"{self.tried} such solutions of the {part} it stands out most."
        )
        return told if self.read else f"{told} Read by an LLM, it would be harder to spot."


def _of_records(
    candidates: Sequence[Candidate],
    clean: Sequence[tuple[float, ...] | None],
    seen: _Seen,
    pair: Sequence[LatentRecord],
    wrong: bool,
) -> list[ExampleOut]:
    """The examples that a store has; of three different problems, if there are as many."""
    calm = [i for i, row in enumerate(clean) if row is not None and max(row) < HIGH_PERCENTILE]
    part = PARTS[split_of(candidates[0].record.trace.problem.statement_hash)]
    order = [*map(candidates.index, seen.found), *range(len(candidates))]
    shown = order[0]
    first = next((i for i in [*calm, *order] if i != shown), shown)
    both = next((i for i in order if i not in (first, shown)), shown)
    a_clean, foreign, compared = candidates[first], candidates[shown], candidates[both]
    of = f"{len(calm)} of {len(candidates)} short solutions of the {part}"
    known = "; its answer is known to be wrong, as all are here" if wrong else ""
    found: list[tuple[Name, str, list[ExampleSolutionOut], LatentRecord]] = [
        (
            "clean",
            f"A stored solution as it is{known}. In {of} no step stands out.",
            [_of_record(a_clean.record)],
            a_clean.record,
        ),
        ("foreign", seen.note(part), [_of_foreign(foreign, seen.read)], foreign.record),
    ]
    if pair:
        two = [_of_record(one) for one in pair]
        found.append(("compare", "Two stored solutions of one problem.", two, pair[0]))
    else:
        note = "One stored solution as it is, and with a step of another problem in it."
        two = [_of_record(compared.record), _of_foreign(compared, seen.read)]
        found.append(("compare", note, two, compared.record))
    titles: Mapping[Name, str] = {**_TITLES, "clean": "A stored solution"} if wrong else _TITLES
    return [
        _example(name, note, solutions, of.trace.problem.statement, titles)
        for name, note, solutions, of in found
    ]


def _example(
    name: Name,
    note: str,
    solutions: list[ExampleSolutionOut],
    problem: str,
    titles: Mapping[Name, str] = _TITLES,
) -> ExampleOut:
    return ExampleOut(
        name=name, title=titles[name], note=note, problem=problem, solutions=solutions
    )


def _of_record(record: LatentRecord) -> ExampleSolutionOut:
    return ExampleSolutionOut(
        text=record.trace.completion,
        path="/score_record",
        body={"problem_id": record.key.problem_id, "sample": record.key.sample},
        foreign=None,
        from_problem=None,
    )


def _of_foreign(one: Candidate, read: bool) -> ExampleSolutionOut:
    steps = _steps(one)
    problem = one.record.trace.problem
    foreign = {
        **_of_record(one.record).body,
        "foreign_at": one.foreign.at,
        "foreign_problem_id": one.foreign.key.problem_id,
        "foreign_sample": one.foreign.key.sample,
        "foreign_step": one.foreign.step,
    }
    text: dict[str, object] = {
        "problem": problem.statement,
        "solution": steps,
        "domain": problem.domain,
    }
    return ExampleSolutionOut(
        text="\n".join(steps),
        path="/score_text" if read else "/score_record",
        body=text if read else foreign,
        foreign=one.foreign.at,
        from_problem=one.donor.trace.problem.statement,
    )


def _steps(one: Candidate) -> tuple[str, ...]:
    return tuple(text.strip() for text in one.spoiled.trace.step_texts)


def _prepared() -> list[ExampleOut]:
    """The prepared texts, to be read by the LLM."""
    steps = list(prepared.FARM_STEPS)
    steps[prepared.FOREIGN_AT] = prepared.QUIZ_STEPS[prepared.FOREIGN_STEP]
    clean = _of_text(prepared.FARM_STEPS)
    foreign = _of_text(steps, prepared.FOREIGN_AT)
    note = (
        "A word problem that comes with the service, read by its LLM; it is short and in English."
    )
    found: list[tuple[Name, list[ExampleSolutionOut]]] = [
        ("clean", [clean]),
        ("foreign", [foreign]),
        ("compare", [clean, foreign]),
    ]
    return [_example(name, note, solutions, prepared.FARM) for name, solutions in found]


def _of_text(steps: Sequence[str], foreign: int | None = None) -> ExampleSolutionOut:
    return ExampleSolutionOut(
        text="\n".join(steps),
        path="/score_text",
        body={"problem": prepared.FARM, "solution": list(steps)},
        foreign=foreign,
        from_problem=None if foreign is None else prepared.QUIZ,
    )
