"""The worklist: limit, samples, repeated rows, several solutions."""

from __future__ import annotations

import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rjepa_core.domain.problem import GivenSolution, Problem
from rjepa_core.errors import InputError
from rjepa_core.extraction.work import Worklist
from rjepa_core.ports.source import SourceRow


@attrs.define
class Rows:
    """A source in memory; `reads` counts how often it was opened."""

    items: list[SourceRow]
    reads: int = 0

    def rows(self):
        self.reads += 1
        yield from self.items


def row(name, statement=None, solutions=(), domain="math", where="f"):
    problem = Problem(name, statement or f"What is {name}?", domain)
    return SourceRow(problem, tuple(GivenSolution(s) for s in solutions), where)


def keys(worklist):
    return [str(item.key) for item in worklist]


def source(*names):
    return Rows([row(name) for name in names])


def test_sources_are_read_in_order_again_and_again():
    worklist = Worklist([source("a", "b"), source("c")])
    assert keys(worklist) == ["a", "b", "c"]
    assert keys(worklist) == ["a", "b", "c"]


def test_samples():
    worklist = Worklist([source("a", "b")], samples=3)
    assert keys(worklist) == ["a", "a#1", "a#2", "b", "b#1", "b#2"]
    assert all(item.given is None for item in worklist)
    assert worklist.survey().work == 6


def test_limit_counts_problems_and_the_survey_what_is_available():
    worklist = Worklist([source("a", "b"), source("b", "c", "d")], samples=2, limit=3)
    assert keys(worklist) == ["a", "a#1", "b", "b#1", "c", "c#1"]
    survey = worklist.survey()
    assert (survey.problems, survey.work, survey.available) == (3, 6, 4)
    assert survey.duplicates == 1


def test_a_limit_stops_reading_where_nothing_can_follow():
    endless = Rows([row(f"p{i}") for i in range(1000)])
    last = source("z")
    assert len(keys(Worklist([endless, last], limit=2))) == 2
    assert last.reads == 0


def test_repeated_rows_are_done_once():
    worklist = Worklist([source("a", "b", "a"), source("b")])
    assert keys(worklist) == ["a", "b"]
    assert worklist.survey().duplicates == 2


def test_domains_and_characters():
    rows = [row("a", "12345"), row("b", "123", domain="code"), row("c", "1")]
    survey = Worklist([Rows(rows)]).survey()
    assert survey.domains == {"math": 2, "code": 1}
    assert survey.characters == 9


def test_solutions_become_samples_across_rows_and_files():
    one = Rows([row("a", solutions=["1", "2"]), row("b", solutions=["x"])])
    two = Rows([row("a", solutions=["3"]), row("c"), row("b", solutions=["y"])])
    worklist = Worklist([one, two], given=True)
    assert [(str(i.key), i.given.text) for i in worklist] == [
        ("a", "1"),
        ("a#1", "2"),
        ("b", "x"),
        ("a#2", "3"),
        ("b#1", "y"),
    ]
    survey = worklist.survey()
    assert (survey.problems, survey.work, survey.duplicates) == (3, 5, 0)


def test_a_limit_keeps_the_later_solutions_of_early_problems():
    rows = [row("a", solutions=["1"]), row("b", solutions=["x"]), row("a", solutions=["2"])]
    worklist = Worklist([Rows(rows)], given=True, limit=1)
    assert keys(worklist) == ["a", "a#1"]
    assert worklist.survey().work == 2


def test_samples_do_not_multiply_given_solutions():
    assert keys(Worklist([Rows([row("a", solutions=["1"])])], samples=4, given=True)) == ["a"]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3)), min_size=1, max_size=20))
def test_given_keys_are_unique_and_leave_no_gap(plan):
    rows = [row(name, solutions=[str(i) for i in range(n)]) for name, n in plan]
    found = [item.key for item in Worklist([Rows(rows)], given=True)]
    assert len(set(found)) == len(found)
    for name in "abcd":
        total = sum(n for other, n in plan if other == name)
        assert [k.sample for k in found if k.problem_id == name] == list(range(total))


def test_an_id_with_two_statements_is_refused_and_both_places_named():
    rows = [row("a", where="f.jsonl:1"), row("a", "Other?", where="g.jsonl:9")]
    worklist = Worklist([Rows(rows)])
    for read in (worklist.survey, lambda: list(worklist)):
        with pytest.raises(InputError) as caught:
            read()
        message = str(caught.value)
        assert message.startswith("g.jsonl:9: problem 'a'")
        assert "(f.jsonl:1)" in message


def test_a_mistake_behind_the_limit_is_found_by_the_survey():
    rows = [row("a"), row("b"), row("a", "Other?")]
    with pytest.raises(InputError):
        Worklist([Rows(rows)], limit=1).survey()


def test_white_space_around_a_statement_is_no_other_statement():
    assert keys(Worklist([Rows([row("a", "Why?"), row("a", " Why?\n")])])) == ["a"]


@pytest.mark.parametrize(
    ("rows", "asked", "message"),
    [
        ([], {}, "hold no problem"),
        ([], {"given": True}, "hold no problem"),
        ([row("a")], {"given": True}, "hold no solution"),
    ],
)
def test_nothing_to_do_is_a_mistake(rows, asked, message):
    with pytest.raises(InputError, match=message):
        Worklist([Rows(rows)], **asked).survey()


@given(st.permutations("abcdef"), st.integers(0, 2**16))
def test_the_work_does_not_depend_on_the_order_of_rows(order, seed):
    shuffled = list(order)
    random.Random(seed).shuffle(shuffled)
    one, other = (Worklist([source(*names)], samples=2) for names in (order, shuffled))
    assert sorted(keys(one)) == sorted(keys(other))
