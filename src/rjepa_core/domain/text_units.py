"""Find lines, sentences, markers and final answers in a text, for both rules of cutting.

Stores that were cut by the first rules rely on them: what they return must never change. A better
way to find something is a new function for newer rules.
"""

from __future__ import annotations

import re

_NUMBERED = r"(?:step[ \t]*\#?\d{1,3}\b|\d{1,3}[.)](?=\s|\*|$))"
# At the start of a line, possibly after a heading, quote, bullet or emphasis mark: `## Step 3`.
LINE_MARKER = re.compile(rf"^[ \t]*(?:[#>\-*+]+[ \t]+)?[*_]{{0,3}}{_NUMBERED}", re.I | re.M)
# In running text a step is announced only after the end of a sentence, and with a colon.
INLINE_MARKER = re.compile(
    r"(?<=[.!?:;。！？])[ \t]+(?=[*_]{0,3}step[ \t]*\d{1,3}[*_]{0,3}:)", re.I
)
_LINE = re.compile(r"^.*\S.*$", re.M)
_SENTENCE_END = re.compile(r"""[.!?…]+["'”’)\]*]*(?=\s)|[。！？]+["'”’）」』]*|\n""")
# A full stop that does not end a sentence: title, abbreviation, initial, list number.
_NO_END = re.compile(
    r"(?:(?:^|[\s(])(?:(?i:mr|mrs|ms|dr|prof|st|vs|e\.g|i\.e|cf|eq|fig|approx|resp)|[A-Z])|^\s*\d{1,3})\.$"
)
_LABEL = r"(?:the[ \t]+)?(?:final[ \t]+)?answer|ans|a"
_ANSWER = re.compile(
    rf"""[ \t]*(?:[-*>][ \t]+)?[*_$]{{0,4}}(?:
        \#\#\#\#[ \t]*(?P<hashes>\S.*)
      | (?:{_LABEL})[*_]{{0,3}}[ \t]*:[*_]{{0,3}}[ \t]*(?P<label>\S.*)
      | (?:\\\(|\\\[)?[ \t]*\\boxed\{{(?P<boxed>.+)\}}[ \t]*(?:\\\)|\\\])?
    )""",
    re.I | re.X,
)
# A longer labelled line continues the reasoning ("Answer: she has 3 left. Then …") and is a step.
_BARE_LENGTH = 60


def is_answer(line: str) -> bool:
    """Return whether a line is a bare final answer."""
    match = _ANSWER.fullmatch(line.rstrip("*_$ \t."))
    if match is None:
        return False
    value = match["label"] or match["hashes"]
    if value is None:
        return True
    prose = len(value) > _BARE_LENGTH or re.search(r"[.!?]\s", value)
    return not prose and not LINE_MARKER.match(value)


def find_lines(text: str, start: int, stop: int) -> list[int]:
    """Return where the lines that are not blank begin."""
    return [skip_space(text, m.start(), stop) for m in _LINE.finditer(text[:stop], start)]


# No match of `_NO_END` is longer than this.
_LONGEST_ABBREVIATION = 16


def find_sentences(text: str, start: int, stop: int) -> list[int]:
    """Return where sentences begin."""
    positions = [start] if start < stop else []
    for match in _SENTENCE_END.finditer(text[:stop], start):
        ending = text[max(positions[-1], match.end() - _LONGEST_ABBREVIATION) : match.end()]
        following = skip_space(text, match.end(), stop)
        if following < stop and not _NO_END.search(ending) and following > positions[-1]:
            positions.append(following)
    return positions


def skip_space(text: str, position: int, stop: int) -> int:
    """Return the position of the first character from `position` on that is not white space."""
    while position < stop and text[position].isspace():
        position += 1
    return position
