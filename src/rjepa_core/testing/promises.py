"""How the suites say which promise was broken.

The suites are read by whoever wrote the adapter, and pytest does not rewrite the assertions of an
installed package: every check carries its promise in words.
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
    """What a block raised; there once the block has ended."""

    error: BaseException | None = None

    def __str__(self) -> str:
        return str(self.error)


@contextmanager
def raises(errors: Errors, promise: str, match: str = "") -> Iterator[Raised]:
    """The block must raise one of `errors`, with a message in which `match` is found."""
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
    """Two arrays must agree within a tolerance."""
    __tracebackhide__ = True
    assert_allclose(found, wanted, rtol=relative, atol=absolute, err_msg=promise)
