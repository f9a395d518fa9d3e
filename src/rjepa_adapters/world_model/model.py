"""The joint-embedding predictive architecture over the steps of a trace.

A context encoder sees the visible steps and the prompt; a narrower predictor, with a mask token at
each masked position, says what stands there (I-JEPA, arXiv:2301.08243; V-JEPA, arXiv:2404.08471).
Dimensions: B traces, S steps, V visible, M masked, D hidden size, W width, E target size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  the field's usual name

from rjepa_core.settings import WorldModelSettings

from .linear_path import LinearPath, Perceptron, RowDropout
from .masks import Mask


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = RowDropout(dropout)
        self.norm_1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(
        self,
        x_BTW: Tensor,
        alone: bool = False,
        shown_BT: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """Attend and transform, to the tokens that are `shown`; `alone` lets each token attend to
        itself only, with nothing dropped: what is predicted must not be noise. `causal`: to itself
        and those before it."""
        rows, tokens, width = x_BTW.shape
        q, k, v = self.qkv(self.norm_1(x_BTW)).chunk(3, -1)
        if alone:
            seen = v
        else:
            shape = (rows, tokens, self.heads, width // self.heads)
            q, k, v = (one.view(shape).transpose(1, 2) for one in (q, k, v))
            mask = None if shown_BT is None else shown_BT[:, None, None]
            seen = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)
            seen = seen.transpose(1, 2).reshape(rows, tokens, width)
        attended = self.out(seen)
        x_BTW = x_BTW + (attended if alone else self.dropout(attended))
        changed = self.down(F.gelu(self.up(self.norm_2(x_BTW))))
        return x_BTW + (changed if alone else self.dropout(changed))


class StepEncoder(nn.Module):
    """Standardised latents to vectors of width W.

    Args:
        settings: of the model.
        hidden_size: of a step.
        domains: how many there are.
        prompt_size: of the prompt; a step's by default.
    """

    def __init__(
        self,
        settings: WorldModelSettings,
        hidden_size: int,
        domains: int,
        prompt_size: int | None = None,
    ) -> None:
        super().__init__()
        width = settings.width
        self.max_steps = settings.max_steps
        self.thin = RowDropout(settings.input_dropout)
        self.step_in = nn.Linear(hidden_size, width)
        prompt_size = prompt_size or hidden_size
        self.prompt_in = nn.Linear(prompt_size, width) if settings.prompt else None
        self.domain_in = nn.Embedding(domains, width) if settings.domains else None
        self.position = nn.Parameter(torch.empty(settings.max_steps, width).normal_(std=0.02))
        # How many steps there are, where that may be known: from the past alone, no step is
        # the last one.
        self.count = nn.Parameter(torch.empty(settings.max_steps, width).normal_(std=0.02))
        # Stands where nothing else does: no prompt, and no step visible.
        self.start = nn.Parameter(torch.empty(width).normal_(std=0.02))
        self.blocks = nn.ModuleList(
            Block(width, settings.heads, settings.dropout) for _ in range(settings.depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        steps_BVD: Tensor,
        places_BV: Tensor,
        prompt_BD: Tensor,
        domain_B: Tensor,
        count: int | None,
        shown_BV: Tensor | None = None,
        causal: bool = False,
    ) -> Tensor:
        """[B, 1 + V, W]: what stands for prompt, domain and `count`, then the visible steps;
        `causal` lets each see itself and those before it."""
        first = self.start.expand(len(steps_BVD), -1)
        if count is not None:
            first = first + self.count[min(count, self.max_steps) - 1]
        if self.prompt_in is not None:
            first = first + self.prompt_in(self.thin(prompt_BD))
        if self.domain_in is not None:
            first = first + self.domain_in(domain_B)
        steps = self.step_in(self.thin(steps_BVD)) + self.position[self._capped(places_BV)]
        x = torch.cat([first[:, None], steps], 1)
        shown = _between(shown_BV, 1, 0)
        for block in self.blocks:
            x = block(x, shown_BT=shown, causal=causal)
        normed: Tensor = self.norm(x)
        return normed

    def alone(self, steps_BSD: Tensor) -> Tensor:
        """[B, S, W]: each step by itself, without its position: what a target is made of.

        A target that knew its neighbours or its position would give the answer away.
        """
        x = self.step_in(steps_BSD)
        for block in self.blocks:
            x = block(x, alone=True)
        normed: Tensor = self.norm(x)
        return normed

    def _capped(self, places: Tensor) -> Tensor:
        return places.clamp(max=self.max_steps - 1)


class Predictor(nn.Module):
    """Context to predictions of the masked steps."""

    def __init__(self, settings: WorldModelSettings, target_size: int) -> None:
        super().__init__()
        width = settings.predictor_width
        self.max_steps = settings.max_steps
        self.context_in = nn.Linear(settings.width, width)
        self.position = nn.Parameter(torch.empty(settings.max_steps, width).normal_(std=0.02))
        self.mask = nn.Parameter(torch.empty(width).normal_(std=0.02))
        self.blocks = nn.ModuleList(
            Block(width, settings.predictor_heads, settings.dropout)
            for _ in range(settings.predictor_depth)
        )
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, target_size)

    def forward(self, context_BTW: Tensor, mask: Mask) -> Tensor:
        """[B, M, E] from the encoder's [B, 1 + V, W]."""
        place = self.position[mask.masked.clamp(max=self.max_steps - 1)]
        seen = self.position[mask.visible.clamp(max=self.max_steps - 1)]
        context = self.context_in(context_BTW)
        context = torch.cat([context[:, :1], context[:, 1:] + seen], 1)
        x = torch.cat([context, self.mask + place], 1)
        shown = _between(mask.shown, 1, place.shape[1])
        for block in self.blocks:
            x = block(x, shown_BT=shown)
        predicted: Tensor = self.out(self.norm(x[:, context.shape[1] :]))
        return predicted


