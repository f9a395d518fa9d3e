"""All that a checkpoint's model file holds: standardisation, modules, spread of the targets."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
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
from .verifier import Logits, Verifier

STATISTICS = "statistics."


_VERIFIER = "verifier."


@attrs.frozen(kw_only=True)
class VerifierFacts:
    """What a verifier's settings leave open; kept in its run's checkpoints.

    Attributes:
        logprobs: whether it sees log-probabilities.
        world_model: settings of the run whose world model it reads surprise from; None for one of
            its own.
    """

    logprobs: bool
    world_model: TrainSettings | None = None


class Network(nn.Module):
    """Model and objective over raw latents; of a verifier, a world model that stays as it is, and
    the verifier.

    Args:
        settings: of the run.
        statistics: of the training set.
        domains: how many there are.
        verifier: of a verifier.

    Attributes:
        settings: those of the world model.
    """

    step_mean: Tensor
    step_std: Tensor
    prompt_mean: Tensor
    prompt_std: Tensor
    target_std: Tensor

    def __init__(
        self,
        settings: TrainSettings,
        statistics: Standardiser,
        domains: int,
        verifier: VerifierFacts | None = None,
    ) -> None:
        super().__init__()
        whole = settings
        if verifier is not None and verifier.world_model is not None:
            settings = verifier.world_model
        self.settings = settings = settings.predicting
        self.jepa = Jepa(settings.model, statistics.hidden_size, max(1, domains))
        if self.jepa.linear is not None and not settings.linear_share:
            self.jepa.linear.requires_grad_(False)
        self.objective = Objective(settings.model, settings.training, self.jepa)
        self.verifier: Verifier | None = None
        if verifier is not None:
            self.requires_grad_(False)
            sizes = statistics.hidden_size, self.jepa.target_size
            self.verifier = Verifier(whole.model, *sizes, verifier.logprobs)
        self._dropouts = [one for one in self.jepa.modules() if isinstance(one, RowDropout)]
        for name, values in statistics.to_tensors().items():
            self.register_buffer(name, torch.tensor(values), persistent=False)
        size = self.jepa.target_size
        self.register_buffer("target_std", torch.ones(size), persistent=False)

    def train(self, mode: bool = True) -> Network:
        """As every module; of a verifier, the world model never trains, nor drops anything."""
        super().train(mode)
        if self.verifier is not None:
            self.jepa.eval()
            self.objective.eval()
        return self

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

    def verdicts(
        self,
        latents_BSD: Tensor,
        prompts_BD: Tensor,
        domain_B: Tensor,
        logprobs_BS: Tensor | None,
    ) -> Logits:
        """Logits of the verifier, not calibrated, from latents as they are."""
        assert self.verifier is not None
        prompt = self.standardise(latents_BSD, prompts_BD)[1]
        seen = self.verifier_inputs(latents_BSD, prompts_BD, domain_B, logprobs_BS)
        found: Logits = self.verifier(*seen, prompt)
        return found

    @torch.no_grad()
    def verifier_inputs(
        self,
        latents_BSD: Tensor,
        prompts_BD: Tensor,
        domain_B: Tensor,
        logprobs_BS: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """What the verifier sees of each step; see `Verifier.inputs`."""
        assert self.verifier is not None
        steps, prompt = self.standardise(latents_BSD, prompts_BD)
        targets = self.targets(steps)
        return self.verifier.inputs(
            self.jepa, steps, prompt, domain_B, targets, self.target_std, logprobs_BS
        )

    def tensors(self) -> dict[str, Tensor]:
        """Everything by name, as a checkpoint keeps it."""
        names = ("step_mean", "step_std", "prompt_mean", "prompt_std", "target_std")
        return {**self.state_dict(), **{STATISTICS + name: getattr(self, name) for name in names}}

    @classmethod
    def plain(
        cls,
        settings: TrainSettings,
        hidden_size: int,
        domains: int,
        verifier: VerifierFacts | None = None,
    ) -> Network:
        """Untrained, over latents as they are: it has the tensors that a trained one has."""
        return cls(settings, Standardiser.identity(hidden_size), domains, verifier)

    @classmethod
    def of(
        cls,
        settings: TrainSettings,
        tensors: Mapping[str, Tensor],
        domains: int,
        verifier: VerifierFacts | None = None,
        fresh: bool = False,
    ) -> Network:
        """Inverse of `tensors`; of a `fresh` verifier, they are those of the world model alone."""
        kept = {
            key.removeprefix(STATISTICS): value
            for key, value in tensors.items()
            if key.startswith(STATISTICS)
        }
        arrays = {k: np.asarray(v.numpy()) for k, v in kept.items() if k != "target_std"}
        network = cls(settings, Standardiser.from_tensors(arrays), domains, verifier)
        weights = {k: v for k, v in tensors.items() if not k.startswith(STATISTICS)}
        if fresh:
            own = network.state_dict()
            weights = {
                **{k: v for k, v in own.items() if k.startswith(_VERIFIER)},
                **{k: v for k, v in weights.items() if not k.startswith(_VERIFIER)},
            }
        network.load_state_dict(weights)
        network.target_std.copy_(kept["target_std"])
        return network
