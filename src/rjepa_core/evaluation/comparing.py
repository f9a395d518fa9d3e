"""Which methods stand in a table of scored solutions, and what each is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from .methods import BASELINE, COMBINED, LOGPROB, RIDGE, Method
from .results import TableBuilder
from .statistics import Figure

TOO_FEW = "too few problems to fit on one half and test on the other"


class Figures(Protocol):
    """The figures of one table; `fits` tells whether logistic models could be fitted."""

    fits: bool

    def alone(self, name: str) -> Mapping[str, Figure]:
        """Of one kind of scores."""
        ...

    def together(self, name: str) -> Mapping[str, Figure]:
        """Of a method's scores and the log-probability, in a logistic model."""
        ...


def compare(
    build: TableBuilder, methods: Sequence[Method], names: Sequence[str], figures: Figures
) -> None:
    """Each kind of scores alone; then world models and ridge regression with the log-probability.

    Args:
        build: gets the lines.
        methods: that predict steps.
        names: of all kinds of scores, those of the methods among them.
        figures: of the table.
    """
    kinds = {method.name: method.kind for method in methods}
    models = [name for name, kind in kinds.items() if kind != BASELINE]
    for name in names:
        against = (RIDGE, LOGPROB) if name in models else ()
        build.add(name, kinds.get(name, BASELINE), figures.alone(name), against)
    if LOGPROB not in names or not figures.fits:
        return
    for name in [*models, RIDGE]:
        others = (f"{RIDGE} + {LOGPROB}", name) if name in models else ()
        build.add(f"{name} + {LOGPROB}", COMBINED, figures.together(name), (LOGPROB, *others))
