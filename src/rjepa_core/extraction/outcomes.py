"""The outcomes of admitted work: traces cut at stop texts, records, failures."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from ..domain.blocks import only_delimiters
from ..domain.latents import Encoding, LatentRecord, UnstorableError, make_record
from ..domain.problem import SOLUTION_DIGEST, GivenSolution
from ..domain.segmentation import make_trace
from ..domain.trace import (
    ANSWER_ONLY,
    EMPTY,
    EMPTY_STEP,
    THINKING_ONLY,
    TOO_MANY_STEPS,
    Completion,
    Failure,
    Trace,
    Work,
)
from ..errors import BackendError, UnsupportedError
from ..ports.backend import ModelInfo, Refused, SessionSpec
from ..settings import SamplingSettings
from ..text import count


class Outcomes:
    """Turns completions into traces and encodings into records, and collects the failures."""

    def __init__(self, spec: SessionSpec) -> None:
        self._spec = spec
        self._failed: list[Failure] = []

    def trace(self, work: Work, answer: Completion | Refused) -> Trace | None:
        """Return the trace of a completion; None after a failure, such as nothing to encode.

        Raises:
            BackendError: the completion is longer than allowed, or contains a stop text.
        """
        if isinstance(answer, Refused):
            self.fail(work, answer.reason, answer.detail)
            return None
        if isinstance(work.given, GivenSolution):
            empty = work.given.empty_step
            if empty is not None:
                detail = f"step {empty + 1} of {len(work.given.steps)} is empty; fill it or drop it"
                self.fail(work, EMPTY_STEP, detail)
                return None
        limit = self._spec.sampling.max_new_tokens
        if work.given is None and len(answer.ids) > limit:
            raise BackendError(
                f"the backend broke its promise: {count(len(answer.ids), 'token')} of a "
                f"completion, where sampling.max_new_tokens is {limit}"
            )
        stops = self._spec.sampling.stop
        if work.given is None and (stop := find_stop(answer.text, stops)):
            raise BackendError(
                f"the backend broke its promise: {answer.text[slice(*stop)]!r} of sampling.stop is "
                "in a completion"
            )
        steps = self._spec.cut(answer)
        if not steps.spans:
            if only_delimiters(answer.text):
                self.fail(work, EMPTY, "the completion has no text")
            elif steps.answer is None:
                detail = (
                    "the completion ends before an answer, and steps.thinking leaves the thinking "
                    "out; allow more new tokens, or keep the thinking"
                )
                self.fail(work, THINKING_ONLY, detail)
            else:
                detail = f"the completion is a final answer without steps: {steps.answer}"
                self.fail(work, ANSWER_ONLY, detail)
            return None
        most = self._spec.most_steps
        if most is not None and len(steps.spans) > most:
            self.fail(work, TOO_MANY_STEPS, f"{len(steps.spans)} steps, at most {most} are taken")
            return None
        given = work.given if isinstance(work.given, GivenSolution) else None
        labels = {**given.metadata, SOLUTION_DIGEST: given.digest} if given else None
        return make_trace(work.problem, work.sample, answer, steps, labels)

    def record(self, work: Work, trace: Trace, answer: Encoding | Refused) -> LatentRecord | None:
        """Return the record of a trace; None if its vectors cannot be stored, which is a failure.

        Raises:
            BackendError: the encoding does not fit its trace.
        """
        if isinstance(answer, Refused):
            self.fail(work, answer.reason, answer.detail)
            return None
        encoding = self._spec.encoding
        try:
            return make_record(trace, answer, encoding.store_dtype, encoding.logprobs)
        except UnstorableError as error:
            self.fail(work, error.reason, str(error))
        except ValueError as error:
            raise BackendError(
                f"the backend broke its promise of one encoding per trace, in order: {error}"
            ) from None
        return None

    def fail(self, work: Work, reason: str, detail: str, needed: int | None = None) -> None:
        """Add a failure."""
        problem = work.problem
        self._failed.append(Failure(work.key, problem.statement_hash, reason, detail, needed))

    def __bool__(self) -> bool:
        """Return whether there are failures to collect."""
        return bool(self._failed)

    def failures(self) -> tuple[Failure, ...]:
        """Return the failures since the last call, oldest first."""
        failed, self._failed = tuple(self._failed), []
        return failed


def find_stop(text: str, stops: Sequence[str]) -> tuple[int, int] | None:
    """Return the range of the stop text that is complete first; of several, the longest."""
    ranges = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
    if not ranges:
        return None
    end, start = min(ranges)
    return start, end


def end_at_stop(completion: Completion, stops: Sequence[str]) -> Completion:
    """Return the completion up to the first stop text.

    The ids go up to the token that completed the stop text. Tokens within the stop text are kept
    and have no text; a token that begins before the stop text covers only what is before it.
    """
    found = find_stop(completion.text, stops)
    if found is None:
        return completion
    start, end = found
    tokens = int(np.searchsorted(completion.offsets[:, 0], end))
    return attrs.evolve(
        completion,
        text=completion.text[:start],
        ids=completion.ids[:tokens].copy(),
        offsets=np.minimum(completion.offsets[:tokens], start),
        finish_reason="stop",
    )


def check_stops(sampling: SamplingSettings, info: ModelInfo) -> None:
    """Refuse stop texts if the backend does not end completions at them.

    Raises:
        UnsupportedError: it does not.
    """
    if sampling.stop and not info.stops:
        raise UnsupportedError(
            f"sampling.stop: the backend of {info.name} cannot end completions at a text; leave it "
            "out, or use another backend"
        )
