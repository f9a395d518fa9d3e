"""Turn an exception that ends a command into one line on stderr and an exit code."""

from __future__ import annotations

import re
import sys
import tempfile
import traceback
from collections.abc import Iterable, Mapping

import click

from rjepa_core.extraction import report as endings
from rjepa_core.extraction.report import FAILED, INTERRUPTED, USAGE
from rjepa_core.text import visible

from .streams import lasting


class InterruptedRunError(Exception):
    """Ctrl-C or SIGTERM ended a command; the message says what was done."""


def exit_code(
    error: BaseException, wording: Wording, debug: bool = False, resumable: bool = False
) -> int:
    """Report an error on stderr and return the exit code.

    Args:
        error: what ended the command.
        wording: adds the flags of the settings that the error names.
        debug: show the traceback.
        resumable: whether the command has `--resume`.
    """
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else FAILED
    if debug and not isinstance(error, click.ClickException):
        shown = "".join(traceback.format_exception(error)).rstrip()
        lasting("stderr").line(visible(shown, keep="\n\t"))
    if isinstance(error, InterruptedRunError | KeyboardInterrupt | click.Abort):
        say(str(error) or "interrupted")
        return INTERRUPTED
    text, code = explain(error, resumable, wording)
    if text is None:
        where = "above" if debug else _keep_traceback(error)
        text = f"unexpected {_first_line(error)}; the traceback is {where}"
    say(f"error: {text}")
    return code


def explain(
    error: BaseException, resumable: bool = False, wording: Wording | None = None
) -> tuple[str | None, int]:
    """Return the text and exit code of an error; the text is None for an unexpected one."""
    if isinstance(error, click.ClickException):
        return _usage(error), USAGE
    text, code = endings.explain(error, resumable)
    if text is not None:
        text = wording(text) if wording is not None else text
        if resumable:
            text = text.replace("resume the run", "continue with --resume")
    return text, code


def _usage(error: click.ClickException) -> str:
    text = error.format_message().strip().rstrip(".")
    if isinstance(error, click.NoSuchOption):
        text = f"no such option: {error.option_name}"
        if error.possibilities:
            text += f"; did you mean {error.possibilities[0]}?"
    text = text[:1].lower() + text[1:]
    ctx = getattr(error, "ctx", None)
    return f"{text} (see {ctx.command_path} --help)" if ctx is not None else text


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _keep_traceback(error: BaseException) -> str:
    """Write the traceback to a file, or to stderr if that fails; return where it is."""
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="rjepa-cli-",
            suffix=".log",
            delete=False,
            encoding="utf-8",
            errors="backslashreplace",
        ) as file:
            file.write(" ".join(sys.argv) + "\n\n")
            traceback.print_exception(error, file=file)
    except OSError:
        traceback.print_exception(error)
        return "above"
    return f"in {file.name} (or use --debug)"


def say(text: str) -> None:
    """Write a line to stderr, with the command's name in front."""
    lasting("stderr").line("rjepa-cli: " + visible(text))


# Commands for what messages advise.
_ADVICE = {
    "repair the store": "rjepa-cli store repair STORE NEW_STORE",
    "verify the store": "rjepa-cli store verify STORE",
    "see the plugins": "rjepa-cli plugins",
}
_LEADING = re.compile(r"(\w+(?:\.[\w-]+)*)(?:\[\d+\])?: ")
_VALUE = r"'[^']*'|[^\s,;:()']+(?:,[^\s,;:()']+)*"


class Wording:
    """Adds a command's flags to messages that name settings; at first it knows none."""

    def __init__(self) -> None:
        self._flags: dict[str, str] = {}
        self._origins: dict[str, str] = {}

    def learn(self, flags: Mapping[str, str], origins: Mapping[str, str] | None = None) -> None:
        """Add flags by the full keys of their settings, and the origins of values."""
        self._flags.update(flags)
        self._origins.update(origins or {})

    def __call__(self, text: str) -> str:
        """Return the message with flags added after the settings that have one.

        A setting at the beginning of a message, as in one about an invalid value, gets the origin
        of its value instead: `model.dtype (run.yaml, line 3): …`.
        """
        head, seen = "", set()
        if found := _LEADING.match(text):
            key, named = found[1], found[0].removesuffix(": ")
            if origin := self._origin(key):
                head, text, seen = f"{named} ({origin}): ", text[found.end() :], {key}
        return head + self._with_flags(text, seen)

    def _origin(self, key: str) -> str | None:
        if known := self._origins.get(key) or self._flags.get(key):
            return known
        parent = key.rpartition(".")[0]
        below = (origin for k, origin in self._origins.items() if k.startswith(f"{key}."))
        return self._origins.get(parent) or next(below, None) or self._flags.get(parent)

    def replaced(self, text: str) -> str:
        """Return the text with flags in place of the settings, for advice to be pasted."""

        def flag(found: re.Match[str]) -> str:
            return self._flag(found) if found[3] else self._flags[found[1]]

        return _pattern(self._flags).sub(flag, text)

    def _with_flags(self, text: str, seen: set[str]) -> str:
        names = self._flags | _ADVICE

        def flagged(found: re.Match[str]) -> str:
            whole, key = found[0], found[1]
            if found[3]:
                return f"{whole} ({self._flag(found)})"
            if key in seen:
                return whole
            seen.add(key)
            inside = text[: found.start()].endswith("(") and text[found.end() :].startswith(")")
            return f"{whole}, {names[key]}" if inside else f"{whole} ({names[key]})"

        return _pattern(names).sub(flagged, text)

    def _flag(self, found: re.Match[str]) -> str:
        """Return the flag with the value that a message gives the setting."""
        key, entry, value = found.groups()
        return f"{self._flags[key]} {f'{entry}=' if entry else ''}{value}"


def _pattern(names: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern for any of the settings; its groups are setting, entry and value."""
    keys = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    setting = rf"(?<![\w./-])({keys or '(?!)'})(?:\.(\w+)(?==))?"
    return re.compile(rf"{setting}(?:=({_VALUE})|(?![\w/-]|\.\w| \(-))")


def wording(context: click.Context | None = None) -> Wording:
    """Return the wording of the running command."""
    context = context or click.get_current_context(silent=True)
    found = context.find_object(Wording) if context is not None else None
    return found or Wording()
