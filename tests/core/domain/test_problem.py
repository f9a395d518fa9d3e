"""Problems and given solutions: identity by which files, runs and stores agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rjepa_core.domain.problem import GivenSolution, Problem, derived_id, statement_hash

texts = st.text(min_size=1).filter(str.strip)


def test_ids_stay_what_they_are_in_stores_made_long_ago():
    assert statement_hash("What is 2+2?") == "52cb6b5e4a038af1756708f98afb718a"
    assert derived_id("math", "What is 2+2?") == "math-52cb6b5e4a038af1"


@given(texts, st.sampled_from(["", " ", "\n\t"]), st.sampled_from(["", " ", "\n"]))
def test_surrounding_white_space_does_not_count(text, before, after):
    assert derived_id("math", before + text + after) == derived_id("math", text)


@given(texts, texts)
def test_other_statements_and_domains_have_other_ids(one, other):
    assert (derived_id("math", one) == derived_id("math", other)) == (one.strip() == other.strip())
    assert derived_id("math", one) != derived_id("code", one)


def test_half_a_character_has_a_hash_too():
    assert statement_hash("\ud800") != statement_hash("\ud801")


def test_make_derives_an_id_unless_one_is_given():
    assert Problem.make("Why?", "logic").id == derived_id("logic", "Why?")
    assert Problem.make("Why?", id="w").id == "w"
    assert Problem.make("Why?").domain == "math"


@pytest.mark.parametrize("values", [("", "Why?"), ("w", "")])
def test_a_problem_needs_id_and_statement(values):
    with pytest.raises(ValueError):
        Problem(*values)


@pytest.mark.parametrize("values", [{}, {"text": "a", "steps": ("b",)}, {"steps": ()}])
def test_a_given_solution_is_a_text_or_steps(values):
    with pytest.raises(ValueError, match="either a text or steps"):
        GivenSolution(**values)


def test_length_counts_characters_and_the_lines_between_steps():
    assert GivenSolution("").length == 0
    assert GivenSolution("abc").length == 3
    assert GivenSolution(steps=("ab", "c")).length == len("ab\nc\n")
