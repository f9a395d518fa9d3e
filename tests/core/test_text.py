"""Names that are no text are written such that a shell reads them."""

from __future__ import annotations

import os
import subprocess

import pytest

from rjepa_core.text import shell_word


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
