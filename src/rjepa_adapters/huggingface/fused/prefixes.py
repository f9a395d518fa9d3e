"""Plan how much of a new prompt can be copied from a prompt that is in a slot already."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

# Waiting for another new prompt to be read pays only for at least so many more shared tokens.
_WORTH_WAITING = 32


@attrs.define(eq=False)
class HeldPrompt:
    """A prompt in a slot.

    Attributes:
        ids: int32 [P].
        statement: token range of the statement.
        latent: float32 [L, D], pooled over the statement; None until it has been read.
    """

    ids: NDArray[np.int32]
    statement: tuple[int, int]
    latent: Tensor | None = None


@attrs.frozen
class Borrowed:
    """The source of a new prompt's beginning.

    Attributes:
        slot: to copy from; the new row's own if nothing is copied.
        tokens: how many are copied.
        statement: the prompt whose statement's vectors can be reused, if any.
        wave: 0 if the slot can be copied at once, else the number of waves to be read before.
    """

    slot: int
    tokens: int = 0
    statement: HeldPrompt | None = None
    wave: int = 0


def plan_reading(
    held: Sequence[HeldPrompt | None], fresh: Sequence[int], prompts: Sequence[HeldPrompt]
) -> list[Borrowed]:
    """Find, for each new prompt, the slot that shares the longest beginning with it.

    The last token of a prompt is always run again, for its logits; so is the statement, unless its
    vector can be reused.

    Args:
        held: the prompt in each slot, also of ended rows; those of the fresh slots are overwritten
            and can be used only by the prompt that goes there.
        fresh: slots of the new prompts.
        prompts: the new prompts, in the same order.
    """
    plans: list[Borrowed] = []
    for i, (slot, prompt) in enumerate(zip(fresh, prompts, strict=True)):
        best = Borrowed(slot)
        for donor, there in enumerate(held):
            if there is not None and (donor == slot or donor not in fresh):
                best = _better(best, _borrow(prompt, there, donor, there.latent is not None, 0))
        for j in range(i):
            wave = plans[j].wave + 1
            known = prompts[j].statement[1] < len(prompts[j].ids)
            shared = _borrow(prompt, prompts[j], fresh[j], known, wave)
            if shared.tokens >= best.tokens + _WORTH_WAITING:
                best = _better(best, shared)
        plans.append(best)
    return plans


def _better(one: Borrowed, other: Borrowed) -> Borrowed:
    return other if (other.tokens, -other.wave) > (one.tokens, -one.wave) else one


def _borrow(
    prompt: HeldPrompt, there: HeldPrompt, slot: int, has_latent: bool, wave: int
) -> Borrowed:
    same = shared_beginning(prompt.ids, there.ids)
    start, stop = prompt.statement
    whole = has_latent and prompt.statement == there.statement and stop <= same
    tokens = min(same, len(prompt.ids) - 1)
    return Borrowed(slot, tokens if whole else min(tokens, start), there if whole else None, wave)


def shared_beginning(a: NDArray[np.int32], b: NDArray[np.int32]) -> int:
    """Return the length of the common prefix."""
    length = min(len(a), len(b))
    differ = np.flatnonzero(a[:length] != b[:length])
    return int(differ[0]) if len(differ) else length
