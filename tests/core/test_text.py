"""Names that are no text are written such that a shell reads them."""

from __future__ import annotations

import os
import subprocess

import pytest

from rjepa_core.text import count, hanging, shell_word, shortened, table


@pytest.mark.parametrize(
    "name",
    [b"a", b"a b", b"it's", b"st\xffre", b"st\xff're\\x41", b"\x1b[31mred", "é \u202e".encode()],
)
def test_a_name_is_read_back(name: bytes) -> None:
    line = f"printf %s {shell_word(os.fsdecode(name))}"
    line.encode()
    assert "\x1b" not in line
    assert subprocess.run(["bash", "-c", line], capture_output=True).stdout == name


def test_what_can_be_shown_is_quoted_as_usual() -> None:
    assert shell_word("é b") == "'é b'"


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        (0, "step", "0 steps"),
        (1, "batch", "1 batch"),
        (2, "batch", "2 batches"),
        (3, "entry", "3 entries"),
        (1, "entry", "1 entry"),
        (2, "day", "2 days"),
        (3, "epoch", "3 epochs"),
        (2000, "hidden state", "2,000 hidden states"),
        (2, "loss", "2 losses"),
    ],
)
def test_a_count_agrees_with_its_noun(number: int, noun: str, said: str) -> None:
    assert count(number, noun) == said


def test_a_wide_table_stands_in_parts() -> None:
    rows = [["", "one", "two", "three"], ["a", "1", "22222", "3"], ["bb", "11", "2", "33"]]
    assert table(rows) == [
        "    one    two  three",
        "a     1  22222      3",
        "bb   11      2     33",
    ]
    assert table(rows, 14) == [
        *("    one    two", "a     1  22222", "bb   11      2"),
        *("    three", "a       3", "bb     33"),
    ]
    # One column is shown, however narrow the terminal is.
    assert len(table(rows, 3)) == 9


def test_a_long_line_goes_on_below_its_text() -> None:
    assert hanging("name    some words that go on and on", 30, 8) == [
        "name    some words that go on",
        "        and on",
    ]
    assert hanging("x " * 50, None, 2) == ["x " * 50]
    path = "name    /a/path/that/is/longer/than/the/line"
    assert hanging(path, 20, 8) == [path]


def test_a_long_name_loses_its_middle() -> None:
    assert shortened("short", 5) == "short"
    assert shortened("0123456789", 7) == "012…789"
