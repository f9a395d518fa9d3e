"""Scores of steps that need no model: the first thing a reviewer would try."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import numpy as np

from ..domain.trace import Trace
from .corruption import false_equations
from .statistics import Doubles

_WORDS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+")


def strange_words(trace: Trace) -> Doubles:
    """The share of each step's words and numbers that stand nowhere else in the statement and the
    solution: float64 [S]."""
    steps = [_words(text) for text in trace.step_texts]
    holding = Counter(word for step in steps for word in step)
    asked = _words(trace.problem.statement)
    return np.array(
        [
            sum(holding[word] == 1 and word not in asked for word in step) / max(1, len(step))
            for step in steps
        ]
    )


def wrong_equations(trace: Trace) -> Doubles:
    """The number of each step's written equations that are false: float64 [S]."""
    return np.array([float(false_equations(text)) for text in trace.step_texts])


def token_counts(trace: Trace) -> Doubles:
    """Each step's tokens: float64 [S]."""
    return np.array([float(len(span)) for span in trace.spans])


def _words(text: str) -> set[str]:
    found = _WORDS.findall(text.lower())
    return {_number(word) if word[0] in ".0123456789" else word for word in found}


def _number(text: str) -> str:
    """3, 3.0 and 3.00 are one number."""
    return f"{float(text.replace(',', '')):g}"


WITHOUT_MODEL: dict[str, Callable[[Trace], Doubles]] = {
    "lexical": strange_words,
    "equations": wrong_equations,
    "tokens": token_counts,
}
