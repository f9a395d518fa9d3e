"""Masked-step retrieval: each step predicted, the true one ranked among all steps of the split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ports.world_model import Context
from .bootstrap import Resampler, Share
from .corpus import Sample, problem_numbers
from .methods import BASELINE, CONTEXTS, RIDGE, Method, ranks_of
from .results import Table, TableBuilder
from .settings import RETRIEVAL, EvaluateSettings
from .watching import Watch

TOP, RECIPROCAL = "top-1", "MRR"


def retrieval_table(
    methods: Sequence[Method],
    samples: Sequence[Sample],
    context: Context,
    settings: EvaluateSettings,
    watch: Watch,
) -> Table:
    """Top-1 and mean reciprocal rank of each method.

    Args:
        methods: that predict steps.
        samples: of the split, with two steps or more.
        context: what a step is predicted from.
        settings: seed, draws and batch size.
        watch: told how far it is.
    """
    sequences = [sample.sequence for sample in samples]
    of_sample, count = problem_numbers(samples)
    problems = np.repeat(of_sample, [sample.steps for sample in samples])
    build = TableBuilder(Resampler(count, settings.draws, settings.seed))
    for method in methods:
        tick = watch.phase(f"retrieval {CONTEXTS[context]}: {method.name}", len(samples))
        ranks = ranks_of(method, sequences, context, settings.batch_size, tick)
        figures = {
            TOP: Share((ranks == 1.0) * 1.0, problems, count),
            RECIPROCAL: Share(1.0 / ranks, problems, count),
        }
        build.add(method.name, method.kind, figures, () if method.kind == BASELINE else (RIDGE,))
    total = len(problems)
    return Table(
        part=RETRIEVAL,
        name=f"{RETRIEVAL}/{context.value}",
        title=f"The masked step, predicted {CONTEXTS[context]}, found among {total:,} steps",
        columns=(TOP, RECIPROCAL),
        items=total,
        problems=count,
        chance={TOP: 1 / total, RECIPROCAL: float((1 / np.arange(1, total + 1)).mean())},
        lines=build.lines(),
    )
