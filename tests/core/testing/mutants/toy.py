"""A small backend that keeps every promise: tokens are characters, hidden states are counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rjepa_core.domain.latents import Encoding
from rjepa_core.domain.randomness import row_generator
from rjepa_core.domain.trace import Completion, Prompt, StepSpan, Trace
from rjepa_core.extraction.batch_backend import BatchBackend
from rjepa_core.extraction.outcomes import end_at_stop
from rjepa_core.ports.backend import ModelInfo
from rjepa_core.settings.extraction import EncodingSettings, SamplingSettings

LETTERS = 64


class Toy(BatchBackend):
    """Each of its small methods is one that a mutant breaks."""

    info = ModelInfo("toy", "toy", "none", "float32", LETTERS, 2, stops=True)

    def generate(self, prompts: Sequence[Prompt], sampling: SamplingSettings) -> list[Completion]:
        return [self.complete(prompt, sampling) for prompt in prompts]

    def encode(self, traces: Sequence[Trace], encoding: EncodingSettings) -> list[Encoding]:
        return [self.encode_one(trace, encoding) for trace in traces]

    def complete(self, prompt: Prompt, sampling: SamplingSettings) -> Completion:
        random = row_generator(sampling.seed, prompt.key)
        text = "\n".join(
            f"Step {i}: {''.join(random.choice([*'abcdefgh '], 8))}x" for i in range(1, 4)
        )[: sampling.max_new_tokens]
        whole = Completion(
            prompt_text=prompt.user,
            prompt_ids=as_ids(prompt.user),
            statement_span=self.statement_span(prompt),
            text=text,
            ids=as_ids(text),
            offsets=self.offsets(text),
            finish_reason="length" if len(text) == sampling.max_new_tokens else "stop",
        )
        return self.stopped(whole, sampling)

    def stopped(self, completion: Completion, sampling: SamplingSettings) -> Completion:
        return end_at_stop(completion, sampling.stop)

    def statement_span(self, prompt: Prompt) -> tuple[int, int]:
        return prompt.statement_start, prompt.statement_stop

    def offsets(self, text: str) -> NDArray[np.int32]:
        return np.asarray([(i, i + 1) for i in range(len(text))], np.int32).reshape(-1, 2)

    def encode_one(self, trace: Trace, encoding: EncodingSettings) -> Encoding:
        states = self.states(np.concatenate([trace.prompt_ids, trace.completion_ids]))
        states, how = self.chosen(states, encoding), encoding.pooling
        start = len(trace.prompt_ids)
        steps = [self.pooled(states, start, span, how) for span in trace.spans]
        prompt = self.pool(states[:, slice(*trace.statement_span)], how)
        return Encoding(np.stack(steps, 1), prompt, -np.ones(len(steps), np.float32))

    def states(self, ids: NDArray[np.int32]) -> NDArray[np.float32]:
        letters = np.eye(LETTERS, dtype=np.float32)[ids * 31 % 127 % LETTERS]
        so_far = letters.cumsum(0) / np.arange(1, len(ids) + 1, dtype=np.float32)[:, None]
        return np.stack([letters, so_far + 0.1 * letters])

    def chosen(
        self, states: NDArray[np.float32], encoding: EncodingSettings
    ) -> NDArray[np.float32]:
        return states[list(encoding.layers)]

    def pooled(
        self, states: NDArray[np.float32], start: int, span: StepSpan, how: str
    ) -> NDArray[np.float32]:
        return self.pool(states[:, start + span.start : start + span.stop], how)

    def pool(self, states: NDArray[np.float32], how: str) -> NDArray[np.float32]:
        return {"mean": states.mean(1), "last": states[:, -1], "max": states.max(1)}[how]


def as_ids(text: str) -> NDArray[np.int32]:
    return np.asarray([ord(character) for character in text], np.int32)
