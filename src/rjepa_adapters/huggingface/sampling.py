"""Sampling that belongs to the problem: one uniform number a row and token, drawn beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rjepa_core.randomness import row_generator
from rjepa_core.settings import SamplingSettings
from rjepa_core.traces import RecordKey


def draw_uniforms(keys: Sequence[RecordKey], sampling: SamplingSettings) -> Tensor:
    """float32 [B, max_new_tokens] in [0, 1): each row's numbers depend on its key and the seed."""
    rows = [
        row_generator(sampling.seed, key).random(sampling.max_new_tokens, dtype=np.float32)
        for key in keys
    ]
    return torch.from_numpy(np.stack(rows))


def choose(logits_BV: Tensor, uniform_B: Tensor, sampling: SamplingSettings) -> Tensor:
    """Tokens [B] from logits [B, V]: the inverse of the cumulative distribution at `uniform_B`.

    Unlike one noise value a token of the vocabulary, this needs a single number a row and gives
    the same choice on every device, rounding of the probabilities aside.
    """
    if sampling.temperature == 0:
        return logits_BV.argmax(-1)
    probs_BV = torch.softmax(logits_BV.float() / sampling.temperature, -1)
    if sampling.top_k is not None and sampling.top_k < probs_BV.shape[-1]:
        least_B1 = probs_BV.topk(sampling.top_k, -1).values[:, -1:]
        probs_BV = probs_BV.masked_fill(probs_BV < least_B1, 0.0)
    if sampling.top_p is not None and sampling.top_p < 1:
        ordered_BV, order_BV = probs_BV.sort(-1, descending=True)
        ordered_BV = ordered_BV / ordered_BV.sum(-1, keepdim=True)
        before_BV = ordered_BV.cumsum(-1) - ordered_BV
        dropped_BV = (before_BV >= sampling.top_p).scatter(
            -1, order_BV, before_BV >= sampling.top_p
        )
        probs_BV = probs_BV.masked_fill(dropped_BV, 0.0)
    cumulative_BV = probs_BV.cumsum(-1)
    total_B1 = cumulative_BV[:, -1:]
    # Rounded up to the total, the search would end behind the last token that has a probability.
    target_B1 = torch.minimum(
        uniform_B[:, None] * total_B1, torch.nextafter(total_B1, torch.zeros_like(total_B1))
    )
    found_B = torch.searchsorted(cumulative_BV, target_B1, right=True)[:, 0]
    return found_B.clamp(max=probs_BV.shape[-1] - 1)


class RowSampler:
    """A logits processor for `generate`: leaves each row's chosen token as the only one."""

    def __init__(self, uniforms: Tensor, sampling: SamplingSettings, prompt_tokens: int) -> None:
        self._uniforms = uniforms
        self._sampling = sampling
        self._prompt_tokens = prompt_tokens

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        step = input_ids.shape[1] - self._prompt_tokens
        chosen_B = choose(scores, self._uniforms[:, step], self._sampling)
        only = torch.full_like(scores, -torch.inf)
        return only.scatter_(1, chosen_B[:, None], 0.0)
