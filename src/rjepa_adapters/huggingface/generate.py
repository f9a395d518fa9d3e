"""Generate left-padded batches: random numbers that depend on each row alone, and stop texts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rjepa_core.domain.randomness import row_generator
from rjepa_core.domain.trace import RecordKey
from rjepa_core.settings import SamplingSettings

from .tokenizer import REPLACEMENT, TextCodec


def generate_batch(
    model: Any,
    prompts: Sequence[NDArray[np.int32]],
    keys: Sequence[RecordKey],
    sampling: SamplingSettings,
    end_ids: Sequence[int],
    pad_id: int,
    stops: StopTexts | None = None,
) -> list[NDArray[np.int32]]:
    """Return generated ids, int32 [T] per prompt, up to the first end of sequence or stop text.

    Args:
        prompts: int32 [P] each, of any lengths.
        keys: which, with the seed, determine each row's random numbers.
        end_ids: tokens that end a completion.
        pad_id: token that fills the left of shorter prompts; masked out.
        stops: ends rows at stop texts, if there are any.
    """
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    longest = max(len(p) for p in prompts)
    ids_BT = torch.full((len(prompts), longest), pad_id, dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    for row, prompt in enumerate(prompts):
        ids_BT[row, longest - len(prompt) :] = torch.from_numpy(prompt.astype(np.int64))
        mask_BT[row, longest - len(prompt) :] = 1
    device = model.device
    sampler = RowSampler(draw_uniforms(keys, sampling).to(device), sampling, longest)
    with torch.inference_mode():
        output = model.generate(
            ids_BT.to(device),
            attention_mask=mask_BT.to(device),
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=sampling.max_new_tokens,
                eos_token_id=list(end_ids) or None,
                pad_token_id=pad_id,
            ),
            logits_processor=LogitsProcessorList([sampler]),
            stopping_criteria=StoppingCriteriaList([stops] if stops else []),
        )
    new_BT = output[:, longest:].cpu().numpy().astype(np.int32)
    lengths = stops.lengths if stops else [None] * len(prompts)
    return [cut_at_end(row[:length], end_ids) for row, length in zip(new_BT, lengths, strict=True)]


def cut_at_end(ids: NDArray[np.int32], end_ids: Sequence[int]) -> NDArray[np.int32]:
    """Return the ids up to and including the first end of sequence."""
    ends = np.flatnonzero(np.isin(ids, list(end_ids)))
    return ids[: ends[0] + 1].copy() if len(ends) else ids.copy()


# How tokens are drawn; the number rises with every change to which one is drawn.
SAMPLER = "inverse-cdf-1"
# Number of tokens of the vocabulary whose probabilities are summed together.
_CHUNK = 256


def draw_uniforms(keys: Sequence[RecordKey], sampling: SamplingSettings) -> Tensor:
    """Return float32 [B, max_new_tokens] in [0, 1), from each row's key and the seed."""
    rows = [
        row_generator(sampling.seed, key).random(sampling.max_new_tokens, dtype=np.float32)
        for key in keys
    ]
    return torch.from_numpy(np.stack(rows))


def choose(
    logits_BV: Tensor, uniform_B: Tensor, sampling: SamplingSettings, overwrite: bool = False
) -> Tensor:
    """Choose tokens [B] from logits [B, V]: the inverse cumulative distribution at `uniform_B`.

    Unlike one noise value per token of the vocabulary, this needs a single number per row and gives
    the same choice on every device, rounding of the probabilities aside. With `overwrite` it works
    in the logits' own memory: a second array of that size is most of the cost on a CPU.
    """
    if sampling.temperature == 0:
        return logits_BV.argmax(-1)
    # Unnormalised probabilities are enough for the search and the cuts below. At most one float32
    # array is made, even of logits in half precision.
    probs_BV = logits_BV.to(torch.float32, copy=not overwrite).div_(sampling.temperature)
    probs_BV = probs_BV.sub_(probs_BV.amax(-1, keepdim=True)).exp_()
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
    return _search(probs_BV, uniform_B)


