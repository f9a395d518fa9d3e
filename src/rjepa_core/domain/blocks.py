"""Display mathematics, code and tables: stretches of a text that no step may begin inside of."""

from __future__ import annotations

import re

import attrs

_MATH = (
    "equation|align|alignat|aligned|alignedat|gather|gathered|multline|eqnarray|flalign|displaymath"
    "|math|split|cases|array|matrix|pmatrix|bmatrix|vmatrix|Bmatrix|Vmatrix|smallmatrix|tabular"
)
_FENCE = r"(?:`{3,}(?=[^`\n]*$)|~{3,})"
# At the beginning of a line, perhaps in a quotation or a list.
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
# What alone is no step: opening and closing delimiters, fences, tags.
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
        start, stop: its characters, delimiters included.
        inner_start, inner_stop: those between the delimiters.
        closed: it ends with a delimiter; otherwise it was cut off, or somebody forgot it.
    """

    start: int
    stop: int
    inner_start: int
    inner_stop: int
    closed: bool = True


def find_blocks(text: str, start: int, stop: int) -> list[TextBlock]:
    """The blocks in `text[start:stop]`, in order; what is inside of one is not looked at."""
    found = []
    position = start
    while (opening := _OPENING.search(text, position, stop)) is not None:
        found.append(_block(text, opening, stop))
        position = found[-1].stop
    return found


def _block(text: str, opening: re.Match[str], stop: int) -> TextBlock:
    kind = opening.lastgroup
    if kind == "fence":
        return fenced(text, opening, stop)
    if kind == "bracket":
        closing = _BRACKET.search(text, opening.end(), stop)
        good = closing is not None and closing[0] == r"\]"
    elif kind == "dollars":
        closing = _DOLLARS.search(text, opening.end(), stop)
        good = closing is not None and _is_pair(text, opening, closing, stop)
    elif kind == "name":
        closing = _end_of(text, opening["name"], opening.end(), stop)
        good = closing is not None
    else:
        return _table(text, opening, stop)
    if closing is not None and good:
        return TextBlock(opening.start(), closing.end(), opening.end(), closing.start())
    # Mathematics without an end goes no further than its paragraph.
    blank = _BLANK_LINE.search(text, opening.end(), stop)
    end = blank.start() if blank else stop
    return TextBlock(opening.start(), end, opening.end(), end, closed=False)


def fenced(text: str, opening: re.Match[str], stop: int) -> TextBlock:
    """The code block that a match of `FENCE` opens."""
    start, marks = opening.start("fence"), opening["fence"]
    line = text.find("\n", opening.end(), stop)
    inner = stop if line < 0 else line + 1
    closing = re.compile(rf"^[ \t>]*{marks[0]}{{{len(marks)},}}[ \t\r]*$", re.M)
    end = closing.search(text, inner, stop) if line >= 0 else None
    if end is None:
        return TextBlock(start, stop, inner, stop, closed=False)
    return TextBlock(start, end.end(), inner, end.start())


def _is_pair(text: str, opening: re.Match[str], closing: re.Match[str], stop: int) -> bool:
    """Whether the two `$$` belong together: one too many must not turn the others around."""
    if not _BLANK_LINE.search(text, opening.end(), closing.start()):
        return True
    return all(_stands_alone(text, one, stop) for one in (opening, closing))


def _stands_alone(text: str, found: re.Match[str], stop: int) -> bool:
    before = text[text.rfind("\n", 0, found.start()) + 1 : found.start()]
    line = text.find("\n", found.end(), stop)
    after = text[found.end() : line if line >= 0 else stop]
    return not before.strip(" \t>") and not after.strip(" \t\r.,;")


def _end_of(text: str, name: str, position: int, stop: int) -> re.Match[str] | None:
    depth = 1
    for found in re.compile(rf"\\(begin|end)\{{{re.escape(name)}\}}").finditer(
        text, position, stop
    ):
        depth += 1 if found[1] == "begin" else -1
        if not depth:
            return found
    return None


def _table(text: str, opening: re.Match[str], stop: int) -> TextBlock:
    """A header, a rule, and all lines with bars behind them."""
    start, end = opening.start("table"), opening.end()
    while end < stop:
        line = text.find("\n", end + 1, stop)
        following = line if line >= 0 else stop
        if "|" not in text[end:following]:
            break
        end = following
    return TextBlock(start, end, start, end)


def has_content(text: str) -> bool:
    """Whether there is a letter or a digit in it, delimiters aside."""
    return any(character.isalnum() for character in _DELIMITER.sub("", text))


def only_delimiters(text: str) -> bool:
    """Whether there is nothing in it but delimiters and white space."""
    return not _DELIMITER.sub("", text).strip()


def opens_something(text: str) -> bool:
    """Whether it ends by opening what is closed later on."""
    return _OPENS.search(text) is not None


def last_boxed(text: str) -> str | None:
    r"""The last whole `\\boxed{…}`, nested braces included; None where there is none."""
    found, last = None, -1
    open_braces: list[int] = []  # where a box begins, or -1 for any other brace
    for mark in _BRACE.finditer(text):
        if mark[0] == "}":
            start = open_braces.pop() if open_braces else -1
            if start > last and text[start : mark.start()].partition("{")[2].strip():
                found, last = text[start : mark.end()], start
        elif mark[0] == "{":
            open_braces.append(-1)
        elif mark[0].startswith(r"\boxed"):
            open_braces.append(mark.start())
    return found
