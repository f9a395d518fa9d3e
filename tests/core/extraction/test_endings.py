"""How a run may end: the exit code of each error, and whether another try may help."""

from __future__ import annotations

import errno

import pytest

from rjepa_core import errors
from rjepa_core.extraction.report import explain, may_pass

PASSING: list[BaseException] = [
    errors.RJepaError("x"),
    errors.DiskFullError("x"),
    errors.StoreGoneError("x"),
    errors.BackendError("x"),
    errors.OutOfMemoryError("x"),
    errors.PluginError("x"),
    MemoryError(),
    OSError(errno.ENOSPC, "No space left on device", "/data/x"),
    ZeroDivisionError("x"),
]
LASTING: list[tuple[BaseException, int]] = [
    (errors.UsageError("x"), 2),
    (errors.InputError("x"), 2),
    (errors.SettingsError("x"), 2),
    (errors.StoreExistsError("x"), 2),
    (errors.StoreLockedError("x"), 2),
    (errors.NoRoomError("x"), 2),
    (errors.IncompatiblePluginError("x"), 2),
    (errors.ProblemsFailedError("x"), 3),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda e: type(e).__name__)
def test_another_try_may_help(error: BaseException) -> None:
    assert explain(error)[1] == 1
    assert may_pass(error)


@pytest.mark.parametrize(("error", "code"), LASTING, ids=lambda e: type(e).__name__)
def test_another_try_would_not(error: BaseException, code: int) -> None:
    assert explain(error) == ("x", code)
    assert not may_pass(error)


def test_an_interrupt_is_not_tried_again() -> None:
    assert not may_pass(KeyboardInterrupt())
    assert not may_pass(SystemExit(1))
