"""Turn an exception that ends a command into one line on stderr and an exit code."""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections.abc import Sequence

import click

from rjepa_core.extraction import report as endings
from rjepa_core.extraction.report import FAILED, INTERRUPTED, USAGE
from rjepa_core.text import shell_word, visible

from .program import program
from .streams import RED, lasting
from .wording import Wording


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
    say(text, head="error: ")
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


def say(text: str, head: str = "") -> None:
    """Write a line to stderr, with the command's name and perhaps a coloured word in front."""
    stream = lasting("stderr")
    stream.line("rjepa-cli: " + (stream.styled(head, RED) if head else "") + visible(text))


def resume_command(arguments: Sequence[str], command: str = "extract") -> str:
    """Return the command that continues where this one stopped, ready to be pasted."""
    words = [command, *arguments]
    words += [] if "--resume" in words else ["--resume"]
    return " ".join([program(), *map(shell_word, words)])
