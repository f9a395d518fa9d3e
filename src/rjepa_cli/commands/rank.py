"""`rjepa-cli rank`: the solutions of each problem, the least surprising first."""

from __future__ import annotations

from typing import Any

import click

from rjepa_core.plugins import Registry
from rjepa_core.scoring import Ranking, rank_all, score_all
from rjepa_core.text import count

from ..console import Screen
from ..scoring_options import (
    DONE,
    DROPPING,
    OTHER_OPTIONS,
    RANK_FLAGS,
    SOME_FAILED,
    as_line,
    failed_facts,
    lines_to,
    read_settings,
    solution_facts,
)
from ..signals import Interrupts

EPILOG = """\b
Examples:
  rjepa-cli rank runs/samples --world-model runs/wm
  rjepa-cli rank solutions.jsonl --world-model runs/wm --model smollm2 --by max
"""


@click.command(
    "rank",
    params=[click.Argument(["file"]), *(flag.option() for flag in RANK_FLAGS), *OTHER_OPTIONS],
    epilog=EPILOG,
)
@click.pass_context
def command(ctx: click.Context, /, file: str, **params: Any) -> int:
    """Order the solutions of each problem in FILE (a store, or a file with several solutions).

    Prints one JSON object per problem and line: its solutions from the least surprising to the
    most. The order says how much the world model expects a solution; that says little about whether
    its answer is right (docs/explanation/world-model.md).
    """
    settings = read_settings(ctx, RANK_FLAGS, file)
    screen = Screen(only_output=True)
    with screen, Interrupts(DROPPING):
        scored = score_all(settings, Registry(), lambda text: screen.say(f"{text} …"))
        rankings = rank_all(scored, settings.score.by)
        with lines_to(params["out"], screen.out) as lines:
            for ranking in rankings:
                lines.line(as_line(_facts(ranking, settings.score.by)))
    solutions = sum(len(ranking.solutions) for ranking in rankings)
    failed = sum(len(ranking.failed) for ranking in rankings)
    more = f", {failed:,} could not be" if failed else ""
    if not screen.out.lost:
        screen.say(
            f"{count(solutions, 'solution')} of {count(len(rankings), 'problem')} ranked{more}"
        )
    return SOME_FAILED if failed else DONE


def _facts(ranking: Ranking, by: str) -> dict[str, Any]:
    ranked = [
        {"score": float(f"{score:.9g}"), **solution_facts(solution)}
        for solution, score in zip(ranking.solutions, ranking.scores, strict=True)
    ]
    for facts in ranked:
        del facts["problem_id"]
    result: dict[str, Any] = {
        "problem_id": ranking.problem_id,
        "problem": ranking.statement,
        "by": by,
        "order": [solution.trace.sample for solution in ranking.solutions],
        "ranked": ranked,
    }
    if ranking.failed:
        result["failed"] = [failed_facts(failure) for failure in ranking.failed]
    return result
