"""A backend that has only `generate` and `encode`: the core makes a session of it.

Its "model" repeats the words of the problem, a few a step, and its vectors count characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import numpy as np
from attrs import validators as v

from rjepa_core.latents import Encoding
from rjepa_core.plugins import BackendAdapter, hookimpl
from rjepa_core.ports.llm_backend import BatchBackend, ModelInfo
from rjepa_core.randomness import row_generator
from rjepa_core.settings import EncodingSettings, ModelSettings, SamplingSettings
from rjepa_core.traces import Completion, Prompt, Trace

LETTERS = 128


@attrs.frozen(kw_only=True)
class TemplateSettings:
    """What only this backend knows: `--set backend.steps=2`.

    Attributes:
        steps: steps a completion.
    """

    steps: int = attrs.field(default=3, validator=v.ge(1))


class TemplateBackend(BatchBackend):
    """Tokens are characters; hidden states are two layers of character counts."""

    def __init__(self, model: ModelSettings, settings: TemplateSettings) -> None:
        self._settings = settings
        self.info = ModelInfo(
            content=f"template:{model.name}:{settings.steps}",
            name=model.name,
            quantisation="none",
            compute_dtype="float32",
            hidden_size=LETTERS,
            hidden_states=2,
        )

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingSettings
    ) -> Sequence[Completion]:
        return [self._complete(prompt, sampling) for prompt in prompts]

    def encode(self, traces: Sequence[Trace], encoding: EncodingSettings) -> Sequence[Encoding]:
        return [self._encode(trace, encoding) for trace in traces]

    # --- from here on, your engine -----------------------------------------------------------

    def _complete(self, prompt: Prompt, sampling: SamplingSettings) -> Completion:
        # All randomness of a row comes from here, so that batches and restarts do not matter.
        random = row_generator(sampling.seed, prompt.key)
        statement = prompt.user[prompt.statement_start : prompt.statement_stop]
        lines = [
            f"Step {i + 1}: {' '.join(random.choice(statement.split(), 4))}"
            for i in range(self._settings.steps)
        ]
        whole = "\n".join(lines)
        text = whole[: sampling.max_new_tokens]
        return Completion(
            prompt_text=prompt.user,
            prompt_ids=_ids(prompt.user),
            statement_span=(prompt.statement_start, prompt.statement_stop),
            text=text,
            ids=_ids(text),
            offsets=np.asarray([(i, i + 1) for i in range(len(text))], np.int32).reshape(-1, 2),
            finish_reason="stop" if text == whole else "length",
        )

    def _encode(self, trace: Trace, encoding: EncodingSettings) -> Encoding:
        steps = [trace.completion_ids[s.start : s.stop] for s in trace.spans]
        statement = trace.prompt_ids[slice(*trace.statement_span)]
        return Encoding(
            latents=np.stack([[_counts(ids, layer) for ids in steps] for layer in encoding.layers]),
            prompt_latent=np.stack([_counts(statement, layer) for layer in encoding.layers]),
            logprobs=np.zeros(len(steps), np.float32) if encoding.logprobs else None,
        )

    # --- until here ---------------------------------------------------------------------------


def _ids(text: str) -> np.ndarray:
    return np.asarray([ord(c) for c in text], np.int32)


def _counts(ids: np.ndarray, layer: int) -> np.ndarray:
    return np.bincount(ids % LETTERS, minlength=LETTERS).astype(np.float32) * (layer + 1)


@hookimpl
def rjepa_backends() -> Iterable[BackendAdapter]:
    return [
        BackendAdapter(
            name="template",
            summary="repeats the words of the problem; a template for a backend of your own",
            settings=TemplateSettings,
            create=TemplateBackend,
        )
    ]
