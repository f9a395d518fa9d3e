"""Score and rank solutions that a caller has as text: `score_text` and `rank_texts`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from ..config import settings_of
from ..domain.problem import DEFAULT_DOMAIN, GivenSolution, Problem
from ..domain.trace import Failure, Work
from ..errors import ArgumentError, InputError
from ..plugins import Registry, given_world_model
from ..ports.world_model import Context, WorldModel
from ..settings import AdapterSettings, ModelSettings
from .ranking import measure_for
from .run import Ranking, ScoredTrace, encode_work, rank_all, score_pairs
from .text_encoder import TextEncoder, open_text_encoder

if TYPE_CHECKING:
    from os import PathLike

Text = str | Sequence[str] | GivenSolution
Encoder = str | ModelSettings | TextEncoder


def open_encoder(
    world_model: WorldModel | str | PathLike[str],
    model: str | ModelSettings,
    backend: str | AdapterSettings = "huggingface",
    registry: Registry | None = None,
) -> TextEncoder:
    """Load the LLM that a world model's latents came from, to score many texts with it.

    Args:
        world_model: a world model, or its location.
        model: the LLM: a name alone, or with device and dtype; `auto` is that of the latents.
        backend: the adapter that runs it.
        registry: finds the adapter.

    Returns:
        An encoder, for `score_text` and `rank_texts`; to be closed, or used in a `with` block.

    Raises:
        IdentityError: its latents are of another space than the world model's; the message names
            the settings that differ.
        UsageError: anything else that the user can fix.
    """
    settings = ModelSettings(name=model) if isinstance(model, str) else model
    adapter = AdapterSettings(name=backend) if isinstance(backend, str) else backend
    settings = settings_of(ModelSettings, settings, "model")
    with given_world_model(world_model, registry) as opened:
        return open_text_encoder(settings, adapter, opened.info, registry)


def score_text(
    world_model: WorldModel | str | PathLike[str],
    statement: str,
    solution: Text,
    model: Encoder,
    *,
    context: str | Context = Context.OTHERS,
    domain: str = DEFAULT_DOMAIN,
    backend: str | AdapterSettings = "huggingface",
    registry: Registry | None = None,
) -> ScoredTrace:
    """Score one solution given as text: what `rjepa-cli score` does with each one of a file.

    Args:
        world_model: a world model, or its location.
        statement: of the problem.
        solution: its text, which is cut into steps as the world model's latents were; or its steps.
        model: the LLM that the latents came from. For many texts give what `open_encoder` returns:
            with a name, it is loaded for this call alone.
        context: which steps a step is predicted from: all `others`, or the `past` alone.
        domain: of the problem; it selects the prompt.
        backend: the adapter that runs the LLM.
        registry: finds the adapters.

    Returns:
        The trace with its S steps, the surprise float32 [S] (mean squared error, no unit), its
        percentiles (0 to 100) among those of validation, and a verifier's verdict.

    Raises:
        ArgumentError: an argument is of the wrong type.
        IdentityError: the LLM is not the one that the latents came from.
        InputError: the solution cannot be scored: it has no steps, or is too long.
    """
    with _opened(world_model, model, backend, registry) as (opened, encoder):
        works = [Work(_problem(statement, domain), 0, _given(solution, "solution"))]
        [found] = _scored(works, opened, encoder, context)
    if isinstance(found, Failure):
        raise InputError(f"solution: {found.reason}: {found.detail}")
    return found


def rank_texts(
    world_model: WorldModel | str | PathLike[str],
    statement: str,
    solutions: Sequence[Text],
    model: Encoder,
    *,
    by: str | None = None,
    context: str | Context = Context.OTHERS,
    domain: str = DEFAULT_DOMAIN,
    backend: str | AdapterSettings = "huggingface",
    registry: Registry | None = None,
) -> Ranking:
    """Rank several solutions of one problem: what `rjepa-cli rank` does with each one of a file.

    Args:
        world_model: a world model, or its location.
        statement: of the problem.
        solutions: each as text, or as its steps; one that cannot be scored is in `Ranking.failed`.
        by: order by the `mean` or `max` of the surprise, least first; with a verifier by the
            probability that the answer is `right`, highest first, or by a `vote` of the answers;
            by default `right` with a verifier, else `mean`.
        model: the LLM that the latents came from. For several rankings give what `open_encoder`
            returns: with a name, it is loaded for this call alone.
        context: which steps a step is predicted from: all `others`, or the `past` alone.
        domain: of the problem; it selects the prompt.
        backend: the adapter that runs the LLM.
        registry: finds the adapters.

    Returns:
        The solutions, the best first; `trace.sample` of each is its place in `solutions`.

    Raises:
        ArgumentError: an argument is of the wrong type, or there is no such measure.
        UsageError: `by` needs a verifier, and the world model is none.
        IdentityError: the LLM is not the one that the latents came from.
    """
    if isinstance(solutions, str) or not isinstance(solutions, Sequence) or not solutions:
        raise ArgumentError(f"solutions: got {solutions!r:.80}, expected one or more solutions")
    with _opened(world_model, model, backend, registry) as (opened, encoder):
        measure = measure_for(opened.info, by)
        problem = _problem(statement, domain)
        works = [
            Work(problem, place, _given(one, f"solutions[{place}]"))
            for place, one in enumerate(solutions)
        ]
        [ranking] = rank_all(_scored(works, opened, encoder, context), measure)
    return ranking


@contextmanager
def _opened(
    world_model: WorldModel | str | PathLike[str],
    model: Encoder,
    backend: str | AdapterSettings,
    registry: Registry | None,
) -> Iterator[tuple[WorldModel, TextEncoder]]:
    """Open what was given by name, and close it in the end."""
    registry = registry or Registry()
    with ExitStack() as stack:
        opened = stack.enter_context(given_world_model(world_model, registry))
        if not isinstance(model, TextEncoder):
            if not isinstance(model, str | ModelSettings):
                raise ArgumentError(
                    f"model: got {model!r:.80}, expected the LLM's name, ModelSettings, or what "
                    "open_encoder returns"
                )
            model = stack.enter_context(open_encoder(opened, model, backend, registry))
        yield opened, model


def _scored(
    works: Sequence[Work], world_model: WorldModel, encoder: TextEncoder, context: str | Context
) -> Iterator[ScoredTrace | Failure]:
    try:
        steps = Context(context)
    except ValueError:
        known = " or ".join(one.value for one in Context)
        raise ArgumentError(f"context: got {context!r:.80}, expected {known}") from None
    return score_pairs(encode_work(works, encoder), world_model, steps)


def _problem(statement: str, domain: str) -> Problem:
    for name, text in (("statement", statement), ("domain", domain)):
        if not isinstance(text, str) or not text.strip():
            raise ArgumentError(f"{name}: got {text!r:.80}, expected a text that is not empty")
    return Problem.make(statement, domain)


def _given(solution: Text, name: str) -> GivenSolution:
    if isinstance(solution, GivenSolution):
        return solution
    if isinstance(solution, str):
        return GivenSolution(text=solution)
    if isinstance(solution, Sequence) and solution and all(isinstance(s, str) for s in solution):
        return GivenSolution(steps=tuple(solution))
    raise ArgumentError(f"{name}: got {solution!r:.80}, expected a text, or the texts of its steps")
