"""The verifier: a small transformer over the steps of a solution, beside a world model that stays
as it is (ReProbe, arXiv:2511.06209; LiLaVe, arXiv:2504.16760).

Dimensions: B traces, S steps, D hidden size, E target size, F inputs of a step.
"""

from __future__ import annotations

from typing import NamedTuple

import attrs
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  the field's usual name

from rjepa_core.ports.world_model import Context
from rjepa_core.settings import WorldModelSettings

from .model import Jepa, StepEncoder
from .prediction import predict_each, surprise

# The smallest surprise that its logarithm tells apart.
_LEAST = 1e-6


class Logits(NamedTuple):
    """What a verifier says: `wrong` [B, S] of each step, `failed` [B] of the answer; positive for
    wrong."""

    wrong: Tensor
    failed: Tensor


class Verifier(nn.Module):
    """Logits from standardised latents and what a world model did not foresee of them.

    Args:
        settings: of the run.
        hidden_size, target_size: D and E of the world model.
        logprobs: whether it sees log-probabilities.

    Attributes:
        scalar_mean, scalar_std: float32 [K], by which surprise and log-probability are
            standardised.
        slope, shift: float32 [2], of the calibrated logits of steps and answers.
    """

    scalar_mean: Tensor
    scalar_std: Tensor
    slope: Tensor
    shift: Tensor

    def __init__(
        self, settings: WorldModelSettings, hidden_size: int, target_size: int, logprobs: bool
    ) -> None:
        super().__init__()
        self.causal, self.logprobs = settings.causal_verdicts, logprobs
        self.latents = settings.latents
        self.contexts: tuple[Context, ...] = ()
        if settings.surprise:
            # Predicted from the others, a step is judged by those after it.
            self.contexts = (Context.PAST,) if self.causal else (Context.PAST, Context.OTHERS)
        scalars = len(self.contexts) + logprobs
        inputs = scalars
        if self.latents:
            inputs += hidden_size + (target_size if self.contexts else 0)
        seen = attrs.evolve(settings, prompt=settings.prompt and self.latents)
        self.encoder = StepEncoder(seen, inputs, 1, hidden_size)
        self.out = nn.Linear(settings.width, 1)
        self.out_failed = nn.Linear(settings.width, 1)
        self.gain = nn.Parameter(torch.ones(()))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        # A few of a thousand inputs say most: they need not be found among the others.
        self.direct = nn.Parameter(torch.zeros(2, scalars))
        self.register_buffer("scalar_mean", torch.zeros(scalars))
        self.register_buffer("scalar_std", torch.ones(scalars))
        self.register_buffer("slope", torch.ones(2))
        self.register_buffer("shift", torch.zeros(2))

    @torch.no_grad()
    def inputs(
        self,
        model: Jepa,
        steps_BSD: Tensor,
        prompt_BD: Tensor,
        domain_B: Tensor,
        targets_BSE: Tensor,
        target_std: Tensor,
        logprobs_BS: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """What is seen of each step: vectors [B, S, F - K], and K scalars [B, S, K] as they are."""
        none = steps_BSD.new_zeros(*steps_BSD.shape[:2], 0)
        vectors, scalars = [steps_BSD if self.latents else none], []
        for context in self.contexts:
            made = predict_each(model, steps_BSD, prompt_BD, domain_B, context).float()
            if self.latents and context is Context.PAST:
                vectors.append((targets_BSE - made) / target_std)
            scalars.append(surprise(made, targets_BSE, target_std).clamp(min=_LEAST).log())
        if self.logprobs:
            assert logprobs_BS is not None
            scalars.append(logprobs_BS)
        return torch.cat(vectors, -1), torch.stack(scalars, -1) if scalars else none

    def forward(self, vectors: Tensor, scalars: Tensor, prompt_BD: Tensor) -> Logits:
        """Logits, not calibrated, from `inputs`."""
        rows, count, _ = vectors.shape
        told = (scalars - self.scalar_mean) / self.scalar_std
        places = torch.arange(count, device=vectors.device).expand(rows, -1)
        seen = self.encoder(
            torch.cat([vectors, told], -1),
            places,
            prompt_BD,
            torch.zeros(rows, dtype=torch.long, device=vectors.device),
            None if self.causal else count,
            causal=self.causal,
        )
        wrong = self.out(seen[:, 1:])[..., 0].float()
        failed = self.out_failed(seen[:, -1] if self.causal else seen[:, 0])[..., 0].float()
        wrong = wrong + told @ self.direct[0]
        failed = failed + told.mean(1) @ self.direct[1]
        # A solution with a wrong step has a wrong answer, as a rule: what is learned of answers
        # alone teaches something about steps, too.
        return Logits(wrong, failed + self.gain * wrong.logsumexp(1))

    def calibrated(self, found: Logits) -> Logits:
        """The logits whose probabilities are those that were observed on validation."""
        return Logits(
            self.slope[0] * found.wrong + self.shift[0],
            self.slope[1] * found.failed + self.shift[1],
        )


def verifier_loss(found: Logits, wrong_BS: Tensor, right_B: Tensor) -> tuple[Tensor, Tensor]:
    """Log losses of steps and of answers, each the mean over those that are known."""
    return _known(found.wrong, wrong_BS), _known(found.failed, 1.0 - right_B)


def _known(logits: Tensor, labels: Tensor) -> Tensor:
    known = ~labels.isnan()
    each = F.binary_cross_entropy_with_logits(logits, labels.nan_to_num(), reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)
