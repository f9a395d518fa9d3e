"""Steps as token ranges: cuts in a text move to the boundaries of its tokens."""

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
    """A completion in steps.

    Attributes:
        spans: S token ranges.
        texts: S texts, the completion's over each span's characters.
        answer: the final answer as it stands there, stripped, or None.
        strategy: what was used; for `auto`, what it chose.
    """

    spans: tuple[StepSpan, ...]
    texts: tuple[str, ...]
    answer: str | None
    strategy: str


def boundary(
    begins: Sequence[int], ends: Sequence[int], position: int, text: str | None = None
) -> int:
    """The first token boundary at or behind `position` that does not fall inside a character.

    With `text`, a token that is spaces and then the character at `position` counts as beginning
    there: most tokenizers write a word with the space before it, and a step's first word is its.
    """
    i = bisect.bisect_left(begins, position)
    if text is not None and i and ends[i - 1] > position:
        first = bisect.bisect_left(begins, begins[i - 1])  # tokens that share a character go along
        if not text[begins[first] : position].strip(" \t") and _is_free(begins, ends, first):
            return first
    while i < len(begins) and not _is_free(begins, ends, i):
        i += 1
    return i


def _is_free(begins: Sequence[int], ends: Sequence[int], i: int) -> bool:
    """Whether the boundary before token i falls between two characters."""
    return i == 0 or ends[i - 1] <= begins[i]


class StretchKind(enum.Enum):
    """What a stretch of a completion is."""

    STEP = "step"
    THINKING = "step of thinking"
    LEFT_OUT = "left out"


@attrs.frozen
class Mark:
    """Where a stretch begins, in characters; it goes up to the next mark."""

    position: int
    kind: StretchKind


@attrs.define
class _Stretch:
    """Tokens of one kind; bare if there is neither letter nor digit in them."""

    start: int
    stop: int
    kind: StretchKind
    bare: bool


def place(offsets: Offsets, text: str, marks: Sequence[Mark]) -> list[StepSpan]:
    """Move marks to token boundaries, and leave out steps that no token is left for.

    White space alone is no step: it stays with the step that it ends. What has neither letter nor
    digit is none either: it goes with a neighbour of its kind, or is left out if it is a delimiter.

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
            # A token that is partly left out is the step's, or the step would lose its text.
            bound = bisect.bisect_right(ends, mark.position)
        else:
            words = None if mark.kind is StretchKind.LEFT_OUT else text
            bound = boundary(begins, ends, mark.position, words)
        bounds.append(max(bounds[-1], bound))
    found: list[_Stretch] = []
    for mark, (start, stop) in zip(marks, pairwise(bounds), strict=False):
        if start == stop:
            continue
        words, kind = text[begins[start] : ends[stop - 1]], mark.kind
        last, bare = found[-1] if found else None, not has_content(words)
        blank = not words.strip() and kind is not StretchKind.LEFT_OUT
        if last and (blank or (last.kind is kind and (last.bare or bare))):
            last.stop, last.bare = stop, last.bare and bare
        else:
            found.append(_Stretch(start, stop, kind, bare))
    return [
        StepSpan(one.start, one.stop, thinking=one.kind is StretchKind.THINKING)
        for one in found
        if one.kind is not StretchKind.LEFT_OUT
        and not only_delimiters(text[begins[one.start] : ends[one.stop - 1]])
    ]
