"""Maps from a step's neighbours, the mean of the visible steps and the prompt to the step.

Dimensions: B traces, S steps, M masked, D hidden size, E target size, F inputs of a map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  the field's usual name

from rjepa_core.settings import WorldModelSettings

from .batches import RankShare
from .masks import Mask


class RowDropout(nn.Module):
    """Dropout whose noise does not depend on how the rows of a batch are shared out.

    Attributes:
        share: which rows of the batch are given; None where they are all.
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.share: RankShare | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, rows first."""
        share = self.share
        if not self.training or not self.dropout:
            return x
        if share is None or len(x) == share.rows:
            return F.dropout(x, self.dropout)
        kept = 1.0 - self.dropout
        noise = x.new_empty((share.rows, *x.shape[1:])).bernoulli_(kept)
        return x * noise[share.taken] / kept


class _FromNeighbours(nn.Module):
    """A map from the neighbouring steps, the mean of the visible ones and the prompt, and another
    one for steps of which only the past is known.

    Attributes:
        with_prompt: whether the prompt is among the inputs.
        apart: whether the prompt is there once more for steps that have none before them: of those
            it says other things, and to mix them up costs a tenth of the error.
        others, past: the two maps.
    """

    with_prompt: bool
    apart: bool
    others: nn.Module
    past: nn.Module

    def forward(self, steps_BSD: Tensor, prompt_BD: Tensor, mask: Mask) -> Tensor:
        """[B, M, E]; see `features`."""
        found: Tensor = self.map(mask)(self.features(steps_BSD, prompt_BD, mask))
        return found

    def map(self, mask: Mask) -> nn.Module:
        """The one of the two that answers for a mask."""
        return self.past if mask.steps is None else self.others

    def features(self, steps_BSD: Tensor, prompt_BD: Tensor, mask: Mask) -> Tensor:
        """[B, M, F]: the step before, the mean of the visible ones and the prompt; the step after
        and whether there is none, unless only the past is known; the prompt again where no step
        before is visible; whether there is none before; and a constant. A neighbour that is not
        visible counts as the mean of all steps, 0."""
        width = steps_BSD.shape[-1]
        shown = torch.zeros(steps_BSD.shape[:2], dtype=steps_BSD.dtype, device=steps_BSD.device)
        if mask.shown is None:
            shown.scatter_(1, mask.visible, 1.0)
        else:
            shown.scatter_(1, mask.visible, mask.shown.to(shown.dtype))
        seen = F.pad(steps_BSD * shown[..., None], (0, 0, 1, 1))
        at = mask.masked[..., None].expand(-1, -1, width)
        before = seen.gather(1, at)
        mean = seen.sum(1) / shown.sum(1, keepdim=True).clamp(min=1.0)
        parts = [before, mean[:, None].expand_as(before)]
        if self.with_prompt:
            parts.append(prompt_BD[:, None].expand_as(before))
        facts = [mask.masked == 0, torch.ones_like(mask.masked)]
        if mask.steps is not None:
            parts.append(seen.gather(1, at + 2))
            facts.insert(0, mask.masked == mask.steps - 1)
        if self.apart:
            none = (shown.cumsum(1) - shown).gather(1, mask.masked) == 0
            parts.append(prompt_BD[:, None] * none[..., None])
        return torch.cat([*parts, torch.stack(facts, -1).to(before.dtype)], -1)

    def features_each(self, steps_BSD: Tensor, prompt_BD: Tensor, past: bool) -> Tensor:
        """[B, S, F]: `features` of each step from all others, or from its past alone; to rounding,
        and without repeating the steps for each."""
        count = steps_BSD.shape[1]
        place = torch.arange(count, device=steps_BSD.device)
        near, wide = F.pad(steps_BSD, (0, 0, 1, 1)), steps_BSD.double()
        seen, total = place, wide.cumsum(1) - wide
        if not past:
            seen, total = torch.full_like(place, count - 1), wide.sum(1, keepdim=True) - wide
        mean = (total / seen.clamp(min=1)[:, None]).to(steps_BSD.dtype)
        parts = [near[:, :-2], mean]
        if self.with_prompt:
            parts.append(prompt_BD[:, None].expand_as(steps_BSD))
        facts = [place == 0, torch.ones_like(place)]
        if not past:
            parts.append(near[:, 2:])
            facts.insert(0, place == count - 1)
        if self.apart:
            parts.append(prompt_BD[:, None] * (place == 0)[:, None])
        shown = torch.stack(facts, -1).to(steps_BSD.dtype)
        return torch.cat([*parts, shown.expand(len(steps_BSD), -1, -1)], -1)


class LinearPath(_FromNeighbours):
    """What ridge regression finds, the rest of the model need not learn again."""

    others: nn.Linear
    past: nn.Linear

    def __init__(self, settings: WorldModelSettings, hidden_size: int, target_size: int) -> None:
        super().__init__()
        self.with_prompt, self.apart = settings.prompt, settings.first_apart and settings.prompt
        others, past = _inputs(settings, hidden_size)
        self.others = nn.Linear(others, target_size, bias=False)
        self.past = nn.Linear(past, target_size, bias=False)
        nn.init.zeros_(self.others.weight)
        nn.init.zeros_(self.past.weight)

    def plain(self, one: nn.Linear) -> Tensor:
        """int64, the inputs of one of the maps without what is given apart."""
        inputs = torch.arange(one.in_features, device=one.weight.device)
        if not self.apart:
            return inputs
        facts = 2 if one is self.past else 3
        begin = one.in_features - facts - one.out_features
        return torch.cat([inputs[:begin], inputs[-facts:]])


class Perceptron(_FromNeighbours):
    """One hidden layer on the linear path's inputs."""

    others: nn.Sequential
    past: nn.Sequential

    def __init__(self, settings: WorldModelSettings, hidden_size: int, target_size: int) -> None:
        super().__init__()
        self.with_prompt, self.apart = settings.prompt, settings.first_apart and settings.prompt
        others, past = _inputs(settings, hidden_size)
        self.others = self._layers(settings, others, target_size)
        self.past = self._layers(settings, past, target_size)

    @staticmethod
    def _layers(settings: WorldModelSettings, inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            RowDropout(settings.input_dropout),
            nn.Linear(inputs, settings.width),
            nn.GELU(),
            RowDropout(settings.dropout),
            nn.Linear(settings.width, outputs),
        )


def _inputs(settings: WorldModelSettings, hidden_size: int) -> tuple[int, int]:
    """Numbers of inputs of the maps from the others and from the past; see `features`."""
    vectors = 2 + settings.prompt + (settings.first_apart and settings.prompt)
    return (vectors + 1) * hidden_size + 3, vectors * hidden_size + 2
