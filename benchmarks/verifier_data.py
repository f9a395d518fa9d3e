"""Solutions as the verifier's experiments take them: texts, labels, log-probabilities, latents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from rjepa_core import open_store
from rjepa_core.domain.problem import Split, split_of
from rjepa_core.evaluation.lexical import WITHOUT_MODEL
from rjepa_core.ports.store import KeepsGrades
from rjepa_core.ports.world_model import LatentSequence
from rjepa_core.settings import DataSettings
from rjepa_core.training.labels import labels_of, original_of, problem_of

Array = np.ndarray[Any, Any]


@attrs.frozen(eq=False)
class Solution:
    """One solution of S steps.

    Attributes:
        problem: hash of the statement that it is a solution of.
        kind: of damage or edit, `clean`, `labelled` or `graded`.
        writer: who wrote it, where the record says so.
        steps: their texts.
        tokens: of each step.
        logprobs: of each step.
        lexical: share of each step's words and numbers that stand nowhere else in the problem.
        equations: of each step, how many of its equations are false.
        wrong: of each step; NaN where it is not known.
        right: whether its answer is right.
        answer: as it was graded; None where there is none.
        sequence: its latents.
    """

    problem: str
    kind: str
    writer: str
    steps: Sequence[str]
    tokens: Array
    logprobs: Array
    lexical: Array
    equations: Array
    wrong: Array
    right: bool
    answer: str | None
    sequence: LatentSequence

    @property
    def wrong_step(self) -> int | None:
        """The step that is known to be wrong."""
        found = np.flatnonzero(self.wrong == 1)
        return int(found[0]) if len(found) else None


def read(place: Path, parts: Sequence[Split] = tuple(Split), every: bool = False) -> list[Solution]:
    """The labelled solutions of a store, of some parts of the split.

    Args:
        place: of the store.
        parts: by the statement of the original.
        every: those without a label count as wrong: an answer that is none is not right.
    """
    found = []
    with open_store(str(place)) as store:
        known: dict[str, str] = {}
        rows = []
        for key in list(store.keys()):
            record = store.get(key)
            grade = store.grade(key) if isinstance(store, KeepsGrades) else None
            rows.append((key, record, grade))
            if original := original_of(record.trace):
                known[original[0]] = original[1]
        for key, record, grade in rows:
            trace = record.trace
            problem = problem_of(trace, known)
            if split_of(problem) not in parts:
                continue
            labels = labels_of(trace, len(trace.spans), grade, DataSettings())
            if isinstance(labels, str) and not every:
                continue
            unknown = np.full(len(trace.spans), np.nan, np.float32)
            assert record.logprobs is not None, f"{place}: {key} has no log-probabilities"
            logprobs = np.asarray(record.logprobs, np.float32)
            latents = np.asarray(record.latents, np.float32)[0]
            prompt = np.asarray(record.prompt_latent, np.float32)[0]
            found.append(
                Solution(
                    problem=problem,
                    kind="graded" if isinstance(labels, str) else labels.kind,
                    writer=trace.metadata.get("model", ""),
                    steps=trace.step_texts,
                    tokens=WITHOUT_MODEL["tokens"](trace),
                    lexical=WITHOUT_MODEL["lexical"](trace),
                    equations=WITHOUT_MODEL["equations"](trace),
                    logprobs=logprobs,
                    wrong=unknown if isinstance(labels, str) else labels.wrong,
                    right=not isinstance(labels, str) and bool(labels.right),
                    answer=None if grade is None else grade.answer,
                    sequence=LatentSequence(latents, prompt, logprobs=logprobs),
                )
            )
    return found