class Jepa(nn.Module):
    """All that is trained by gradients: encoder and predictor, with the linear path beside them;
    or one of the two baselines on the linear path's inputs (`model.network`).

    Args:
        settings: of the model.
        hidden_size: D.
        domains: how many there are.

    Attributes:
        encoder, predictor: of `transformer`.
        hidden: of `perceptron`.
        linear: the linear path; all that `linear` has.
    """

    def __init__(self, settings: WorldModelSettings, hidden_size: int, domains: int = 1) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.target_size = settings.width if settings.own_targets else hidden_size
        deep = settings.network == "transformer"
        self.encoder = StepEncoder(settings, hidden_size, domains) if deep else None
        self.predictor = Predictor(settings, self.target_size) if deep else None
        self.hidden = (
            Perceptron(settings, hidden_size, self.target_size)
            if settings.network == "perceptron"
            else None
        )
        self.linear = (
            LinearPath(settings, hidden_size, self.target_size) if settings.linear_path else None
        )
        for module in self.modules():
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(
        self,
        steps_BSD: Tensor,
        prompt_BD: Tensor,
        domain_B: Tensor,
        mask: Mask,
    ) -> Tensor:
        """Predictions [B, M, E] of the masked steps of standardised latents."""
        found = [one(steps_BSD, prompt_BD, mask) for one in (self.linear, self.hidden) if one]
        if self.encoder is not None and self.predictor is not None:
            width = steps_BSD.shape[-1]
            visible = steps_BSD.gather(1, mask.visible[..., None].expand(-1, -1, width))
            context = self.encoder(
                visible, mask.visible, prompt_BD, domain_B, mask.steps, mask.shown
            )
            found.append(self.predictor(context, mask))
        return sum(found[1:], found[0])

    def embed(self, steps_BSD: Tensor, prompt_BD: Tensor, domain_B: Tensor) -> Tensor:
        """[B, S, W]: the encoder's output with every step visible; a network without an encoder
        has the steps themselves."""
        if self.encoder is None:
            return steps_BSD
        rows, count, _ = steps_BSD.shape
        places = torch.arange(count, device=steps_BSD.device).expand(rows, -1)
        found: Tensor = self.encoder(steps_BSD, places, prompt_BD, domain_B, count)
        return found[:, 1:]

    def start_at_the_linear_path(self) -> None:
        """Let all else add nothing to it, until it is trained."""
        layers: list[nn.Module] = [] if self.predictor is None else [self.predictor.out]
        if self.hidden is not None:
            layers += [one[-1] for one in (self.hidden.others, self.hidden.past)]
        for layer in layers:
            for values in layer.parameters():
                nn.init.zeros_(values)


def _between(shown_BV: Tensor | None, before: int, after: int) -> Tensor | None:
    """[B, before + V + after]: what stands before and after the steps is always shown."""
    return None if shown_BV is None else F.pad(shown_BV, (before, after), value=True)
