"""Which steps are visible and which are to be predicted.

Within a batch all traces have the same number of steps S, and all masks hide the same number M, so
that visible and masked positions are rectangular index tensors: nothing is padded.

`contiguous` hides one stretch of steps, the block masking of I-JEPA (arXiv:2301.08243) and V-JEPA
(arXiv:2404.08471) in one dimension; `causal` predicts the future from the past.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from rjepa_core.settings import MASKS, MaskerSettings


@attrs.frozen(eq=False)
class Mask:
    """Positions of a batch.

    Attributes:
        visible: int64 [B, V], ascending.
        masked: int64 [B, M], ascending; V + M is at most S (steps after a masked one may be
            neither, when a step is predicted from its past alone).
        steps: S, which the model may know; None where only the past is given.
        shown: bool [B, V]: which of `visible` are; the others fill up rows with fewer. None where
            all are.
    """

    visible: Tensor
    masked: Tensor
    steps: int | None = None
    shown: Tensor | None = None

    def to(self, device: torch.device) -> Mask:
        """The same on a device."""
        shown = None if self.shown is None else self.shown.to(device)
        return Mask(self.visible.to(device), self.masked.to(device), self.steps, shown)

    def rows(self, which: slice) -> Mask:
        """Some of the rows."""
        shown = None if self.shown is None else self.shown[which]
        return Mask(self.visible[which], self.masked[which], self.steps, shown)


class Masker:
    """Draws masks of the kinds and weights that the settings name."""

    def __init__(self, settings: MaskerSettings) -> None:
        self._settings = settings
        # In an order of their own: what is drawn must not depend on how a file was sorted.
        self._kinds = [kind for kind in MASKS if settings.masks.get(kind, 0) > 0]
        self._weights = torch.tensor([settings.masks[kind] for kind in self._kinds])

    def draw(self, batch: int, steps: int, generator: torch.Generator) -> Mask:
        """Masks of one kind and size for a batch [B] of traces with S steps; on the CPU."""
        chosen = torch.multinomial(self._weights, 1, generator=generator)
        kind = self._kinds[int(chosen)]
        if kind == "leave_one_out":
            hidden = torch.randint(steps, (batch, 1), generator=generator)
        elif kind == "causal":
            return self._future(batch, steps, generator)
        else:
            count = self._count(steps, generator)
            if kind == "contiguous":
                start_b = torch.randint(steps - count + 1, (batch, 1), generator=generator)
                hidden = start_b + torch.arange(count)
            else:
                hidden = torch.rand(batch, steps, generator=generator).argsort(1)[:, :count]
        return split(hidden.sort(1).values, steps)

    def swap(self, steps_BSD: Tensor, generator: torch.Generator) -> Tensor:
        """The same steps, a share of them swapped for other steps of the batch; as the encoder
        sees them. Targets stay as they are."""
        share = self._settings.swap
        if not share:
            return steps_BSD
        rows, steps, width = steps_BSD.shape
        swapped = torch.rand(rows, steps, generator=generator) < share
        others = torch.randperm(rows * steps, generator=generator).to(steps_BSD.device)
        instead = steps_BSD.reshape(-1, width)[others].view_as(steps_BSD)
        return torch.where(swapped.to(steps_BSD.device)[..., None], instead, steps_BSD)

    def _future(self, batch: int, steps: int, generator: torch.Generator) -> Mask:
        """A stretch behind a past; what follows it is neither shown nor asked for, so that the
        number of mask tokens does not tell how long the trace is."""
        start = int(torch.randint(steps, (1,), generator=generator))
        stop = start + 1 + int(torch.randint(steps - start, (1,), generator=generator))
        found = past(batch, start, stop)
        if float(torch.rand((), generator=generator)) < self._settings.known_length:
            # Asked of the part of the model that knows how long the trace is: it learns not to
            # lean on the steps around, one of which may not belong there.
            return attrs.evolve(found, steps=steps)
        return found

    def _count(self, steps: int, generator: torch.Generator) -> int:
        low, high = self._settings.min_ratio, self._settings.max_ratio
        ratio = low + (high - low) * float(torch.rand((), generator=generator))
        # At least one step hidden, and one visible where there are two.
        return max(1, min(round(ratio * steps), steps - 1))


def split(masked: Tensor, steps: int) -> Mask:
    """The mask that hides `masked` (int64 [B, M], ascending) and shows all other steps."""
    rows = masked.shape[0]
    shown = torch.ones(rows, steps, dtype=torch.bool, device=masked.device)
    shown.scatter_(1, masked, False)
    places = torch.arange(steps, device=masked.device).expand(rows, -1)
    return Mask(places[shown].reshape(rows, -1), masked, steps)


def past(batch: int, start: int, stop: int) -> Mask:
    """Steps `start` to `stop` (exclusive) from all steps before them, in each of `batch` rows."""
    return Mask(torch.arange(start).expand(batch, -1), torch.arange(start, stop).expand(batch, -1))


def each_past(places_K: Tensor, ahead: int = 1) -> Mask:
    """K masks, each of which hides one step and the `ahead` - 1 before it, and shows all before
    those: one rectangle, filled up."""
    shown = (places_K - (ahead - 1)).clamp(min=0)
    before = torch.arange(int(shown.max()), device=places_K.device).expand(len(places_K), -1)
    return Mask(before, places_K[:, None], shown=before < shown[:, None])
