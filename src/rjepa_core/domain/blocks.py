"""Display mathematics, code and tables: stretches of text inside which no step may begin."""

from __future__ import annotations

import re

import attrs

_MATH = (
    "equation|align|alignat|aligned|alignedat|gather|gathered|multline|eqnarray|flalign|displaymath"
    "|math|split|cases|array|matrix|pmatrix|bmatrix|vmatrix|Bmatrix|Vmatrix|smallmatrix|tabular"
)
_FENCE = r"(?:`{3,}(?=[^`\n]*$)|~{3,})"
# At the start of a line, possibly in a quotation or a list.
FENCE = rf"^[ \t>]*(?:(?:[-*+]|\d{{1,3}}[.)])[ \t]+)?(?P<fence>{_FENCE})"
_OPENING = re.compile(
    rf"""
      {FENCE}
    | (?<!\\)(?P<bracket>\\\[)
    | (?<!\\)(?P<dollars>\$\$)
    | \\begin\{{(?P<name>(?:{_MATH})\*?)\}}
    | ^[ \t>]*(?P<table>(?=[^\n]*\|)\S[^\n]*\n(?=[^\n]*\|)(?=[^\n]*-)[ \t\r>|:-]+$)
    """,
    re.M | re.X,
)
_BRACKET = re.compile(r"(?<!\\)\\[\[\]]")
_DOLLARS = re.compile(r"(?<!\\)\$\$")
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
# What is not a step by itself: opening and closing delimiters, fences, tags.
_DELIMITER = re.compile(
    rf"""
      ^[ \t>]*{_FENCE}[ \t]*[\w+#-]*[ \t\r]*$
    | \\[][()]
    | \$\$?
    | \\(?:begin|end)\{{[^{{}}\n]*\}}
    | </?[A-Za-z][\w:.-]*[ ]?/?>
    | <\|[^|<>\n]*\|>
    | \[/?THINK\]
    | ◁/?think▷
    """,
    re.M | re.X,
)
_OPENS = re.compile(r"(?:\\\[|\\begin\{[^{}\n]*\}|<[A-Za-z][\w:.-]*>)\s*\Z")
_BRACE = re.compile(r"\\boxed[ ]?\{|\\.|[{}]", re.S)


@attrs.frozen
class TextBlock:
    """Display mathematics, a code block or a table.

    Attributes:
        start, stop: range of its characters, delimiters included.
        inner_start, inner_stop: range of those between the delimiters.
        closed: it ends with a delimiter, which is otherwise missing or was cut off.
    """

    start: int
    stop: int
    inner_start: int
    inner_stop: int
    closed: bool = True


def find_blocks(text: str, start: int, stop: int) -> list[TextBlock]:
    """Return the blocks in `text[start:stop]`, in order; blocks within a block are ignored."""
    blocks: list[TextBlock] = []
    position = start
    while (opening := _OPENING.search(text, position, stop)) is not None:
        blocks.append(_block(text, opening, stop))
        position = blocks[-1].stop
    return blocks


def _block(text: str, opening: re.Match[str], stop: int) -> TextBlock:
    kind = opening.lastgroup
    if kind == "fence":
        return fenced(text, opening, stop)
    if kind == "bracket":
        closing = _BRACKET.search(text, opening.end(), stop)
        matches = closing is not None and closing[0] == r"\]"
    elif kind == "dollars":
        closing = _DOLLARS.search(text, opening.end(), stop)
        matches = closing is not None and _is_pair(text, opening, closing, stop)
    elif kind == "name":
        closing = _end_of(text, opening["name"], opening.end(), stop)
        matches = closing is not None
    else:
        return _table(text, opening, stop)
    if closing is not None and matches:
        return TextBlock(opening.start(), closing.end(), opening.end(), closing.start())
    # Mathematics that is never closed ends with its paragraph.
    blank = _BLANK_LINE.search(text, opening.end(), stop)
    end = blank.start() if blank else stop
    return TextBlock(opening.start(), end, opening.end(), end, closed=False)


def fenced(text: str, opening: re.Match[str], stop: int) -> TextBlock:
    """Return the code block opened by a match of `FENCE`."""
    start, marks = opening.start("fence"), opening["fence"]
    line = text.find("\n", opening.end(), stop)
    inner = stop if line < 0 else line + 1
    closing = re.compile(rf"^[ \t>]*{marks[0]}{{{len(marks)},}}[ \t\r]*$", re.M)
    end = closing.search(text, inner, stop) if line >= 0 else None
    if end is None:
        return TextBlock(start, stop, inner, stop, closed=False)
    return TextBlock(start, end.end(), inner, end.start())


def _is_pair(text: str, opening: re.Match[str], closing: re.Match[str], stop: int) -> bool:
    """Return whether two `$$` belong together: a stray one must not swap the roles of the rest."""
    if not _BLANK_LINE.search(text, opening.end(), closing.start()):
        return True
    return all(_stands_alone(text, match, stop) for match in (opening, closing))


def _stands_alone(text: str, match: re.Match[str], stop: int) -> bool:
    before = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
    line = text.find("\n", match.end(), stop)
    after = text[match.end() : line if line >= 0 else stop]
    return not before.strip(" \t>") and not after.strip(" \t\r.,;")


def _end_of(text: str, name: str, position: int, stop: int) -> re.Match[str] | None:
    depth = 1
    for match in re.compile(rf"\\(begin|end)\{{{re.escape(name)}\}}").finditer(
        text, position, stop
    ):
        depth += 1 if match[1] == "begin" else -1
        if not depth:
            return match
    return None


def _table(text: str, opening: re.Match[str], stop: int) -> TextBlock:
    """Return a table: its header, its rule, and the following lines that contain bars."""
    start, end = opening.start("table"), opening.end()
    while end < stop:
        line = text.find("\n", end + 1, stop)
        following = line if line >= 0 else stop
        if "|" not in text[end:following]:
            break
        end = following
    return TextBlock(start, end, start, end)


def has_content(text: str) -> bool:
    """Return whether a text contains a letter or digit, apart from delimiters."""
    return any(character.isalnum() for character in _DELIMITER.sub("", text))


def only_delimiters(text: str) -> bool:
    """Return whether a text consists of delimiters and white space."""
    return not _DELIMITER.sub("", text).strip()


def opens_something(text: str) -> bool:
    """Return whether a text ends with an opening delimiter."""
    return _OPENS.search(text) is not None


def last_boxed(text: str) -> str | None:
    r"""Return the last complete `\boxed{…}`, nested braces included, or None."""
    boxed, last = None, -1
    open_braces: list[int] = []  # where a box begins, or -1 for any other brace
    for mark in _BRACE.finditer(text):
        if mark[0] == "}":
            start = open_braces.pop() if open_braces else -1
            if start > last and text[start : mark.start()].partition("{")[2].strip():
                boxed, last = text[start : mark.end()], start
        elif mark[0] == "{":
            open_braces.append(-1)
        elif mark[0].startswith(r"\boxed"):
            open_braces.append(mark.start())
    return boxed
