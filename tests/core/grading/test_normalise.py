"""Answers as texts that can be compared."""

from __future__ import annotations

import pytest

from rjepa_core.grading.normalise import comparable, same_text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (" $18$. ", "18"),
        ("\\( \\text{18 eggs} \\)", "18 eggs"),
        ("**18**", "18"),
        ("１８", "18"),
        ("١٨", "18"),
        ("1\u200b8", "18"),
        ("−5", "-5"),
        ("5²", "5^{2}"),
        ("3½", "3 1/2"),
        ("90°", "90^\\circ"),
        ("90^{\\circ}", "90^\\circ"),
        ("\\dfrac12", "\\frac{1}{2}"),
        ("\\left( 1, 2 \\right]", "( 1, 2 ]"),
        ("1{,}234\\,567", "1,234,567"),
        ("5\\%", "5%"),
        ("12 \\text{ cm}^2", "12 cm^2"),
        ("\\begin{pmatrix}1\\\\ 2\\end{pmatrix}", "\\begin{pmatrix}1\\\\ 2\\end{pmatrix}"),
        ("a   b\n c", "a b c"),
        (".5", ".5"),
        ("$$", "$$"),
        ("", ""),
    ],
)
def test_comparable(text: str, plain: str) -> None:
    assert comparable(text) == plain
    assert comparable(plain) == plain


def test_capitals_count_in_mathematics_alone() -> None:
    assert same_text("None of these", "none of these")
    assert not same_text("x", "X")
    assert not same_text("\\frac{a}{2}", "\\frac{A}{2}")
    assert same_text("\\frac{a}{2} + 1", "\\frac{a}{2}+1")
