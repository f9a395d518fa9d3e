"""The suites themselves: pytest does not rewrite an installed package's assertions, so that every
check must say its promise, and every way to refuse must be checked with one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import rjepa_core.testing
from rjepa_core.testing.promises import close, raises

PLACE = Path(rjepa_core.testing.__file__).parent
SUITES = [p for p in sorted(PLACE.glob("*.py")) if "_suite" in p.name or "_case" in p.name]


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_every_check_says_its_promise(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assert):
            assert node.msg is not None, f"{path.name}:{node.lineno}: an assert without a message"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called != "pytest.raises", f"{path.name}:{node.lineno}: use promises.raises"
            assert "assert_" not in called or called.startswith(("assert_same", "self.")), (
                f"{path.name}:{node.lineno}: use promises.close"
            )


def test_there_are_suites() -> None:
    assert len(SUITES) >= 12


def test_raises() -> None:
    with raises(ValueError, "a promise", match="bad") as raised:
        raise ValueError("a bad thing")
    assert str(raised) == "a bad thing"
    with (
        pytest.raises(pytest.fail.Exception, match="a promise: ValueError was promised, and no"),
        raises(ValueError, "a promise"),
    ):
        pass
    with (
        pytest.raises(pytest.fail.Exception, match="a promise: its message has no 'good': 'bad'"),
        raises(ValueError, "a promise", match="good"),
    ):
        raise ValueError("bad")
    with (
        pytest.raises(AssertionError, match="a promise: KeyError was promised, not ValueError: x"),
        raises(KeyError, "a promise"),
    ):
        raise ValueError("x")


def test_close() -> None:
    close([1.0, 2.0], [1.0, 2.00001], "a promise", 1e-3)
    with pytest.raises(AssertionError, match="a promise"):
        close([1.0], [2.0], "a promise", 1e-3)
