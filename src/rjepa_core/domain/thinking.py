"""Where a completion thinks, and where it answers."""

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
        start, stop: its characters; a thinking region's tags are among them.
        thinking: whether it is thinking, and not answer.
    """

    start: int
    stop: int
    thinking: bool


def opened_by(prompt: str) -> str | None:
    """The tag with which a prompt ends, as some chat templates do, so that thinking is on."""
    end = prompt.rstrip()
    return next((tag for tag in TAGS if end.endswith(tag)), None)


def find_regions(text: str, opened: str | None = None) -> list[Region]:
    """Thinking and answer in turn, all of the text.

    A closing tag that nothing in the text opens ends thinking that the prompt began. An opening
    tag that is never closed begins thinking up to the end, if it begins a line. Tags in a code
    block or between backticks are words about tags.

    Args:
        text: of the completion.
        opened: the tag that the prompt ends with, if any.
    """
    thinking: list[tuple[int, int]] = []
    position = 0
    if opened is not None:
        position = _behind(text, TAGS[opened], 0) or len(text)
        thinking.append((0, position))
    endless: set[str] = set()  # fences and tags of which no closing one follows
    while (mark := _MARK.search(text, position)) is not None:
        position = mark.end()
        if mark["fence"] and mark["fence"] not in endless:
            block = fenced(text, mark, len(text))
            if block.closed:
                position = block.stop
            else:
                endless.add(mark["fence"])
        elif mark["closing"] and not thinking:
            thinking.append((0, position))
        elif (tag := mark["opening"]) is not None:
            stop = None if tag in endless else _behind(text, TAGS[tag], position)
            if stop is None:
                endless.add(tag)
            if stop is not None or _begins_line(text, mark.start()):
                position = stop or len(text)
                thinking.append((mark.start(), position))
    found, position = [], 0
    for start, stop in thinking:
        found += [Region(position, start, thinking=False), Region(start, stop, thinking=True)]
        position = stop
    found.append(Region(position, len(text), thinking=False))
    return [one for one in found if one.start < one.stop]


def _behind(text: str, closing: str, position: int) -> int | None:
    found = text.find(closing, position)
    return found + len(closing) if found >= 0 else None


def _begins_line(text: str, position: int) -> bool:
    return not text[text.rfind("\n", 0, position) + 1 : position].strip()
