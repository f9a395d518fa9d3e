"""The final answer that a text gives: of a completion, of a worked solution, of a reference.

What stands here is the answer as it was written, without the words and marks around it; whether two
of them are equal is a grader's to say.
"""

from __future__ import annotations

import re

from .thinking import find_regions, opened_by
from .trace import Trace

_MARK = r"[ \t>*_-]*+(?:\#{4}|(?:(?:the\s+)?(?:final\s+)?(?:answer|ans)|a)[*_]*+\s*+:[*_]*+)"
_LABELLED = re.compile(rf"{_MARK}[ \t]*+(?P<value>\S[^\n]*)", re.I)
_LABELLED_LINE = re.compile(rf"^{_LABELLED.pattern}$", re.I | re.M)
_PROSE = re.compile(
    r"\banswer(?:[ \t]+to[^\n.?!:]{1,80}?)?[ \t]+(?:is|was|equals|would[ \t]+be|will[ \t]+be)\b"
    r"[ \t]*+:?[*_]*+\s*+(?P<value>\S[^\n]*)",
    re.I,
)
_SENTENCE_END = re.compile(r"[.!?]['\"”’)*_]*(?=\s|\Z)")
# What follows says why.
_CLAUSE = re.compile(r",?[*_]*\s+(?:because|since|which|so that)\b", re.I)
_BRACES = re.compile(
    r"(?P<box>\\(?:boxed|fbox|fboxed)\s*\{)|\\boxed\s+(?P<word>[^\s${}]+)|\\.|[{}]", re.S
)
_AROUND = " \t\r\n*_"


def answer_of(trace: Trace) -> str | None:
    """The final answer of a trace, None where it gives none.

    Thinking gives none, and of a completion that was cut off its last sentence does not.
    """
    if trace.answer is not None:
        return final_answer(trace.answer) or trace.answer.strip(_AROUND) or None
    text = trace.completion
    given = trace.finish_reason == "given"
    regions = find_regions(text, None if given else opened_by(trace.prompt_text))
    if not regions or regions[-1].thinking:
        return None
    text = text[regions[-1].start : regions[-1].stop]
    if trace.finish_reason == "length" and not text.endswith("\n"):
        # A box that was closed is whole all the same.
        return final_answer(text[: _last_end(text)]) or boxed(text)
    return final_answer(text)


def reference_answer(answer: str | None) -> str | None:
    """A problem's reference answer as it is compared, None where there is none."""
    if answer is None or not answer.strip():
        return None
    return final_answer(answer) or answer.strip()


def final_answer(text: str) -> str | None:
    """The answer that a completion or a worked solution gives, None where it gives none.

    A last line `#### 24`, `A: 24` or `Answer: 24`; else the content of the last `\\boxed{…}`; else
    the last such line, or the last `the answer is 24`, anywhere.
    """
    found = marked_answer(text)
    if found is not None:
        return found
    marks = [*_LABELLED_LINE.finditer(text)][-1:] + [*_PROSE.finditer(text)][-1:]
    if not marks:
        return None
    last = max(marks, key=lambda mark: mark.start())
    if last.re is _PROSE:
        return _in_prose(text[last.start() :])
    return last["value"].strip(_AROUND) or None


def marked_answer(text: str) -> str | None:
    """The answer that a text marks at its end: a last line `#### 24`, or the last `\\boxed{…}`."""
    text = text.rstrip()
    match = _LABELLED.fullmatch(text.rpartition("\n")[2])
    if match:
        value = match["value"]
        return boxed(value) or _in_prose(value) or value.strip(_AROUND)
    return boxed(text)


def boxed(text: str) -> str | None:
    """Content of the last `\\boxed{…}`, braces balanced, or None."""
    found, last = None, -1
    open_braces: list[
        tuple[int, int]
    ] = []  # where a box and its content begin; -1 for other braces
    for token in _BRACES.finditer(text):
        content, start = None, token.start()
        if token["box"]:
            open_braces.append((start, token.end()))
        elif token[0] == "{":
            open_braces.append((-1, 0))
        elif token[0] == "}" and open_braces:
            start, begins = open_braces.pop()
            content = text[begins : token.start()].strip()
        elif token["word"]:
            content = token["word"]
        if content and start > last:
            found, last = content, start
    return found


def _in_prose(text: str) -> str | None:
    """What `the answer is 24` says last, up to the end of its sentence."""
    value = None
    for found in _PROSE.finditer(text):
        value = found["value"]
        for end in (_SENTENCE_END, _CLAUSE):
            if stop := end.search(value):
                value = value[: stop.start()]
    return (value or "").strip(_AROUND) or None


def _last_end(text: str) -> int:
    """Where the last whole sentence or line ends."""
    ends = [end.end() for end in _SENTENCE_END.finditer(text) if end.end() < len(text)]
    return max(text.rfind("\n") + 1, *ends[-1:], 0)
