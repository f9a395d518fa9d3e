"""What a prediction is compared with, and the loss.

`frozen`: the standardised LLM latents. They are fixed, so that nothing can collapse.
`ema`: the output of an exponentially averaged copy of the encoder, layer-normed (BYOL,
    arXiv:2006.07733; I-JEPA, arXiv:2301.08243), with VICReg's variance term (arXiv:2105.04906).
`sigreg`: the encoder's own output, gradients and all, kept from collapsing by LeJEPA's
    isotropic-Gaussian regulariser (arXiv:2511.08544).

Each may be joined by a contrastive term (InfoNCE, arXiv:1807.03748) in which the true step has to
be told from all other steps of the batch that the model was not given, those of its own trace
included: it is the steps which follow that a regression confuses with the one asked for.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  the field's usual name

from rjepa_core.settings import TrainingSettings, WorldModelSettings

from .batches import RankShare
from .distributed import ALONE, Processes
from .masks import Mask, split
from .model import Jepa, StepEncoder
from .prediction import divided

_DIRECTIONS = 256
# Surprise differs by some tenths between steps.
_DETECTION = 0.1
_KNOTS, _REACH = 17, 5.0


class Losses(NamedTuple):
    """The terms of one batch's loss, weighted: `total` is their sum."""

    total: Tensor
    regression: Tensor
    contrastive: Tensor
    regulariser: Tensor


class Objective(nn.Module):
    """Targets and loss of a model under its settings. Holds the averaged encoder, if there is one.

    Args:
        settings, training: as the run's.
        model: whose encoder is averaged.
    """

    def __init__(
        self, settings: WorldModelSettings, training: TrainingSettings, model: Jepa
    ) -> None:
        super().__init__()
        self.kind, self.own_targets = settings.objective, settings.own_targets
        self.training_settings = training
        self.processes: Processes = ALONE
        self.log_detection = nn.Parameter(torch.tensor(math.log(_DETECTION)))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(training.temperature)))
        self.teacher: StepEncoder | None = None
        if self.kind == "ema":
            self.teacher = copy.deepcopy(_encoder(model)).requires_grad_(False)

    def targets(self, model: Jepa, steps_BSD: Tensor) -> Tensor:
        """[B, S, E] of standardised latents."""
        if not self.own_targets:
            return steps_BSD
        if self.teacher is not None:
            with torch.no_grad():
                made = self.teacher.alone(steps_BSD)
                return F.layer_norm(made, made.shape[-1:])
        return _encoder(model).alone(steps_BSD)

    def forward(
        self,
        model: Jepa,
        steps_BSD: Tensor,
        prompt_BD: Tensor,
        domain_B: Tensor,
        mask: Mask,
        generator: torch.Generator,
        seen_BSD: Tensor | None = None,
        share: RankShare | None = None,
    ) -> Losses:
        """The loss of a batch of standardised latents.

        Args:
            model: that predicts.
            steps_BSD, prompt_BD, domain_B: the batch.
            mask: of it.
            generator: on the CPU; draws projections.
            seen_BSD: what the model sees of the steps, where that is not what they are.
            share: of the batch, which these rows are; None where they are all. The losses are such
                that their mean over the processes is the whole batch's.
        """
        together = self.processes if share else ALONE
        share = share or RankShare(0, len(steps_BSD), len(steps_BSD))
        weight = (share.stop - share.start) / share.rows * together.world
        seen = steps_BSD if seen_BSD is None else seen_BSD
        predicted = model(seen, prompt_BD, domain_B, mask)
        own_targets = self.targets(model, steps_BSD)
        all_targets = together.gather(own_targets, share)
        size = all_targets.shape[-1]
        wanted = own_targets.gather(1, mask.masked[..., None].expand(-1, -1, size))
        none = predicted.new_zeros(())
        now = self.training_settings
        regression = none
        if now.regression:
            regression = weight * now.regression * self._regression(predicted, wanted)
        contrastive = none
        if now.contrastive:
            found = self._contrastive(predicted, all_targets, mask, share.start)
            contrastive = weight * now.contrastive * found
        if now.detection:
            contrastive = contrastive + now.detection * detection_loss(
                model,
                lambda steps: self.targets(model, steps),
                steps_BSD,
                prompt_BD,
                domain_B,
                self.log_detection.exp(),
                generator,
            )
        regulariser = none
        if self.kind == "ema" and now.variance:
            made = together.gather(_encoder(model).alone(steps_BSD), share)
            regulariser = now.variance * _variance(made)
        elif self.kind == "sigreg" and now.sigreg:
            regulariser = now.sigreg * sigreg(all_targets.reshape(-1, size), generator)
        return Losses(regression + contrastive + regulariser, regression, contrastive, regulariser)

    def _regression(self, predicted: Tensor, wanted: Tensor) -> Tensor:
        if self.training_settings.loss == "mse":
            return F.mse_loss(predicted, wanted)
        if self.training_settings.loss == "l1":
            return F.l1_loss(predicted, wanted)
        return F.smooth_l1_loss(predicted, wanted)

    def _contrastive(
        self, predicted_BME: Tensor, targets_ASE: Tensor, mask: Mask, first: int
    ) -> Tensor:
        """Rows `first` to `first` + B of all A are those predicted. What the model was given is
        not among the candidates: not to say one's neighbour is easy, and wrong when it is next."""
        rows, masked, _ = predicted_BME.shape
        all_rows, steps, size = targets_ASE.shape
        distance = squared_distances(predicted_BME.flatten(0, 1), targets_ASE.flatten(0, 1)) / size
        logits = -distance * torch.exp(-self.log_temperature)
        row = torch.arange(rows, device=logits.device)[:, None]
        given = logits.new_zeros(rows, all_rows * steps)
        hidden = logits.new_full((), -torch.inf)
        if mask.shown is not None:
            hidden = torch.where(mask.shown, hidden, 0.0)
        start = (first + row) * steps
        given.scatter_(1, start + mask.visible, hidden.expand(mask.visible.shape))
        logits = (logits.view(rows, masked, -1) + given[:, None]).flatten(0, 1)
        return F.cross_entropy(logits, (start + mask.masked).flatten())

    @torch.no_grad()
    def after_step(self, model: Jepa, progress: float) -> None:
        """Move the averaged encoder; `progress` runs from 0 to 1, momentum to 1 with it."""
        if self.teacher is None:
            return
        first = self.training_settings.momentum
        momentum = 1.0 - (1.0 - first) * (math.cos(math.pi * progress) + 1.0) / 2.0
        ours: list[Tensor] = list(self.teacher.parameters())
        theirs: list[Tensor] = list(_encoder(model).parameters())
        torch._foreach_lerp_(ours, theirs, 1.0 - momentum)


