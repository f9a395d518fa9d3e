r"""The second rules for cutting completions into steps.

Thinking and answer are cut separately. Display mathematics, code and tables stay whole, and belong
to the sentence that they continue. Within the answer, items of numbered lists that are nested, or
under `Step 1:` headings, are not steps of their own. The final answer is a last line that holds
nothing else, or such a block that does not continue a sentence, and is then not a step; otherwise
the last `\boxed{…}` in a block.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import attrs

from .blocks import (
    TextBlock,
    find_blocks,
    has_content,
    last_boxed,
    only_delimiters,
    opens_something,
)
from .step_spans import Cut, Mark, StretchKind, place
from .text_units import INLINE_MARKER, find_lines, find_sentences, is_answer, skip_space
from .thinking import Region, find_regions
from .trace import Offsets

_MARKER = re.compile(
    r"""^(?P<indent>[ \t]*)(?:[#>\-*+]+[ \t]+)?[*_]{0,3}
    (?:(?P<named>step[ \t]*\#?\d{1,3}\b)|\d{1,3}[.)](?=\s|\*|$))""",
    re.I | re.M | re.X,
)
# Least indentation of a nested list.
_NESTED = 2
_BLANK_LINES = re.compile(r"\n[ \t\r]*\n\s*")
_SENTENCE_ENDED = re.compile(r"""[.!?…。！？]["'”’）」』)\]*_]*\Z""")


_THINKING_AUTO = ("paragraphs", "lines", "sentences")
_ANSWER_AUTO = ("markers", "lines", "sentences")


@attrs.frozen
class _Part:
    """A region without the white space at its ends, and the blocks in it."""

    start: int
    stop: int
    thinking: bool
    blocks: tuple[TextBlock, ...]

    @classmethod
    def of(cls, text: str, region: Region) -> _Part:
        stop = len(text[: region.stop].rstrip())
        start = skip_space(text, region.start, stop)
        return cls(start, stop, region.thinking, tuple(find_blocks(text, start, stop)))

    def block_at(self, position: int) -> TextBlock | None:
        """Return the block that contains the character at `position`, if any."""
        i = bisect.bisect_right(self.blocks, position, key=lambda block: block.start) - 1
        return self.blocks[i] if i >= 0 and position < self.blocks[i].stop else None


def cut(
    offsets: Offsets,
    text: str,
    strategy: str,
    *,
    finished: bool,
    keep_thinking: bool,
    opened: str | None,
) -> tuple[Cut, bool]:
    """Cut a completion into steps.

    Args:
        offsets: int32 [T, 2], characters of `text` that each token covers.
        text: of the completion.
        strategy: one of `STRATEGIES`.
        finished: false if the text was cut off, so that its last line is not taken for an answer.
        keep_thinking: whether thinking is cut into steps; otherwise it is left out.
        opened: the tag with which the prompt opened thinking, if it did.

    Returns:
        the cut, and whether its last step reaches the end of the text.
    """
    parts, marks = [], []
    for region in find_regions(text, opened):
        region_text = text[region.start : region.stop]
        if not only_delimiters(region_text):
            parts.append(_Part.of(text, region))
        elif region_text.strip():
            marks.append(Mark(region.start, StretchKind.LEFT_OUT))
    answer = None
    if parts and not parts[-1].thinking:
        stop, answer = _answer(text, parts[-1], finished)
        parts[-1] = attrs.evolve(parts[-1], stop=stop)
        marks.append(Mark(stop, StretchKind.LEFT_OUT))
    elif parts:
        marks.append(Mark(parts[-1].stop, StretchKind.LEFT_OUT))
    parts = [part for part in parts if part.start < part.stop]
    used = ""
    for thinking, auto in ((True, _THINKING_AUTO), (False, _ANSWER_AUTO)):
        of_kind = [part for part in parts if part.thinking is thinking]
        if thinking and not keep_thinking:
            marks += [Mark(part.start, StretchKind.LEFT_OUT) for part in of_kind]
        elif of_kind or not used:
            choices = auto if strategy == "auto" else (strategy,)
            positions, used = _starts(text, of_kind, choices)
            kind = StretchKind.THINKING if thinking else StretchKind.STEP
            marks += [Mark(position, kind) for position in positions]
    if not parts:
        return Cut((), (), answer, used), False
    marks.sort(key=lambda mark: mark.position)
    spans = place(offsets, text, marks)
    texts = [text[offsets[s.start][0] : offsets[s.stop - 1][1]] for s in spans]
    to_the_end = parts[-1].stop == len(text.rstrip()) and (keep_thinking or not parts[-1].thinking)
    return Cut(tuple(spans), tuple(texts), answer, used), to_the_end


def boxed_in_blocks(text: str) -> str | None:
    r"""Return the last `\boxed{…}` in display mathematics or code, if any."""
    return _boxed(text, find_blocks(text, 0, len(text)))


def _boxed(text: str, blocks: Sequence[TextBlock]) -> str | None:
    inner = (text[block.inner_start : block.inner_stop] for block in reversed(blocks))
    return next((boxed for boxed in map(last_boxed, inner) if boxed is not None), None)


def _answer(text: str, part: _Part, finished: bool) -> tuple[int, str | None]:
    """Return where the reasoning of the last part stops, and the final answer."""
    end = max(text.rfind("\n", part.start, part.stop), text.rfind("\r", part.start, part.stop))
    line = max(end + 1, part.start)
    block = part.blocks[-1] if part.blocks else None
    # Only a block that nothing but punctuation follows can be the answer.
    if block is not None and text[block.stop : part.stop].strip(" \t.,;*_"):
        block = None
    inner = text[block.inner_start : block.inner_stop].strip() if block is not None else ""
    if finished:
        bare = is_answer(text[line : part.stop] if block is None else inner)
        begin = line if block is None else block.start
        if bare and not (block is not None and _continues(text, part, begin)):
            stop = max(part.start, len(text[:begin].rstrip()))
            return stop, text[begin : part.stop].strip()
    boxed = _boxed(text, part.blocks)
    last = inner.rpartition("\n")[2].strip()
    if boxed is None and block is not None and (finished or block.closed) and is_answer(last):
        return part.stop, last
    return part.stop, boxed


def _starts(text: str, parts: Sequence[_Part], choices: Sequence[str]) -> tuple[list[int], str]:
    """Return where steps start in parts of one kind, and the first strategy that finds several."""
    for strategy in choices:
        by_part = [_part_starts(text, part, strategy) for part in parts]
        if sum(map(len, by_part)) >= 2:
            break
    # Text before a part's first step belongs to that step.
    starts = [[part.start, *own[1:]] for part, own in zip(parts, by_part, strict=True)]
    return [position for own in starts for position in own], strategy


def _part_starts(text: str, part: _Part, strategy: str) -> list[int]:
    """Return where steps start in a part: none inside a block, none of delimiters alone."""
    kept: list[int] = []
    for position in _FINDERS[strategy](text, part):
        block = part.block_at(position)
        if block is not None and block.start < position:
            continue
        if block and kept and strategy in _JOINING and _continues(text, part, position):
            continue
        kept.append(position)
    starts: list[int] = []
    opened = False  # the step so far is only a delimiter, and its content follows
    for start, stop in pairwise([*kept, part.stop]):
        stretch = text[start:stop]
        bare = not has_content(stretch)
        if opened:
            opened = bare
        elif not bare or not starts or opens_something(stretch):
            starts.append(start)
            opened = bare
    return starts


def _continues(text: str, part: _Part, position: int) -> bool:
    """Return whether the block at `position` continues the sentence before it."""
    before = text[part.start : position].rstrip()
    block = part.block_at(part.start + len(before) - 1)
    return bool(before) and block is None and not _SENTENCE_ENDED.search(before[-8:])


def _markers(text: str, part: _Part) -> list[int]:
    body = text[: part.stop]
    matches = _MARKER.finditer(body, part.start)
    outside = [m for m in matches if not part.block_at(m.end() - 1)]
    inline = [m.end() for m in INLINE_MARKER.finditer(body, part.start)]
    inline = [position for position in inline if not part.block_at(position)]
    named = [m for m in outside if m["named"]]
    if len(named) + len(inline) >= 2:
        # Under headings that say `Step`, bare numbers are list items.
        outside = named
    depths = [len(m["indent"].expandtabs()) for m in outside]
    starts = [skip_space(text, m.start(), part.stop) for m in outside]
    least = min(depths, default=0)
    top = [p for p, depth in zip(starts, depths, strict=True) if depth < least + _NESTED]
    return sorted({*top, *inline})


def _paragraphs(text: str, part: _Part) -> list[int]:
    blank = _BLANK_LINES.finditer(text[: part.stop], part.start)
    return [part.start, *(m.end() for m in blank)]


_FINDERS: dict[str, Callable[[str, _Part], list[int]]] = {
    "markers": _markers,
    "lines": lambda text, part: find_lines(text, part.start, part.stop),
    "sentences": lambda text, part: find_sentences(text, part.start, part.stop),
    "paragraphs": _paragraphs,
}
_JOINING = ("lines", "sentences")
