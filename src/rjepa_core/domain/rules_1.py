"""The first rules for cutting completions into steps, kept for stores that were made with them.

Their results must never change: a store whose identity names them continues with them.

A cut is found in the text and then moved to a token boundary that is also a character boundary, so
that a step's text is the decoding of its span. A token with text of two steps belongs to the
earlier one; a space that shares its token with a step's first word goes with the word. The rules
apply to the completion alone; the prompt is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import attrs

from ..settings import FIRST_STRATEGIES
from .step_spans import Cut, boundary
from .text_units import (
    INLINE_MARKER,
    LINE_MARKER,
    find_lines,
    find_sentences,
    is_answer,
    skip_space,
)
from .trace import Completion, Offsets, StepSpan, TokenIds


def cut(
    ids: TokenIds, offsets: Offsets, text: str, strategy: str = "auto", *, finished: bool = True
) -> Cut:
    """Cut a completion into steps.

    Args:
        ids: int32 [T], the completion's tokens.
        offsets: int32 [T, 2], characters of `text` that each token covers (see `Completion`).
        text: the decoded completion.
        strategy: `markers`, `lines`, `sentences`, or `auto` (markers if there are at least two,
            else lines if there are at least two, else sentences).
        finished: false if the text was cut off, so that its last line may be incomplete and is not
            taken for an answer.

    Returns:
        ordered, disjoint, non-empty spans that together cover every token except leading and
        trailing white space, tokens without text at the end, and a bare final-answer line.

    Raises:
        ValueError: unknown strategy, or offsets of another length than ids.
    """
    if len(ids) != len(offsets):
        raise ValueError(f"{len(ids)} ids, but {len(offsets)} offsets")
    start, stop, answer = _body(text, finished)
    starts, strategy = _starts(text, start, stop, strategy)
    return _spans(offsets, text, start, stop, starts, answer, strategy)


def cut_completion(completion: Completion, strategy: str = "auto") -> Cut:
    """Cut a backend's completion into steps; a given solution's own steps stay as given."""
    ids, offsets, text = completion.ids, completion.offsets, completion.text
    # A line that ended before the limit was reached is complete.
    finished = completion.finish_reason != "length" or text.endswith("\n")
    if completion.step_starts is None:
        result = cut(ids, offsets, text, strategy, finished=finished)
    else:
        start, stop, answer = _body(text, finished)
        own = [max(p, start) for p in completion.step_starts if p < stop]
        result = _spans(offsets, text, start, stop, own, answer, "given")
    if completion.finish_reason == "length" and result.spans and result.answer is None:
        last = attrs.evolve(result.spans[-1], truncated=True)
        result = attrs.evolve(result, spans=(*result.spans[:-1], last))
    return result


def _body(text: str, finished: bool) -> tuple[int, int, str | None]:
    """Return where the reasoning starts and stops in `text`, and the final-answer line after it."""
    stop = len(text.rstrip())
    line_start = max(text.rfind("\n", 0, stop), text.rfind("\r", 0, stop)) + 1
    line = text[line_start:stop]
    answer = None
    if finished and is_answer(line):
        answer, stop = line.strip(), len(text[:line_start].rstrip())
    start = min(len(text) - len(text.lstrip()), stop)
    return start, stop, answer


def _starts(text: str, start: int, stop: int, strategy: str) -> tuple[list[int], str]:
    """Return the character positions at which steps start, and the strategy that found them."""
    finders = {"markers": _markers, "lines": find_lines, "sentences": find_sentences}
    if strategy == "auto":
        for strategy in ("markers", "lines", "sentences"):
            positions = finders[strategy](text, start, stop)
            if len(positions) >= 2:
                break
        return positions, strategy
    if strategy not in finders:
        raise ValueError(
            f"unknown step strategy {strategy!r}; known: {', '.join(FIRST_STRATEGIES)}"
        )
    return finders[strategy](text, start, stop), strategy


def _markers(text: str, start: int, stop: int) -> list[int]:
    body = text[:stop]
    positions = {skip_space(text, m.start(), stop) for m in LINE_MARKER.finditer(body, start)}
    positions |= {m.end() for m in INLINE_MARKER.finditer(body, start)}
    return sorted(positions)


def _spans(
    offsets: Offsets,
    text: str,
    start: int,
    stop: int,
    starts: Sequence[int],
    answer: str | None,
    strategy: str,
) -> Cut:
    """Move the cuts to token boundaries and leave out steps without a token of their own."""
    if start >= stop:
        return Cut((), (), answer, strategy)
    begins = [int(o[0]) for o in offsets]
    ends = [int(o[1]) for o in offsets]
    total = len(begins)
    first = next((i for i in range(total) if ends[i] > start), total)
    last = boundary(begins, ends, stop)
    # Text before the first start belongs to the first step, so the first start itself is no cut.
    cuts = [boundary(begins, ends, p, text) for p in sorted(starts)[1:]]
    kept = [first]
    for here, following in pairwise([*cuts, last]):
        # White space alone is not a step: it stays with the step before it.
        if kept[-1] < here < following and text[begins[here] : ends[following - 1]].strip():
            kept.append(here)
    kept.append(last)
    spans = [StepSpan(a, b) for a, b in pairwise(kept) if a < b]
    texts = [text[begins[s.start] : ends[s.stop - 1]] for s in spans]
    return Cut(tuple(spans), tuple(texts), answer, strategy)