def _encoder(model: Jepa) -> StepEncoder:
    """What makes targets; the settings see to it that there is one."""
    assert model.encoder is not None
    return model.encoder


def squared_distances(a_NE: Tensor, b_ME: Tensor) -> Tensor:
    """[N, M], by one matrix product, at least 0."""
    a, b = a_NE.float(), b_ME.float()
    products = torch.addmm((b * b).sum(1)[None], a, b.T, alpha=-2.0)
    return (products + (a * a).sum(1)[:, None]).clamp(min=0.0)


def _variance(made_BSW: Tensor) -> Tensor:
    spread = made_BSW.flatten(0, 1).var(0).add(1e-4).sqrt()
    return F.relu(1.0 - spread).mean()


def sigreg(made_NE: Tensor, generator: torch.Generator) -> Tensor:
    """How far the rows are from an isotropic Gaussian: Epps and Pulley's statistic (the squared
    distance of characteristic functions) in random directions, as LeJEPA sketches it."""
    made = made_NE.float()
    directions = torch.randn(made.shape[1], _DIRECTIONS, generator=generator).to(made.device)
    along = made @ (directions / directions.norm(dim=0))
    knots = torch.linspace(-_REACH, _REACH, _KNOTS, device=made.device)
    normal = torch.exp(-0.5 * knots**2)
    angles = along[..., None] * knots
    real, imaginary = angles.cos().mean(0), angles.sin().mean(0)
    error = ((real - normal) ** 2 + imaginary**2) * normal
    return torch.trapezoid(error, knots).mean() * made.shape[0]


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
