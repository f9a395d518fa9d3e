"""A backend with only `generate` and `encode`, from which the core makes a session.

Its "model" repeats the words of the problem, a few per step; its tokens are characters, and its
hidden states count them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rjepa_core.domain.latents import Encoding
from rjepa_core.domain.randomness import row_generator
from rjepa_core.domain.trace import Completion, Prompt, Trace
from rjepa_core.extraction import BatchBackend, end_at_stop
from rjepa_core.ports.backend import ModelInfo
from rjepa_core.settings import EncodingSettings, ModelSettings, SamplingSettings

from .settings import BackendSettings

LETTERS = 128
Floats = NDArray[np.float32]


class TemplateBackend(BatchBackend):
    """See the module's docstring."""

    def __init__(self, model: ModelSettings, settings: BackendSettings) -> None:
        self._settings = settings
        self.info = ModelInfo(
            content=f"template:{model.name}:{settings.steps}",
            name=model.name,
            quantisation="none",
            compute_dtype="float32",
            hidden_size=LETTERS,
            hidden_states=2,
            # Identifies whatever affects token ids; fields left empty are not compared.
            tokenizer="characters",
            stops=True,
        )

    def count_tokens(self, text: str) -> int:
        return len(text)

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingSettings
    ) -> Sequence[Completion]:
        return [self._complete(prompt, sampling) for prompt in prompts]

    def encode(self, traces: Sequence[Trace], encoding: EncodingSettings) -> Sequence[Encoding]:
        return [self._encode(trace, encoding) for trace in traces]

    # --- from here on, your engine -----------------------------------------------------------

    def _complete(self, prompt: Prompt, sampling: SamplingSettings) -> Completion:
        # All randomness of a row comes from its key, so that batches and restarts do not matter.
        random = row_generator(sampling.seed, prompt.key)
        words = prompt.user[prompt.statement_start : prompt.statement_stop].split()
        lines = [
            f"Step {i + 1}: {' '.join(random.choice(words, 4))}"
            for i in range(self._settings.steps)
        ]
        whole = "\n".join(lines)
        text = whole[: sampling.max_new_tokens]
        complete = Completion(
            prompt_text=prompt.user,
            prompt_ids=_characters(prompt.user),
            statement_span=(prompt.statement_start, prompt.statement_stop),
            text=text,
            ids=_characters(text),
            offsets=np.asarray([(i, i + 1) for i in range(len(text))], np.int32).reshape(-1, 2),
            finish_reason="stop" if text == whole else "length",
        )
        return end_at_stop(complete, sampling.stop)

    def _encode(self, trace: Trace, encoding: EncodingSettings) -> Encoding:
        ids = np.concatenate([trace.prompt_ids, trace.completion_ids])
        states = _hidden_states(ids)[list(encoding.layers)]
        start = len(trace.prompt_ids)  # spans count from the completion's first token
        steps = [
            _pool(states[:, start + span.start : start + span.stop], encoding.pooling)
            for span in trace.spans
        ]
        return Encoding(
            latents=np.stack(steps, axis=1),
            prompt_latent=_pool(states[:, slice(*trace.statement_span)], encoding.pooling),
            logprobs=np.full(len(steps), -np.log(LETTERS), np.float32)
            if encoding.logprobs
            else None,
        )

    # --- until here ---------------------------------------------------------------------------


def _characters(text: str) -> NDArray[np.int32]:
    return np.asarray([ord(character) for character in text], np.int32)


def _hidden_states(ids: NDArray[np.int32]) -> Floats:
    """Return float32 [2 layers, T, D]: each letter, and the share of each letter so far."""
    letters = np.eye(LETTERS, dtype=np.float32)[ids % LETTERS]
    seen = np.arange(1, len(ids) + 1, dtype=np.float32)[:, None]
    return np.stack([letters, letters.cumsum(axis=0) / seen])


def _pool(states: Floats, pooling: str) -> Floats:
    """Return float32 [L, D] of the states [L, T, D] of a step."""
    if pooling == "mean":
        return states.mean(axis=1)
    return states[:, -1] if pooling == "last" else states.max(axis=1)
