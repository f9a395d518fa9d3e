"""Checks that name the broken promise, for the contract suites.

Failures are read by the author of an adapter, and pytest does not rewrite the assertions of an
installed package, so every check states its promise in words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import pytest
from numpy.testing import assert_allclose

Errors = type[BaseException] | tuple[type[BaseException], ...]


@attrs.define
class Raised:
    """What a block raised, known after the block has ended."""

    error: BaseException | None = None

    def __str__(self) -> str:
        return str(self.error)


@contextmanager
def raises(errors: Errors, promise: str, match: str = "") -> Iterator[Raised]:
    """Fail unless the block raises one of `errors` with a message that matches `match`."""
    raised = Raised()
    names = " or ".join(e.__name__ for e in (errors if isinstance(errors, tuple) else (errors,)))
    try:
        yield raised
    except errors as error:
        raised.error = error
        if not re.search(match, str(error)):
            pytest.fail(f"{promise}: its message has no {match!r}: {str(error)!r}")
        return
    except Exception as error:
        raise AssertionError(
            f"{promise}: {names} was promised, not {type(error).__name__}: {error}"
        ) from error
    pytest.fail(f"{promise}: {names} was promised, and nothing was raised")


def close(found: Any, wanted: Any, promise: str, relative: float, absolute: float = 0.0) -> None:
    """Fail unless two arrays agree within a tolerance."""
    __tracebackhide__ = True
    assert_allclose(found, wanted, rtol=relative, atol=absolute, err_msg=promise)
