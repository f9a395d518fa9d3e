"""What is known about a solution, from its record: which steps are wrong, and whether its answer is
right.

    kind              steps                                         answer
    damaged           the damaged one wrong, those before it        wrong
                      right, those after it unknown
    clean, edited     right                                         right
    labelled, graded  of a right one right (`data.right_steps`),    as it says
                      of a wrong one unknown

A label `correct` in the metadata goes before a grade. What is neither is not learned from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import attrs
import numpy as np
from numpy.typing import NDArray

from ..domain.grade import RIGHT, WRONG, Grade
from ..domain.problem import statement_hash
from ..domain.provenance import CLEAN, KIND, OF, OF_PROBLEM, WRONG_STEP
from ..domain.trace import Trace
from ..settings import DAMAGE, EDITS, DataSettings

Floats = NDArray[np.float32]
# Why a record has no labels.
UNLABELLED, UNGRADED, OTHER_KIND = "no label", "ungraded", "other kind"
REASONS = (UNLABELLED, UNGRADED, OTHER_KIND)
_HASH = re.compile("[0-9a-f]{32}")
_CORRECT = "correct"
_SAID = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@attrs.frozen(eq=False)
class Labels:
    """What is known about a solution of S steps.

    Attributes:
        wrong: float32 [S], 1 for a wrong step, 0 for a right one, NaN where it is not known.
        right: whether its answer is right; None where that is not known.
        kind: of damage or edit, `clean`, `labelled` or `graded`.
    """

    wrong: Floats
    right: bool | None
    kind: str


def labels_of(trace: Trace, steps: int, grade: Grade | None, data: DataSettings) -> Labels | str:
    """Return what a record says of its solution, or why it is not learned from.

    Args:
        trace: of the record.
        steps: S.
        grade: of the record, if it has one.
        data: which kinds of damage are used, and what a right answer says of its steps.
    """
    kind = trace.metadata.get(KIND)
    if kind in DAMAGE:
        return _damaged(trace, steps, kind, data)
    if kind == CLEAN or kind in EDITS:
        return Labels(np.zeros(steps, np.float32), True, kind)
    said = label_of(trace)
    if said is not None:
        return _whole(steps, said, data, "labelled")
    if grade is None:
        return UNLABELLED
    if grade.mark not in (RIGHT, WRONG):
        return UNGRADED
    return _whole(steps, grade.mark == RIGHT, data, "graded")


def label_of(trace: Trace) -> bool | None:
    """Return what the label `correct` of a solution says; None where it has none."""
    return _SAID.get(trace.metadata.get(_CORRECT, "").lower())


def problem_of(trace: Trace, known: Mapping[str, str] | None = None) -> str:
    """Return the hash of the statement that a solution belongs to, by which it is split.

    An edited solution may have another statement, and belongs where the one does that it was made
    from. Where a record of an older version does not say, it is found by `known`, or by a hash of
    that solution's key.

    Args:
        trace: of the record.
        known: hashes of statements, by the key of the trace that a solution was made from.
    """
    metadata = trace.metadata
    if OF_PROBLEM in metadata:
        said = metadata[OF_PROBLEM]
        return said if _HASH.fullmatch(said) else statement_hash(said)
    if metadata.get(KIND) not in EDITS or OF not in metadata:
        return trace.problem.statement_hash
    return (known or {}).get(metadata[OF]) or statement_hash(metadata[OF])


def original_of(trace: Trace) -> tuple[str, str] | None:
    """Return the key that a damaged or unchanged solution was made from, and the hash of that one's
    statement; None where its own statement may be another."""
    if trace.metadata.get(KIND) in (CLEAN, *DAMAGE) and OF in trace.metadata:
        return trace.metadata[OF], trace.problem.statement_hash
    return None


def _damaged(trace: Trace, steps: int, kind: str, data: DataSettings) -> Labels | str:
    if data.damage and kind not in data.damage:
        return OTHER_KIND
    wrong = np.full(steps, math.nan, np.float32)
    written = trace.metadata.get(WRONG_STEP, "")
    if written.isdecimal() and int(written) < steps:
        wrong[: int(written)] = 0.0
        wrong[int(written)] = 1.0
    return Labels(wrong, False, kind)


def _whole(steps: int, right: bool, data: DataSettings, kind: str) -> Labels:
    known = right and data.right_steps
    return Labels(np.full(steps, 0.0 if known else math.nan, np.float32), right, kind)
