"""`rjepa-cli rank`: the solutions of each problem, the best first."""

from __future__ import annotations

from typing import Any

import click

from rjepa_core.plugins import Registry
from rjepa_core.scoring import VOTE, Ranking, rank_all, score_all
from rjepa_core.text import count

from ..completion import traces
from ..console import Screen
from ..help import GroupedCommand
from ..scoring_options import (
    DONE,
    DROPPING,
    GROUPS,
    OTHER_OPTIONS,
    RANK_FLAGS,
    SOME_FAILED,
    failed_facts,
    read_settings,
    rows_to,
    solution_facts,
    step_facts,
)
from ..signals import Interrupts

EPILOG = """\b
Examples:
  rjepa-cli rank runs/samples --world-model runs/wm
  rjepa-cli rank given.jsonl --world-model runs/wm --model smollm2 --by max
  rjepa-cli rank runs/samples --world-model runs/verifier --by vote
"""


@click.command(
    "rank",
    cls=GroupedCommand,
    groups=GROUPS,
    params=[
        click.Argument(["file"], shell_complete=traces),
        *(flag.option() for flag in RANK_FLAGS),
        *OTHER_OPTIONS,
    ],
    epilog=EPILOG,
)
@click.pass_context
def command(ctx: click.Context, /, file: str, **params: Any) -> int:
    """Order the solutions of each problem in FILE (a store, or a file with several solutions).

    Prints one JSON object per problem and line: its solutions from the best to the worst. With a
    verifier that is, by default, by the probability that the answer is right, and with --by vote by
    the sum of these probabilities over the solutions with the same answer. Otherwise it is from the
    least surprising to the most, which says little about whether an answer is right
    (docs/explanation/world-model.md).
    """
    settings = read_settings(ctx, RANK_FLAGS, file)
    screen = Screen(only_output=True)
    gathered: list[dict[str, Any]] | None = [] if params["json"] else None
    out = params["out"]
    with screen, Interrupts(DROPPING):
        scored = score_all(settings, Registry(), screen.busy)
        rankings = rank_all(scored, settings.score.by)
        with rows_to(out, screen.out, gathered) as put:
            for ranking in rankings:
                put(_facts(ranking))
    solutions = sum(len(ranking.solutions) for ranking in rankings)
    failed = sum(len(ranking.failed) for ranking in rankings)
    if gathered is not None:
        rows = {"out": out} if out is not None else {"problems": gathered}
        screen.json({"ranked": solutions, "failed": failed, **rows})
    more = f", {failed:,} could not be" if failed else ""
    if not screen.out.lost:
        screen.say(
            f"{count(solutions, 'solution')} of {count(len(rankings), 'problem')} ranked{more}"
        )
    return SOME_FAILED if failed else DONE


def _facts(ranking: Ranking) -> dict[str, Any]:
    ranked = [
        {"score": float(f"{score:.9g}"), **solution_facts(solution)}
        for solution, score in zip(ranking.solutions, ranking.scores, strict=True)
    ]
    for facts, solution in zip(ranked, ranking.solutions, strict=True):
        del facts["problem_id"]
        if solution.verdict is not None:
            facts["wrong"] = [step["wrong"] for step in step_facts(solution)]
    result: dict[str, Any] = {
        "problem_id": ranking.problem_id,
        "problem": ranking.statement,
        "by": ranking.by,
        "order": [solution.trace.sample for solution in ranking.solutions],
        "ranked": ranked,
    }
    if ranking.by == VOTE:
        result["answer"] = ranking.votes[0].answer if ranking.votes else None
        result["votes"] = [
            {
                "answer": vote.answer,
                "weight": float(f"{vote.weight:.9g}"),
                "samples": sorted(ranking.solutions[i].trace.sample for i in vote.solutions),
            }
            for vote in ranking.votes
        ]
    if ranking.failed:
        result["failed"] = [failed_facts(failure) for failure in ranking.failed]
    return result
