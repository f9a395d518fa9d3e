"""Reference answers out of worked solutions, and the calculator notes inside them."""

from __future__ import annotations

import re

# No space inside, so that `cout << a; cin >> b` is left alone.
_NOTE = re.compile(r"<<[^<>\s]+>>")
_LAST_LINE = re.compile(
    r"[ \t*_]*(?:\#{4}|(?:(?:the\s+)?(?:final\s+)?answer|a)[*_]*\s*:[*_]*)\s*(?P<value>\S.*)", re.I
)
_BOXED = re.compile(r"\\f?boxed\s*(?=\{)|\\boxed\s+(?=\S)")
_SHORT_WORDS = 8


def drop_notes(text: str) -> str:
    """The text without `<<48/2=24>>` notes; what they annotate stays. Doing it twice is once."""
    while (shorter := _NOTE.sub("", text)) != text:
        text = shorter
    return text


def final_answer(solution: str) -> str | None:
    """The answer that a worked solution ends with.

    A last line `#### 24`, `A: 24` or `Answer: 24`; else the content of the last `\\boxed{…}`.
    """
    lines = solution.rstrip().rsplit("\n", 1)
    match = _LAST_LINE.fullmatch(lines[-1])
    if match:
        return boxed(match["value"]) or match["value"].strip(" \t*_")
    return boxed(solution)


def boxed(text: str) -> str | None:
    """Content of the last `\\boxed{…}`, braces balanced, or None."""
    found = None
    for match in _BOXED.finditer(text):
        content = _braced(text, match.end()) if text[match.end()] == "{" else None
        if content is None and text[match.end()] != "{":
            content = re.split(r"[\s$]", text[match.end() :], maxsplit=1)[0]
        if content is not None and content.strip():
            found = content.strip()
    return found


def _braced(text: str, start: int) -> str | None:
    """What stands between the brace at `start` and its partner; None if it has no partner."""
    depth, escaped = 0, False
    for i in range(start, len(text)):
        char = text[i]
        if not escaped and char in "{}":
            depth += 1 if char == "{" else -1
            if not depth:
                return text[start + 1 : i]
        escaped = char == "\\" and not escaped
    return None


def is_worked(answer: str) -> bool:
    """Whether an answer shows its way: several lines, a final-answer mark, or a whole sentence."""
    text = answer.strip()
    return "\n" in text or final_answer(text) is not None or len(text.split()) >= _SHORT_WORDS
