"""A prompt copies the longest beginning that any slot holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rjepa_adapters.huggingface.fused.prefixes import HeldPrompt, plan_reading, shared_beginning

COMMON = list(range(60))


def prompt(own: Sequence[int], latent: bool = True, tail: Sequence[int] = (7, 8)) -> HeldPrompt:
    ids = np.asarray([*COMMON, *own, *tail], np.int32)
    span = (len(COMMON), len(COMMON) + len(own))
    return HeldPrompt(ids, span, torch.zeros(1, 4) if latent else None)


def test_the_beginning_that_two_prompts_share() -> None:
    a, b = np.asarray([1, 2, 3]), np.asarray([1, 2, 4, 5])
    assert shared_beginning(a, b) == 2
    assert shared_beginning(a, a) == 3
    assert shared_beginning(a, np.asarray([9])) == 0


def test_the_instructions_come_from_any_slot() -> None:
    held = [None, prompt([100, 101]), None]
    [plan] = plan_reading(held, [2], [prompt([200, 201], latent=False)])
    assert (plan.slot, plan.tokens, plan.statement, plan.wave) == (1, 60, None, 0)


def test_another_sample_copies_all_but_the_last_token() -> None:
    same = prompt([100, 101])
    [plan] = plan_reading([prompt([5]), same], [2], [prompt([100, 101], latent=False)])
    assert (plan.slot, plan.tokens, plan.wave) == (1, 63, 0)
    assert plan.statement is same


def test_a_statement_whose_vector_is_not_known_is_run_again() -> None:
    unread = prompt([100, 101], latent=False)
    [plan] = plan_reading([unread], [1], [prompt([100, 101], latent=False)])
    assert (plan.tokens, plan.statement) == (60, None)


def test_a_statement_that_only_begins_alike_is_no_statement_of_its_own() -> None:
    [plan] = plan_reading([prompt([100, 101])], [1], [prompt([100, 102], latent=False)])
    assert (plan.tokens, plan.statement) == (60, None)


def test_new_prompts_wait_for_each_other_where_it_pays() -> None:
    """The first is read alone, then one of each problem, then their other samples."""
    long_a, long_b = [100, *range(300, 340)], [101, *range(300, 340)]
    new = [prompt(x, latent=False) for x in (long_a, long_a, long_b, long_b)]
    plans = plan_reading([None] * 4, [0, 1, 2, 3], new)
    assert [plan.wave for plan in plans] == [0, 1, 1, 2]
    assert [plan.slot for plan in plans] == [0, 0, 0, 2]
    assert plans[1].statement is new[0]
    assert plans[3].statement is new[2]


def test_what_a_fresh_slot_held_counts_for_its_own_prompt_alone() -> None:
    held = [prompt([100]), prompt([9], tail=(1,))]
    plans = plan_reading(held, [0, 1], [prompt([200], latent=False), prompt([100], latent=False)])
    assert [plan.slot for plan in plans] == [0, 1]
    assert [plan.tokens for plan in plans] == [60, 60]


def test_a_statement_at_the_end_cannot_be_taken_from_a_prompt_that_is_still_read() -> None:
    same = [prompt([100, *range(40)], latent=False, tail=()) for _ in range(2)]
    plans = plan_reading([None, None], [0, 1], same)
    assert plans[1].statement is None
    assert plans[1].tokens == 60
