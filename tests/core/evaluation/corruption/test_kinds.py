"""Damage and harmless edits: what changes, what stays, and that what follows is computed again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rjepa_core.domain.problem import statement_hash
from rjepa_core.evaluation.corruption import EDITS, KINDS, Clean, Donors, Edit, false_equations
from rjepa_core.evaluation.corruption.names import names_in

SHARED = Path(__file__).parents[5] / "shared" / "data"


def clean(statement: str, *bodies: str) -> Clean:
    return Clean.of(statement[:8], statement_hash(statement), statement, bodies)


CLIPS = clean(
    "Natalia sold 48 clips in April, and Mary sold 3 times as many in May at $6 each. How much did "
    "Mary get if she gave 10 clips away?",
    "Mary sold 48*3 = 144 clips in May.",
    "She gave 10 away, so 144 clips - 10 clips = 134 clips were left.",
    "They brought her 134 x 6 = $804.",
)
FISH = clean(
    "Hershel has 10 betta fish and 15 goldfish. Bexley brings 2/5 times as many betta fish and 1/3 "
    "as many goldfish. How many fish are there?",
    "Bexley gives Hershel 2/5*10 = 4 betta fish.",
    "He also gives Hershel 1/3*15 = 5 goldfish.",
    "There are 4+10 = 14 betta fish.",
    "There are 5+15 = 20 goldfish.",
    "In total there are 14 + 20 = 34 fish.",
)
SEATS = clean(
    "Romeo has 20 rows of 5 seats, and Ann has 12 rows of 8 seats. How many seats are there?",
    "Romeo has 20 * 5 = 100 seats.",
    "Ann has 12 * 8 = 96 seats.",
    "In total there are 100 + 96 = 196 seats.",
)
ALL = [CLIPS, FISH, SEATS]
DONORS = Donors(ALL)


def made(one: Clean, kind: str, seed: int) -> Edit | None:
    return {**KINDS, **EDITS}[kind](one, DONORS, np.random.default_rng(seed))


def false_in(edit: Edit) -> list[int]:
    return [i for i, body in enumerate(edit.bodies) for _ in range(false_equations(body))]


@pytest.mark.parametrize("kind", [*KINDS, *EDITS])
def test_every_kind_is_made_and_depends_on_the_seed_alone(kind: str) -> None:
    for one in ALL:
        found = [made(one, kind, seed) for seed in range(30)]
        assert found == [made(one, kind, seed) for seed in range(30)]
    assert any(made(one, kind, seed) for one in ALL for seed in range(30))


@given(st.sampled_from(ALL), st.sampled_from([*KINDS, *EDITS]), st.integers(0, 10_000))
def test_what_holds_for_every_kind(one: Clean, kind: str, seed: int) -> None:
    edit = made(one, kind, seed)
    if edit is None:
        return
    assert edit.bodies != one.bodies
    assert len(edit.bodies) == len(one.bodies) - (kind == "omission")
    assert (edit.wrong is None) is (kind in EDITS)
    assert (edit.statement is not None) is (kind == "renamed")
    # A result that is another is the only false equation that is ever made.
    assert false_in(edit) == ([edit.wrong] if kind == "result" else [])


@given(st.sampled_from(ALL), st.sampled_from(["result", "operation"]), st.integers(0, 10_000))
def test_a_change_is_carried_on(one: Clean, kind: str, seed: int) -> None:
    edit = made(one, kind, seed)
    assert edit is not None
    assert edit.wrong is not None
    assert edit.bodies[: edit.wrong] == one.bodies[: edit.wrong]
    gone = {old for old, _ in edit.others} - {new for _, new in edit.others}
    new = Clean.of("", "", one.statement, edit.bodies)
    later = [n.value for step in new.solution.steps[edit.wrong + 1 :] for n in step.numbers]
    assert not gone & set(later)


def test_a_result_has_as_many_digits() -> None:
    for seed in range(40):
        edit = made(CLIPS, "result", seed)
        assert edit is not None
        for old, new in edit.others[:1]:
            assert len(str(old)) == len(str(new))


def test_a_result_that_stands_before_its_equation_goes_along() -> None:
    one = clean(
        "The record is 287 points for each of 4 players in each of 10 rounds.",
        "The round's record is 1,148 because 287 x 4 = 1,148.",
        "The season's is 11,480 because 10 x 1,148 = 11,480.",
        "That is a lot.",
    )
    for seed in range(20):
        edit = made(one, "result", seed)
        assert edit is not None
        told = re.findall(r"is ([\d,]+) because .* = ([\d,]+)", "\n".join(edit.bodies))
        assert all(a == b for a, b in told)


@pytest.mark.parametrize(
    "bodies",
    [
        # The 5 of the last step may be the statement's or the result.
        ("10 - 5 = 5", "5 * 3 = 15"),
        # What 42 comes from is not written.
        ("2 + 3 = 5", "2E = 42", "42 - 5 = 37"),
        ("2 + 2 = 5", "5 * 2 = 10"),
        ("He has 4 + 3 = 7", "Seven days make 7 * 10 = 70"),
    ],
)
def test_what_cannot_be_carried_on_is_left(bodies: tuple[str, ...]) -> None:
    one = clean("A boy has 10 and 5 and 3 and 2 and 4", *bodies)
    for seed in range(10):
        edit = made(one, "result", seed)
        # The last result may always be another.
        assert edit is None or edit.wrong == len(bodies) - 1


def test_order_and_omission_take_steps_that_are_needed() -> None:
    for seed in range(20):
        order, omission = made(CLIPS, "order", seed), made(SEATS, "omission", seed)
        assert order is not None
        assert omission is not None
        assert (order.wrong, omission.wrong) == (0, 1)
        assert order.bodies == (CLIPS.bodies[1], CLIPS.bodies[0], CLIPS.bodies[2])
        assert omission.bodies == (SEATS.bodies[0], SEATS.bodies[2])
        # The last step stays: by its words its place could be told.
        assert made(SEATS, "order", seed) is None


def test_reordered_steps_do_not_need_each_other() -> None:
    for seed in range(20):
        edit = made(SEATS, "reordered", seed)
        assert edit is not None
        assert edit.bodies == (SEATS.bodies[1], SEATS.bodies[0], SEATS.bodies[2])
        assert made(CLIPS, "reordered", seed) is None


def test_renamed_in_statement_and_solution() -> None:
    edit = made(SEATS, "renamed", 3)
    assert edit is not None
    assert edit.statement is not None
    assert not {"Romeo", "Ann"} & {*re.findall(r"\w+", " ".join([edit.statement, *edit.bodies]))}
    asked = {*re.findall(r"\d+", edit.statement)}
    assert len(asked & {"20", "5", "12", "8"}) == 3
    (own,) = asked - {"20", "5", "12", "8"}
    assert own in re.findall(r"\d+", "\n".join(edit.bodies))


def test_the_answer_goes_along() -> None:
    edit = made(SEATS, "renamed", 3)
    assert edit is not None
    total = re.findall(r"\d+", edit.bodies[-1])[-1]
    assert edit.answer("#### 196") == f"#### {total}"
    assert edit.answer("#### none") == "#### none"
    assert edit.answer(None) is None


def test_a_similar_step_has_this_problems_numbers_and_names() -> None:
    one = clean(
        "Lisa has 7 rows of 9 seats. How many seats are there?",
        "Lisa sees it.",
        "Lisa has 7 * 9 = 63 seats.",
    )
    donors = Donors([one, SEATS])
    found = set()
    for seed in range(30):
        edit = KINDS["similar"](one, donors, np.random.default_rng(seed))
        if edit is not None:
            assert edit.wrong is not None
            assert edit.donor == SEATS.name
            found.add(edit.bodies[edit.wrong])
    assert found <= {
        *(f"Lisa has {a} * {b} = 63 seats." for a, b in ((7, 9), (9, 7))),
        *(f"In total there are {a} + {b} = 16 seats." for a, b in ((7, 9), (9, 7))),
    }
    assert len(found) > 1


@given(st.lists(st.text("12345 =+-*/x$.,%()Aanb's", max_size=30), min_size=3, max_size=4))
def test_any_texts_can_be_damaged_or_left(bodies: list[str]) -> None:
    one = clean("Ann has 12 and Bob had 5 more: 60%", *bodies)
    donors = Donors([one, SEATS])
    for kind, make in {**KINDS, **EDITS}.items():
        edit = make(one, donors, np.random.default_rng(0))
        assert edit is None or edit.bodies != one.bodies or edit.statement != one.statement, kind


def test_names() -> None:
    text = "Mr. Sandoval has 3 cats. On Monday Ann's dog and Bob ate. Mark has a mark."
    assert names_in(text) == ("Sandoval", "Ann", "Bob")


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not there")
def test_on_gsm8k() -> None:
    everyone = _gsm8k()
    donors = Donors(everyone)
    yields = dict.fromkeys([*KINDS, *EDITS], 0)
    for one in everyone:
        own = sum(false_equations(body) for body in one.bodies)
        for kind, make in {**KINDS, **EDITS}.items():
            edit = make(one, donors, np.random.default_rng([len(one.statement), len(kind)]))
            if edit is None:
                continue
            yields[kind] += 1
            if kind in ("renamed", "reordered", "operation", "quantity", "order"):
                assert len(false_in(edit)) == own
            if kind == "result":
                assert false_in(edit) == [edit.wrong]
    assert min(yields.values()) > 0.15 * len(everyone)
    assert yields["result"] > 0.7 * len(everyone)


def _gsm8k(count: int = 60) -> list[Clean]:
    found = []
    with open(SHARED / "gsm8k_train.jsonl") as lines:
        for line, _ in zip(lines, range(count), strict=False):
            row = json.loads(line)
            text = re.sub(r"<<.*?>>", "", row["answer"])
            found.append(clean(row["question"], *text.splitlines()[:-1]))
    return found
