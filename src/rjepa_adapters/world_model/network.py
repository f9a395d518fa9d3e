"""All that a checkpoint's model file holds: standardisation, modules, spread of the targets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from rjepa_core.settings import TrainSettings

from .batches import RankShare
from .linear_path import RowDropout
from .masks import Mask
from .model import Jepa
from .normalise import Standardiser
from .objectives import Losses, Objective

_STATISTICS = "statistics."


class Network(nn.Module):
    """Model and objective over raw latents.

    Args:
        settings: of the run.
        statistics: of the training set.
        domains: how many there are.
    """

    step_mean: Tensor
    step_std: Tensor
    prompt_mean: Tensor
    prompt_std: Tensor
    target_std: Tensor

    def __init__(self, settings: TrainSettings, statistics: Standardiser, domains: int) -> None:
        super().__init__()
        self.jepa = Jepa(settings.model, statistics.hidden_size, max(1, domains))
        if self.jepa.linear is not None and not settings.linear_share:
            self.jepa.linear.requires_grad_(False)
        self.objective = Objective(settings.model, settings.training, self.jepa)
        self._dropouts = [one for one in self.jepa.modules() if isinstance(one, RowDropout)]
        for name, values in statistics.to_tensors().items():
            self.register_buffer(name, torch.tensor(values), persistent=False)
        size = self.jepa.target_size
        self.register_buffer("target_std", torch.ones(size), persistent=False)

    def standardise(self, latents_BSD: Tensor, prompts_BD: Tensor) -> tuple[Tensor, Tensor]:
        """The same shapes, each dimension by its spread over the training set."""
        steps = (latents_BSD - self.step_mean) / self.step_std
        return steps, (prompts_BD - self.prompt_mean) / self.prompt_std

    def forward(
        self,
        steps_BSD: Tensor,
        prompt_BD: Tensor,
        domain_B: Tensor,
        mask: Mask,
        generator: torch.Generator,
        seen_BSD: Tensor | None = None,
        share: RankShare | None = None,
    ) -> Losses:
        """The objective's loss of standardised latents."""
        for dropout in self._dropouts:
            dropout.share = share
        losses: Losses = self.objective(
            self.jepa, steps_BSD, prompt_BD, domain_B, mask, generator, seen_BSD, share
        )
        return losses

    def targets(self, steps_BSD: Tensor) -> Tensor:
        """[B, S, E] of standardised latents."""
        return self.objective.targets(self.jepa, steps_BSD)

    def tensors(self) -> dict[str, Tensor]:
        """Everything by name, as a checkpoint keeps it."""
        names = ("step_mean", "step_std", "prompt_mean", "prompt_std", "target_std")
        return {**self.state_dict(), **{_STATISTICS + name: getattr(self, name) for name in names}}

    @classmethod
    def plain(cls, settings: TrainSettings, hidden_size: int, domains: int) -> Network:
        """Untrained, over latents as they are: it has the tensors that a trained one has."""
        return cls(settings, Standardiser.identity(hidden_size), domains)

    @classmethod
    def of(cls, settings: TrainSettings, tensors: Mapping[str, Tensor], domains: int) -> Network:
        """Inverse of `tensors`."""
        kept = {
            key.removeprefix(_STATISTICS): value
            for key, value in tensors.items()
            if key.startswith(_STATISTICS)
        }
        arrays = {k: np.asarray(v.numpy()) for k, v in kept.items() if k != "target_std"}
        network = cls(settings, Standardiser.from_tensors(arrays), domains)
        weights = {k: v for k, v in tensors.items() if not k.startswith(_STATISTICS)}
        network.load_state_dict(weights)
        network.target_std.copy_(kept["target_std"])
        return network
