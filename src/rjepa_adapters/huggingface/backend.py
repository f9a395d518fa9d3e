"""The Hugging Face backend: `generate` and `encode` over one loaded model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from rjepa_core.domain.latents import Encoding
from rjepa_core.domain.problem import GivenSolution, Problem
from rjepa_core.domain.trace import (
    CONTROL_TOKEN,
    TEMPLATE,
    TOO_LONG,
    Completion,
    Prompt,
    Trace,
    Work,
)
from rjepa_core.errors import SettingsError
from rjepa_core.extraction import BatchBackend, end_at_stop
from rjepa_core.ports.backend import ModelInfo, Refused, Session, SessionSpec
from rjepa_core.settings import EncodingSettings, SamplingSettings
from rjepa_core.text import count

from .checkpoints import context_of
from .fused.decoder import Decoder
from .fused.session import FusedSession
from .generate import SAMPLER, StopFinder, StopTexts, generate_batch
from .hidden_states import LayerReader, encode_batch
from .library_log import relay_messages
from .placement import Loaded, convert_out_of_memory
from .settings import DOUBLE_PASS, HuggingFaceSettings
from .tokenizer import Rendered, TextCodec


class HuggingFaceBackend(BatchBackend):
    """The backend for a causal LM of transformers on one device."""

    def __init__(self, loaded: Loaded, settings: HuggingFaceSettings) -> None:
        self.model = loaded.model
        self.codec = TextCodec(loaded.tokenizer)
        self._settings = settings
        self._reader = LayerReader(loaded.model)
        self._decoder: Decoder | None = None
        self.end_ids = loaded.end_ids
        self._pad_id = loaded.pad_id
        config = loaded.model.config.get_text_config()
        self._context = context_of(loaded.model.config)
        self._closed = False
        self.info = ModelInfo(
            content=loaded.content,
            name=loaded.name,
            quantisation=loaded.quantisation,
            compute_dtype=str(loaded.model.dtype).removeprefix("torch."),
            hidden_size=int(config.hidden_size),
            hidden_states=self._reader.hidden_states,
            chat_format=self.codec.chat_format,
            device=str(loaded.model.device),
            notes=loaded.notes,
            passes=settings.extraction,
            stops=True,
            tokenizer=self.codec.content,
            reads_clock=self.codec.reads_clock,
            end_ids=tuple(sorted(self.end_ids)),
            sampler=SAMPLER,
            context=self._context,
        )

    def count_tokens(self, text: str) -> int:
        return self.codec.count(text)

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingSettings
    ) -> Sequence[Completion | Refused]:
        prepared = [self.prepare(prompt, sampling) for prompt in prompts]
        fitting = [i for i, one in enumerate(prepared) if isinstance(one, Rendered)]
        rendered = [one for one in prepared if isinstance(one, Rendered)]
        answers: list[Completion | Refused | None] = [
            one if isinstance(one, Refused) else None for one in prepared
        ]
        if rendered:
            generated = convert_out_of_memory(
                self.model.device,
                lambda: generate_batch(
                    self.model,
                    [one.ids for one in rendered],
                    [prompts[i].key for i in fitting],
                    sampling,
                    self.end_ids,
                    self._pad_id,
                    self._stop_texts(sampling, len(rendered)),
                ),
            )
            for i, one, ids in zip(fitting, rendered, generated, strict=True):
                answers[i] = self.completion(one, ids, sampling)
        return [answer for answer in answers if answer is not None]

    def prepare(self, prompt: Prompt, sampling: SamplingSettings) -> Rendered | Refused:
        """Return the rendered prompt, or why it cannot be completed."""
        refused = self._refuse_control(prompt)
        if refused is not None:
            return refused
        try:
            one = Rendered(*self.codec.render(prompt))
        except SettingsError as error:
            return Refused(TEMPLATE, str(error))
        new = sampling.max_new_tokens
        what = f"the prompt's {count(len(one.ids), 'token')} and {new} new ones"
        return self._refuse(len(one.ids) + new, what) or one

    def stop_finder(self, sampling: SamplingSettings) -> StopFinder | None:
        """Return a finder of stop texts for one row; None if there are no stop texts."""
        return StopFinder(self.codec, sampling.stop) if sampling.stop else None

    def _stop_texts(self, sampling: SamplingSettings, rows: int) -> StopTexts | None:
        finders = [self.stop_finder(sampling) for _ in range(rows)]
        return StopTexts([one for one in finders if one], self.end_ids) if sampling.stop else None

    def completion(
        self, prompt: Rendered, ids: NDArray[np.int32], sampling: SamplingSettings
    ) -> Completion:
        """Return generated ids, int32 [T], as the completion of a prompt."""
        text, offsets = self.codec.decode(ids.tolist())
        ended = len(ids) > 0 and int(ids[-1]) in self.end_ids
        whole = Completion(
            prompt_text=prompt.text,
            prompt_ids=prompt.ids,
            statement_span=prompt.statement,
            text=text,
            ids=ids,
            offsets=offsets,
            finish_reason="stop" if ended else "length",
        )
        return end_at_stop(whole, sampling.stop)

    def read(
        self, prompts: Sequence[Prompt], solutions: Sequence[GivenSolution]
    ) -> Sequence[Completion | Refused]:
        answers: list[Completion | Refused] = []
        for prompt, solution in zip(prompts, solutions, strict=True):
            try:
                read = self.codec.read(prompt, solution)
            except SettingsError as error:
                answers.append(Refused(TEMPLATE, str(error)))
                continue
            tokens = len(read.prompt_ids) + len(read.ids)
            answers.append(
                self._refuse_control(prompt)
                or self._refuse(tokens, f"prompt and solution, {count(tokens, 'token')},")
                or read
            )
        return answers

    def encode(
        self, traces: Sequence[Trace], encoding: EncodingSettings
    ) -> Sequence[Encoding | Refused]:
        return convert_out_of_memory(
            self.model.device,
            lambda: encode_batch(
                self._reader,
                self.model,
                traces,
                encoding,
                self._pad_id,
                self._settings.logprob_rows,
            ),
        )

    def open_session(self, spec: SessionSpec) -> Session:
        """Open a session, after checking on a few tokens that layers and chat template work."""
        fused = self._settings.extraction != DOUBLE_PASS
        if fused and self._decoder is None:
            self._decoder = Decoder(self.model, self._reader)
        ids = self.codec.tokenizer("Step 1: one and two.", add_special_tokens=False).input_ids
        with relay_messages(), torch.inference_mode():
            self.codec.render(spec.pose(Work(Problem("a", "What is 1 and 2?"), 0)))
            self._reader.check(ids, spec.encoding.layers, spec.encoding.logprobs)
            if fused and self._decoder is not None:
                self._decoder.check(ids, spec.encoding.layers)
        if not fused or self._decoder is None:
            return super().open_session(spec)
        return FusedSession(self, self._decoder, spec)

    def _refuse_control(self, prompt: Prompt) -> Refused | None:
        token = self.codec.control_token(prompt)
        if token is None:
            return None
        return Refused(CONTROL_TOKEN, f"the text holds {token}, which the model takes as a command")

    def _refuse(self, tokens: int, what: str) -> Refused | None:
        if self._context is None or tokens <= self._context:
            return None
        return Refused(TOO_LONG, f"{what} are more than the model's {self._context} positions")

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        device = self.model.device
        del self.model, self._reader, self._decoder
        if device.type == "cuda":
            torch.cuda.empty_cache()
