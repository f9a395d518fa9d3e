"""Tell a completion's thinking from its answer."""

from __future__ import annotations

import re

import attrs

from .blocks import FENCE, fenced

# As models write them, opening and closing.
TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
}
_MARK = re.compile(
    "{}|(?<!`)(?:(?P<opening>{})|(?P<closing>{}))(?!`)".format(
        FENCE, "|".join(map(re.escape, TAGS)), "|".join(map(re.escape, TAGS.values()))
    ),
    re.M,
)


@attrs.frozen
class Region:
    """A stretch of a completion.

    Attributes:
        start, stop: range of its characters; a thinking region includes its tags.
        thinking: whether it is thinking rather than answer.
    """

    start: int
    stop: int
    thinking: bool


def opened_by(prompt: str) -> str | None:
    """Return the tag with which a prompt ends, as some chat templates do to turn thinking on."""
    end = prompt.rstrip()
    return next((tag for tag in TAGS if end.endswith(tag)), None)


def find_regions(text: str, opened: str | None = None) -> list[Region]:
    """Return the regions of thinking and answer, which together cover the whole text.

    A closing tag without an opening one ends thinking that the prompt began. An opening tag that
    is never closed begins thinking up to the end, if it begins a line. Tags in a code block or
    between backticks are ordinary text.

    Args:
        text: of the completion.
        opened: the tag that the prompt ends with, if any.
    """
    thinking: list[tuple[int, int]] = []
    position = 0
    if opened is not None:
        position = _end_of_tag(text, TAGS[opened], 0) or len(text)
        thinking.append((0, position))
    unclosed: set[str] = set()  # fences and tags that no closing one follows
    while (mark := _MARK.search(text, position)) is not None:
        position = mark.end()
        if mark["fence"] and mark["fence"] not in unclosed:
            block = fenced(text, mark, len(text))
            if block.closed:
                position = block.stop
            else:
                unclosed.add(mark["fence"])
        elif mark["closing"] and not thinking:
            thinking.append((0, position))
        elif (tag := mark["opening"]) is not None:
            stop = None if tag in unclosed else _end_of_tag(text, TAGS[tag], position)
            if stop is None:
                unclosed.add(tag)
            if stop is not None or _begins_line(text, mark.start()):
                position = stop or len(text)
                thinking.append((mark.start(), position))
    regions, position = [], 0
    for start, stop in thinking:
        regions += [Region(position, start, thinking=False), Region(start, stop, thinking=True)]
        position = stop
    regions.append(Region(position, len(text), thinking=False))
    return [region for region in regions if region.start < region.stop]


def _end_of_tag(text: str, tag: str, position: int) -> int | None:
    start = text.find(tag, position)
    return start + len(tag) if start >= 0 else None


def _begins_line(text: str, position: int) -> bool:
    return not text[text.rfind("\n", 0, position) + 1 : position].strip()
