"""How a run may end: the exit codes, what an error says, and whether another try may help."""

from __future__ import annotations

import errno

from .errors import ProblemsFailedError, RJepaError, UsageError
from .extraction import Ending
from .prepared import Summary
from .run_report import in_memory
from .settings import ExtractionSettings
from .showing import command_line

DONE, FAILED, USAGE, PROBLEMS_FAILED, STOPPED, INTERRUPTED = 0, 1, 2, 3, 4, 130


def exit_code(summary: Summary, allowed: float) -> int:
    """0, 3 or 4, as an extraction's summary and the share of failures allowed say."""
    if summary.ending is Ending.STOPPED:
        return STOPPED
    if summary.failed_in_store > allowed * summary.survey.work:
        return PROBLEMS_FAILED
    return DONE


def too_many_failed(summary: Summary, settings: ExtractionSettings) -> str:
    """What there is to say where the exit code is 3."""
    see = ""
    if not in_memory(settings.store):
        see = f"; see: rjepa-cli show {command_line([settings.store.path])} --failures"
    return (
        f"{summary.failed_in_store} of {summary.survey.work} failed, more than "
        f"--allow-failures {settings.run.allow_failures * 100:g}%{see}"
    )


def explain(error: BaseException, resumable: bool = False) -> tuple[str | None, int]:
    """Text and exit code of an error that a user can meet; no text for an unexpected one.

    Args:
        resumable: what ended can be gone on with.
    """
    onward = "go on with --resume" if resumable else "try again"
    if isinstance(error, UsageError):
        return str(error), USAGE
    if isinstance(error, ProblemsFailedError):
        return str(error), PROBLEMS_FAILED
    if isinstance(error, RJepaError):
        return str(error), FAILED
    if isinstance(error, MemoryError):
        if not resumable:
            return (
                "out of memory: end other processes or use a smaller model, and try again",
                FAILED,
            )
        return (
            "out of memory: use a smaller --batch-size, a smaller model, or another --device; "
            "what was finished is kept, go on with --resume",
            FAILED,
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = f" ({error.filename})" if error.filename else ""
        return f"the disk is full{place}: make room and {onward}", FAILED
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}", FAILED
    return None, FAILED


def may_pass(error: BaseException) -> bool:
    """Whether the same run may succeed when it is tried again: what ended it has exit code 1."""
    return isinstance(error, Exception) and explain(error)[1] == FAILED
