"""How little is too little: what below which number says nothing, in one sentence each."""

from __future__ import annotations

from ..text import count

# Problems that a world model is trained on, or that its figures are measured on.
FEWEST_PROBLEMS = 200
# Solutions of the validation part that a surprise is compared with.
FEWEST_COMPARED = 20


def too_few_to_train(problems: int) -> str | None:
    """Return the sentence for a training part of so many problems; None if they are enough."""
    if problems >= FEWEST_PROBLEMS:
        return None
    return (
        f"{count(problems, 'problem')} to train on: from fewer than {FEWEST_PROBLEMS} a world "
        "model learns to show that the parts work together, and no more"
    )


def too_few_to_evaluate(problems: int) -> str | None:
    """Return the sentence for figures of so many problems; None if they are enough."""
    if problems >= FEWEST_PROBLEMS:
        return None
    return (
        f"{count(problems, 'problem')} to evaluate on: figures of fewer than {FEWEST_PROBLEMS} are "
        "mostly chance, whatever their intervals say"
    )


# Problems that speeds are measured on.
FEWEST_MEASURED = 16


def too_few_to_measure(problems: int) -> str | None:
    """Return the sentence for speeds of so many problems; None if they are enough."""
    if problems >= FEWEST_MEASURED:
        return None
    return (
        f"{count(problems, 'problem')} to measure: speeds of fewer than {FEWEST_MEASURED} depend "
        "mostly on which they are"
    )
