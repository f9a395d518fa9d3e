"""Steps of a trace as they are edited: each one's body apart from its number and white space."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs

from ...domain.problem import GivenSolution
from ...domain.trace import Trace

# `Step 3:` and `3.`: an edited step must not be told by its number.
_MARKER = re.compile(r"\s*(?:(?:[Ss]tep|STEP)\s*\d+\s*[:.)-]|\d{1,3}[.)](?!\d))?\s*")


@attrs.frozen
class Steps:
    """The texts of a trace's steps.

    Attributes:
        statement: of the problem.
        bodies: the steps without what stands around them.
        frames: what stands before and behind each.
        trace: whose steps they are.
    """

    statement: str
    bodies: tuple[str, ...]
    frames: tuple[tuple[str, str], ...]
    trace: Trace

    def __len__(self) -> int:
        return len(self.bodies)

    def solution(
        self, bodies: Sequence[str], labels: Mapping[str, str], answer: str | None = None
    ) -> GivenSolution | None:
        """The whole solution with other bodies, at most as many; everything else as it was.

        Args:
            bodies: of the steps.
            labels: the solution's metadata.
            answer: that it ends with, instead of its own.
        """
        trace = self.trace
        # The last frame stays the last one, whatever is left out.
        frames = [*self.frames[: len(bodies) - 1], self.frames[-1]]
        if len(bodies) < len(self) and self.trace.strategy == "markers":
            frames[-1] = (self.frames[len(bodies) - 1][0], self.frames[-1][1])
        texts = [b + body + a for (b, a), body in zip(frames, bodies, strict=True)]
        # The answer's line goes along, and is cut off again as it was before.
        end = [answer or trace.answer] if trace.answer else []
        own = [text.rstrip("\n") for text in trace.step_texts]
        if "\n".join([*own, *filter(None, [trace.answer])]) == trace.completion.strip("\n"):
            lines = tuple(text.strip("\n") for text in texts)
            return GivenSolution(steps=(*lines, *end), metadata=labels)
        # Steps that are no lines: the text as it stood, cut again by the store's strategy.
        whole = "".join(trace.step_texts)
        start = trace.completion.find(whole)
        if start < 0:
            return None
        tail = trace.completion[start + len(whole) :]
        if end and answer and trace.answer:
            tail = tail.replace(trace.answer, answer, 1)
        return GivenSolution(text=trace.completion[:start] + "".join(texts) + tail, metadata=labels)


def steps_of(trace: Trace) -> Steps:
    """The steps of a trace."""
    bodies, frames = [], []
    for text in trace.step_texts:
        marker = _MARKER.match(text)
        before = marker[0] if marker is not None and marker.end() < len(text.rstrip()) else ""
        body = text[len(before) :].rstrip()
        bodies.append(body)
        frames.append((before, text[len(before) + len(body) :]))
    return Steps(trace.problem.statement, tuple(bodies), tuple(frames), trace)
