"""Compares mathematics in a process of its own: `python -m rjepa_adapters.graders.algebra 5 1024`.

Started, fed and replaced by `workers`. The answers are untrusted, and sympy computes what they say:
a process ends itself by a signal once a pair has taken too long, whatever it is in the middle of.
Only LaTeX's grammar reads them; nothing is evaluated as Python.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import re
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rjepa_core.domain.grade import RIGHT, UNGRADED, WRONG

TIME = "time limit"
MEMORY = "memory limit"
DIED = "its process died"
# Instead of a verdict: the pair is to be sent once more.
AGAIN = "again"
UNREADABLE = "cannot be read"
UNDECIDED = "cannot be decided"
Answer = tuple[str, str]

# By the clock a pair may take so many times what it may take of the processor.
PATIENCE = 10.0
# Exit codes of a child, and what is said for one that a signal ended.
_NO_MORE, _RENEW = 0, 3
_ENDED_BY = {-signal.SIGPROF: TIME, -signal.SIGALRM: TIME, -signal.SIGKILL: MEMORY}
# sympy remembers what it has computed, until its process ends.
_MOST_PAIRS = 1000
_MAPPED = 2 * 2**30
# So that no pair pays for the tables of the grammar and of sympy.
_WARMING = (
    (r"\frac{1}{2}x^2 - 3.5 \cdot x", r"\sqrt{2} + (x-1)(x+1)"),
    (r"[1,2) \cup (3, \infty)", r"x \le 3"),
    (r"y = 2x + 1", r"\{1, \pi\}"),
    (r"\log_2 8", r"\sin \frac{30 \pi}{180}"),
    (r"(1, \frac{\pi}{2})", r"e^{2} + 3i"),
)

_BARE_PERCENT = re.compile(r"(?<!\\)%")
_EXPONENT = re.compile(r"(\d)[eE]([+-]?\d+)")
_POWER = re.compile(r"\^\s*(-?\d{2,}|-\d+)")
_POWER_OF_ALL = re.compile(r"\^\s*\(([^()]*)\)")
_DEGREES = re.compile(r"(\d+(?:\.\d+)?)\s*\^\\circ")
_TRIGONOMETRY = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)")
_ROOT = re.compile(r"(?<![\\a-z])sqrt\s*\(([^()]*)\)")
_NAMES = re.compile(r"(?<![\\A-Za-z])(pi|infinity|infty|oo|inf|sin|cos|tan|log|ln|exp)(?![A-Za-z])")
_SAME = {"infinity": "infty", "oo": "infty", "inf": "infty"}
_POINTS = (("7/3", "11/5"), ("13/7", "17/11"), ("3/19", "23/13"))


def as_latex(text: str) -> str:
    """A comparable text in the form that LaTeX's grammar reads as it was meant."""
    text = _BARE_PERCENT.sub(r"\\%", text.replace("$", " "))
    text = (
        text.replace("**", "^").replace("<=", r"\le ").replace(">=", r"\ge ").replace("!=", r"\ne ")
    )
    text = _EXPONENT.sub(r"\1 \\cdot 10^{\2}", text)
    text = _ROOT.sub(r"\\sqrt{\1}", text)
    text = _NAMES.sub(lambda found: "\\" + _SAME.get(found[1], found[1]) + " ", text)
    text = _POWER_OF_ALL.sub(r"^{\1}", _POWER.sub(r"^{\1}", text))
    if _TRIGONOMETRY.search(text):
        text = _DEGREES.sub(r"\\frac{\1\\pi}{180}", text)
    return text


