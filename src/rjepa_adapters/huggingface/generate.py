"""Generate completions for a left-padded batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rjepa_core.domain.trace import RecordKey
from rjepa_core.settings import SamplingSettings

from .sampling import RowSampler, draw_uniforms
from .stop_texts import StopTexts


def generate_batch(
    model: Any,
    prompts: Sequence[NDArray[np.int32]],
    keys: Sequence[RecordKey],
    sampling: SamplingSettings,
    end_ids: Sequence[int],
    pad_id: int,
    stops: StopTexts | None = None,
) -> list[NDArray[np.int32]]:
    """Generated ids, int32 [T] a prompt, cut behind the first end of sequence or stop text.

    Args:
        prompts: int32 [P] each, of any lengths.
        keys: from which, with the seed, each row's random numbers come.
        end_ids: tokens that end a completion.
        pad_id: fills the left of shorter prompts; masked out.
        stops: what ends rows at stop texts, if there are any.
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
    """The ids up to the first end of sequence, that one included."""
    ends = np.flatnonzero(np.isin(ids, list(end_ids)))
    return ids[: ends[0] + 1].copy() if len(ends) else ids.copy()
