"""Written equations: what is read, what is true, and how another number is written."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rjepa_core.evaluation.corruption import false_equations
from rjepa_core.evaluation.corruption.equations import read_step

SHARED = Path(__file__).parents[5] / "shared" / "data"


@pytest.mark.parametrize(
    "text",
    [
        "Natalia sold 48/2 = 24 clips in May.",
        "Josh has $20 - $10 = $10",
        "In total 1,148 x 10 = 11,480",
        "7 stickers/page * 6 pages= 42 stickers",
        "The fee is 5000*.1=$500 per week",
        "20% of $50 = $10",
        "A share of 3/8 x $200 = $75.",
        "That is 12 × (2 + 3) = 60 and (50-40)mph = 10mph",
        "She paid 100% - 25% = 75% of it",
        "They missed 3 / 12 = 25% of them",
        "In 2 weeks a total of 3 x 4 = 12 cups",
        "Emir needs $21 − $19 = $2.",
        "Each gets 100 / 3 = 33.33 dollars",
        "Her 15-year-old t-shirt: 15-1=14",
        "1/2 of 30 = 15",
    ],
)
def test_true_equations(text: str) -> None:
    step = read_step(text)
    assert step.equations
    assert all(equation.true for equation in step.equations)
    assert not step.unread
    assert false_equations(text) == 0


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("48/2 = 25", 1),
        ("He has 3 cats. 2 + 2 = 5, and 5 - 1 = 3", 2),
        ("5 x 3 = 15 and 15 - 1 = 13", 1),
        ("Each gets 100 / 3 = 33.4 dollars", 1),
        ("nothing is claimed", 0),
        ("x = 7, Purple = 5", 0),
        ("11 missing = 11 remaining", 0),
    ],
)
def test_false_equations(text: str, number: int) -> None:
    assert false_equations(text) == number


@pytest.mark.parametrize(
    "text", ["5x/6 = 1200 grams", "6/6 - 1/6 = 5/6", "E + E - 5 = 37", "12 x (2+3) = 12 x 5"]
)
def test_what_cannot_be_read_is_not_false(text: str) -> None:
    step = read_step(text)
    assert false_equations(text) + step.unread == 1


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("$1,148", 2000, "2,000"),
        ("$5.00", Fraction(13, 2), "6.50"),
        ("2.5 cups", Fraction(7, 4), "1.75"),
        ("24", Fraction(5, 2), None),
        (".20", Fraction(1, 4), ".25"),
        ("20%", Fraction(1, 4), "25%"),
        ("0.2", Fraction(1, 3), None),
        ("7", -1, None),
    ],
)
def test_another_value_is_written_as_the_number_was(
    text: str, value: int | Fraction, expected: str | None
) -> None:
    (number,) = read_step(text).numbers
    assert number.written(Fraction(value)) == expected


@given(
    st.integers(1, 9999),
    st.lists(st.tuples(st.sampled_from("+-*/"), st.integers(1, 99)), min_size=1, max_size=4),
    st.sampled_from(["", " ", " apples "]),
    st.sampled_from(["", "$"]),
)
def test_an_expression_means_what_it_means_in_python(
    first: int, rest: list[tuple[str, int]], gap: str, currency: str
) -> None:
    written = f"{currency}{first}" + "".join(f"{gap}{sign} {currency}{n}" for sign, n in rest)
    value = eval(f"Fraction({first})" + "".join(f"{s}Fraction({n})" for s, n in rest))
    if value.denominator == 1 and value >= 0:
        text = f"Then {written} = {currency}{value} in all."
        (equation,) = read_step(text).equations
        assert equation.true
        assert equation.exact
        assert len(equation.operands) == len(rest) + 1
        assert false_equations(text.replace(f"= {currency}{value}", f"= {value + 1}")) == 1


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not there")
def test_the_notes_of_gsm8k_agree() -> None:
    """The text alone tells nearly all equations that the data's own notes tell."""
    found = noted = false = 0
    with open(SHARED / "gsm8k_train.jsonl") as lines:
        for number, line in enumerate(lines):
            if number % 20:
                continue
            for step in json.loads(line)["answer"].splitlines():
                notes = re.findall(r"<<([^<>]*)>>", step)
                text = re.sub(r"<<.*?>>", "", step)
                if text.startswith("####"):
                    continue
                read = read_step(text)
                noted += len(notes)
                found += min(len(notes), sum(e.true for e in read.equations))
                false += sum(not e.true for e in read.equations)
    assert found > 0.93 * noted
    assert false < 0.01 * noted


ODD = st.text(alphabet="0123456789.,=+-*/x()$% aof٣½\n", max_size=60)


@given(st.one_of(ODD, st.text(max_size=40)))
def test_any_text_can_be_read(text: str) -> None:
    step = read_step(text)
    for number in step.numbers:
        assert text[number.start : number.stop].startswith(number.text)


@pytest.mark.parametrize(
    "text", ["(" * 5000 + "1 = 1", "1" * 5000 + " + 1 = 2", "1" + " + 1" * 5000 + " = 5001"]
)
def test_endless_expressions_are_left(text: str) -> None:
    assert not read_step(text).equations
