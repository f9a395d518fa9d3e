"""Steps as token ranges: moves cuts in a text to token boundaries."""

from __future__ import annotations

import bisect
import enum
from collections.abc import Sequence
from itertools import pairwise

import attrs

from .blocks import has_content, only_delimiters
from .trace import Offsets, StepSpan


@attrs.frozen
class Cut:
    """A completion cut into steps.

    Attributes:
        spans: S token ranges.
        texts: S texts, the completion's over each span's characters.
        answer: the final answer as written, stripped, or None.
        strategy: the one used; for `auto`, the one it chose.
    """

    spans: tuple[StepSpan, ...]
    texts: tuple[str, ...]
    answer: str | None
    strategy: str


def boundary(
    begins: Sequence[int], ends: Sequence[int], position: int, text: str | None = None
) -> int:
    """Return the first token boundary at or after `position` that is not inside a character.

    With `text`, a token of spaces followed by the character at `position` counts as beginning
    there: most tokenizers join a word with the space before it, and the word belongs to the step.
    """
    i = bisect.bisect_left(begins, position)
    if text is not None and i and ends[i - 1] > position:
        first = bisect.bisect_left(begins, begins[i - 1])  # with tokens that share a character
        if not text[begins[first] : position].strip(" \t") and _is_free(begins, ends, first):
            return first
    while i < len(begins) and not _is_free(begins, ends, i):
        i += 1
    return i


def _is_free(begins: Sequence[int], ends: Sequence[int], i: int) -> bool:
    """Return whether the boundary before token i falls between two characters."""
    return i == 0 or ends[i - 1] <= begins[i]


class StretchKind(enum.Enum):
    """The kind of a stretch of a completion."""

    STEP = "step"
    THINKING = "step of thinking"
    LEFT_OUT = "left out"


@attrs.frozen
class Mark:
    """The start of a stretch, in characters; it ends at the next mark."""

    position: int
    kind: StretchKind


@attrs.define
class _Stretch:
    """Tokens of one kind; bare if they contain neither letter nor digit."""

    start: int
    stop: int
    kind: StretchKind
    bare: bool


def place(offsets: Offsets, text: str, marks: Sequence[Mark]) -> list[StepSpan]:
    """Return the spans of steps whose marks are moved to token boundaries.

    Steps without a token of their own are left out. White space alone is not a step: it stays with
    the step before it. Nor is text without letters and digits: it joins a neighbour of its kind, or
    is left out if it is a delimiter.

    Args:
        offsets: int32 [T, 2], characters of `text` that each token covers.
        text: of the completion.
        marks: in ascending order; the last one is where the last step ends.
    """
    begins = [int(o[0]) for o in offsets]
    ends = [int(o[1]) for o in offsets]
    bounds = [bisect.bisect_right(ends, marks[0].position)]
    for before, mark in pairwise(marks):
        if before.kind is StretchKind.LEFT_OUT:
            # A token that is only partly left out belongs to the step, which would lose its text.
            bound = bisect.bisect_right(ends, mark.position)
        else:
            joined_text = None if mark.kind is StretchKind.LEFT_OUT else text
            bound = boundary(begins, ends, mark.position, joined_text)
        bounds.append(max(bounds[-1], bound))
    stretches: list[_Stretch] = []
    for mark, (start, stop) in zip(marks, pairwise(bounds), strict=False):
        if start == stop:
            continue
        own_text, kind = text[begins[start] : ends[stop - 1]], mark.kind
        last, bare = stretches[-1] if stretches else None, not has_content(own_text)
        blank = not own_text.strip() and kind is not StretchKind.LEFT_OUT
        if last and (blank or (last.kind is kind and (last.bare or bare))):
            last.stop, last.bare = stop, last.bare and bare
        else:
            stretches.append(_Stretch(start, stop, kind, bare))
    return [
        StepSpan(s.start, s.stop, thinking=s.kind is StretchKind.THINKING)
        for s in stretches
        if s.kind is not StretchKind.LEFT_OUT
        and not only_delimiters(text[begins[s.start] : ends[s.stop - 1]])
    ]
