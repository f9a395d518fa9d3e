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

from .batches import Share
from .masks import Mask


class RowDropout(nn.Module):
    """Dropout whose noise does not depend on how the rows of a batch are shared out.

    Attributes:
        share: which rows of the batch are given; None where they are all.
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.share: Share | None = None

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

    def forward(self, x_BTW: Tensor, alone: bool = False, shown_BT: Tensor | None = None) -> Tensor:
        """Attend and transform, to the tokens that are `shown`; `alone` lets each token attend to
        itself only, with nothing dropped: what is predicted must not be noise."""
        rows, tokens, width = x_BTW.shape
        q, k, v = self.qkv(self.norm_1(x_BTW)).chunk(3, -1)
        if alone:
            seen = v
        else:
            shape = (rows, tokens, self.heads, width // self.heads)
            q, k, v = (one.view(shape).transpose(1, 2) for one in (q, k, v))
            mask = None if shown_BT is None else shown_BT[:, None, None]
            seen = F.scaled_dot_product_attention(q, k, v, mask)
            seen = seen.transpose(1, 2).reshape(rows, tokens, width)
        attended = self.out(seen)
        x_BTW = x_BTW + (attended if alone else self.dropout(attended))
        changed = self.down(F.gelu(self.up(self.norm_2(x_BTW))))
        return x_BTW + (changed if alone else self.dropout(changed))


class StepEncoder(nn.Module):
    """Standardised latents to vectors of width W."""

    def __init__(self, settings: WorldModelSettings, hidden_size: int, domains: int) -> None:
        super().__init__()
        width = settings.width
        self.max_steps = settings.max_steps
        self.thin = RowDropout(settings.input_dropout)
        self.step_in = nn.Linear(hidden_size, width)
        self.prompt_in = nn.Linear(hidden_size, width) if settings.prompt else None
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
    ) -> Tensor:
        """[B, 1 + V, W]: what stands for prompt, domain and `count`, then the visible steps."""
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
            x = block(x, shown_BT=shown)
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
        self.target_size = hidden_size if settings.objective == "frozen" else settings.width
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