def make_compare() -> Callable[[str, str], Answer]:
    """Import the library; what it gives compares two comparable texts."""
    logging.disable(logging.CRITICAL)
    from math_verify import parse, verify
    from math_verify.parser import LatexExtractionConfig

    config = [LatexExtractionConfig(boxed_match_priority=0)]

    def read(text: str) -> list[Any]:
        found: list[Any] = parse(
            f"\\boxed{{{as_latex(text)}}}", config, fallback_mode="no_fallback", parsing_timeout=0
        )
        return [one for one in found if not isinstance(one, str)]

    def compare(expected: str, answer: str) -> Answer:
        wanted, given = read(expected), read(answer)
        if not wanted or not given or _undefined(wanted[0]) or _undefined(given[0]):
            return UNGRADED, UNREADABLE
        if verify(
            wanted,
            given,
            timeout_seconds=0,
            raise_on_error=True,
            allow_set_relation_comp=True,
        ):
            return RIGHT, ""
        return _numerically(wanted[0], given[0])

    return compare


def _undefined(expression: Any) -> bool:
    """Whether it holds 0/0 or the like, which equals nothing."""
    from sympy import Basic, nan, zoo

    done = expression.doit() if isinstance(expression, Basic) else expression
    return bool(getattr(done, "has", lambda *_: False)(nan, zoo))


def _numerically(wanted: Any, given: Any) -> Answer:
    """Wrong, unless numbers say that the two are equal all the same."""
    from sympy import Eq, Expr, Rational, simplify

    if isinstance(wanted, Eq) and isinstance(given, Eq):
        # An equation and a multiple of it.
        ratio = simplify((wanted.lhs - wanted.rhs) / (given.lhs - given.rhs))
        return (RIGHT if ratio.is_number and ratio.is_nonzero else WRONG), ""
    if not (isinstance(wanted, Expr) and isinstance(given, Expr)):
        return WRONG, ""
    difference = (wanted - given).doit()
    symbols = sorted(difference.free_symbols, key=str)
    if len(symbols) > 2:
        return WRONG, ""
    for point in _POINTS:
        values = {s: Rational(v) for s, v in zip(symbols, point, strict=False)}
        found = difference.subs(values).evalf(30, chop=True)
        if not (found.is_number and abs(complex(found)) < 1e-20):
            return WRONG, ""
    return (UNGRADED, UNDECIDED) if symbols else (RIGHT, "")


def main(arguments: list[str]) -> None:
    """Answer a line of JSON with a line of JSON until there are no more.

    The library is imported once. What reads the answers are children of this process, one at a
    time: one that ends by a signal is replaced at once.
    """
    seconds, memory = float(arguments[0]), int(arguments[1]) * 2**20
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    compare = make_compare()
    for one, other in _WARMING:
        with suppress(Exception):
            compare(one, other)
    gc.freeze()
    _tell(answers, ["ready", ""])
    while True:
        child = os.fork()
        if not child:
            os._exit(_serve(compare, answers, seconds, memory))
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == _NO_MORE:
            return
        if code != _RENEW:
            _tell(answers, [UNGRADED, _ENDED_BY.get(code, DIED)])


def _serve(compare: Callable[[str, str], Answer], answers: Any, seconds: float, memory: int) -> int:
    """Answer lines; the exit code."""
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    with suppress(ValueError, OSError):
        # The address space of the libraries' own files is not counted.
        resource.setrlimit(resource.RLIMIT_AS, (memory + _MAPPED, memory + _MAPPED))
    for pairs in range(_MOST_PAIRS):
        line = _line()
        if not line:
            return _NO_MORE
        # Of the processor's time, so that a busy machine changes no verdict.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE * seconds)
        try:
            found = compare(*json.loads(line))
        except MemoryError:
            # What other pairs left behind is no fault of this one.
            _tell(answers, [UNGRADED, MEMORY] if pairs == 0 else [AGAIN, ""])
            return _RENEW
        except Exception:
            found = (UNGRADED, UNREADABLE)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _tell(answers, list(found))
    return _RENEW


def _line() -> bytes:
    """The next line; only one is ever on its way. Empty where there are no more."""
    line = b""
    while not line.endswith(b"\n"):
        read = os.read(0, 65536)
        if not read:
            return b""
        line += read
    return line


def _tell(stream: Any, line: list[str]) -> None:
    stream.write(json.dumps(line) + "\n")
    stream.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
