"""Training the surprise for what it is read for: to tell a step that does not belong.

Replaced-token detection (ELECTRA, arXiv:2003.10555) over steps, without a head of its own: the
score of a step is its surprise, leave-one-out, exactly as it is computed later. In one half of a
batch one step of each trace is replaced by a step of another trace; the largest surprise should be
at that step, and larger than any surprise of the whole traces in the other half.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  the field's usual name

from .masks import split
from .model import Jepa
from .scoring import divided

# Traces of a batch that are looked at; all their steps are predicted, each by itself. Of traces of
# more than 64 steps fewer, and none of more than 256: gradients are kept for all rows at once.
_ROWS = 32
_TOKENS = _ROWS * 64 * 64


def damage(steps_BSD: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The first half of the rows with one step each from another row; int64 [B // 2], which."""
    rows, count, _ = steps_BSD.shape
    half = rows // 2
    place = torch.randint(count, (half,), generator=generator)
    other = (torch.arange(half) + torch.randint(1, rows, (half,), generator=generator)) % rows
    which = torch.randint(count, (half,), generator=generator)
    damaged = steps_BSD.clone()
    damaged[torch.arange(half), place] = steps_BSD[other, which]
    return damaged, place.to(steps_BSD.device)


def detection_loss(
    model: Jepa,
    targets_of: Callable[[Tensor], Tensor],
    steps_BSD: Tensor,
    prompt_BD: Tensor,
    domain_B: Tensor,
    temperature: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Scalar: how badly the surprise names the replaced step, and damaged traces.

    Args:
        model: whose surprise it is.
        targets_of: standardised latents to targets.
        steps_BSD, prompt_BD, domain_B: a batch, standardised.
        temperature: of the surprise, positive.
        generator: on the CPU, draws what is replaced.
    """
    count = steps_BSD.shape[1]
    most = min(_ROWS, _TOKENS // count**2)
    steps, prompt, domain = steps_BSD[:most], prompt_BD[:most], domain_B[:most]
    rows = len(steps)
    if rows < 2 or count < 2:
        return steps_BSD.new_zeros(())
    damaged, replaced = damage(steps, generator)
    trace, place = divided(torch.arange(rows * count), torch.arange(count))
    mask = split(place[:, None], count).to(steps.device)
    trace = trace.to(steps.device)
    made = model(damaged[trace], prompt[trace], domain[trace], mask)
    wanted = targets_of(damaged)
    surprise = (made.view_as(wanted).float() - wanted.float()).square().mean(-1) / temperature
    half = rows // 2
    named = F.cross_entropy(surprise[:half], replaced)
    worst = surprise.logsumexp(1)
    told = F.softplus(worst[None, half:] - worst[:half, None]).mean()
    return named + told