def _search(weights_BV: Tensor, uniform_B: Tensor) -> Tensor:
    """Return tokens [B], where the running sum of weights passes the share `uniform_B` of all.

    The sum runs over chunks of the vocabulary first and then inside a single one, which is faster
    and rounds less than a running sum over all of it.
    """
    rows, vocabulary = weights_BV.shape
    whole = vocabulary - vocabulary % _CHUNK
    sums_BC = weights_BV[:, :whole].view(rows, -1, _CHUNK).sum(-1)
    if whole < vocabulary:
        sums_BC = torch.cat([sums_BC, weights_BV[:, whole:].sum(-1, keepdim=True)], -1)
    running_BC = sums_BC.double().cumsum(-1)
    target_B1 = uniform_B[:, None].double() * running_BC[:, -1:]
    chunk_B1 = torch.searchsorted(running_BC, target_B1, right=True)
    chunk_B1 = torch.minimum(chunk_B1, _last_positive(sums_BC))
    before_B1 = running_BC.gather(-1, chunk_B1) - sums_BC.gather(-1, chunk_B1)
    place_BK = chunk_B1 * _CHUNK + torch.arange(_CHUNK, device=weights_BV.device)
    inside_BK = weights_BV.gather(-1, place_BK.clamp(max=vocabulary - 1))
    inside_BK = inside_BK.masked_fill(place_BK >= vocabulary, 0.0)
    found_B1 = torch.searchsorted(inside_BK.double().cumsum(-1), target_B1 - before_B1, right=True)
    # Rounding may lead past the last token that has a probability.
    found_B1 = torch.minimum(found_B1, _last_positive(inside_BK))
    return (chunk_B1 * _CHUNK + found_B1)[:, 0]


def _last_positive(values_BN: Tensor) -> Tensor:
    """Return [B, 1], the last index with a value above zero."""
    return values_BN.shape[-1] - 1 - (values_BN > 0).flip(-1).int().argmax(-1, keepdim=True)


class RowSampler:
    """A logits processor for `generate` that leaves each row only its chosen token."""

    def __init__(self, uniforms: Tensor, sampling: SamplingSettings, prompt_tokens: int) -> None:
        self._uniforms = uniforms
        self._sampling = sampling
        self._prompt_tokens = prompt_tokens

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        step = input_ids.shape[1] - self._prompt_tokens
        chosen_B = choose(scores, self._uniforms[:, step], self._sampling)
        only = torch.full_like(scores, -torch.inf)
        return only.scatter_(1, chosen_B[:, None], 0.0)


class StopFinder:
    """Finds stop texts in one row, holding no more of its text than a stop text needs."""

    def __init__(self, codec: TextCodec, stops: Sequence[str]) -> None:
        self._codec, self._stops = codec, stops
        self._kept = max(map(len, stops)) - 1
        self._tail = ""
        self._group: list[int] = []  # tokens of an incomplete character

    def add(self, token: int) -> bool:
        """Add a token and return whether the text now holds a stop text."""
        if token in self._codec.special:
            piece = self._codec.text_of(self._group) if self._group else ""
        else:
            self._group.append(token)
            piece = self._codec.text_of(self._group)
            if piece.endswith(REPLACEMENT):
                return False
        self._group = []
        text = self._tail + piece
        self._tail = text[len(text) - self._kept :] if self._kept < len(text) else text
        return any(stop in text for stop in self._stops)


class StopTexts:
    """A stopping criterion for `generate` that ends each row at its own stop text.

    Attributes:
        lengths: tokens of each row up to and including its stop text; None if it has none.
    """

    def __init__(self, finders: Sequence[StopFinder], end_ids: Collection[int]) -> None:
        self._finders, self._end_ids = finders, frozenset(end_ids)
        self._done = [False] * len(finders)
        self._tokens = 0
        self.lengths: list[int | None] = [None] * len(finders)

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: object) -> Tensor:
        self._tokens += 1
        for row, token in enumerate(input_ids[:, -1].tolist()):
            if self._done[row]:
                continue
            if self._finders[row].add(token):
                self._done[row], self.lengths[row] = True, self._tokens
            elif token in self._end_ids:
                self._done[row] = True
        return torch.tensor(self._done, device=input_ids.device)
