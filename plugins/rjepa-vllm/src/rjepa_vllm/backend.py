"""The vLLM backend: a checkpoint, its tokenizer, and the engine that a session needs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

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
from rjepa_core.extraction import end_at_stop
from rjepa_core.ports.backend import ModelInfo, Refused, Session, SessionSpec
from rjepa_core.settings import ModelSettings, SamplingSettings
from rjepa_core.text import count

from .checkpoint import open_checkpoint
from .device import pick_device, vllm_version
from .engine import Engine
from .prompts import Rendered, StopFinder, TextCodec
from .session import VllmSession
from .settings import VllmSettings


class VllmBackend:
    """A model in vLLM.

    The engine starts with the first session, which says which layers it keeps, and starts again
    for one that wants others.
    """

    def __init__(self, model: ModelSettings, settings: VllmSettings) -> None:
        self._settings = settings
        self._device = pick_device(model.device)
        self.checkpoint = open_checkpoint(model, settings, self._device)
        self._engine: Engine | None = None
        self.codec = TextCodec(self.checkpoint.tokenizer)
        self.end_ids = frozenset(self.checkpoint.end_ids)
        known = [n for n in (self.checkpoint.context, settings.max_model_len) if n is not None]
        # vLLM counts a token that follows the last one.
        self._context = min(known) - 1 if known else None
        self.info = ModelInfo(
            content=self.checkpoint.content,
            name=self.checkpoint.name,
            quantisation=self.checkpoint.quantisation,
            compute_dtype=self.checkpoint.dtype,
            hidden_size=self.checkpoint.hidden_size,
            hidden_states=self.checkpoint.layers + 1,
            chat_format=self.codec.chat_format,
            device=self._device,
            passes="vllm",
            stops=True,
            tokenizer=self.codec.content,
            reads_clock=self.codec.reads_clock,
            end_ids=tuple(sorted(self.end_ids)),
            # Its random numbers are torch's, which differ between devices and may between versions.
            sampler=f"vllm-{'.'.join(vllm_version().split('.')[:2])}-{self._device.split(':')[0]}",
            context=self._context,
        )

    def open_session(self, spec: SessionSpec) -> Session:
        """Open a session, after checking that the chat template takes its prompts."""
        self.codec.render(spec.pose(Work(Problem("a", "What is 1 and 2?"), 0)))
        wanted = set(spec.encoding.layers)
        if self._engine is not None and not wanted <= set(self._engine.layers):
            wanted |= set(self._engine.layers)
            self._engine.close()
            self._engine = None
        if self._engine is None:
            self._engine = Engine(
                self.checkpoint, self._settings, self._device, tuple(sorted(wanted))
            )
        return VllmSession(self, self._engine, spec)

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

    def read(self, prompt: Prompt, solution: GivenSolution) -> Completion | Refused:
        """Return a given solution as a completion, or why it cannot be one."""
        try:
            read = self.codec.read(prompt, solution)
        except SettingsError as error:
            return Refused(TEMPLATE, str(error))
        tokens = len(read.prompt_ids) + len(read.ids)
        what = f"prompt and solution, {count(tokens, 'token')},"
        return self._refuse_control(prompt) or self._refuse(tokens, what) or read

    def refuse_trace(self, trace: Trace) -> Refused | None:
        """Return why a stored trace cannot be encoded again, or None."""
        tokens = trace.encoded_length
        return self._refuse(tokens, f"prompt and solution, {count(tokens, 'token')},")

    def ends(self, sampling: SamplingSettings) -> Callable[[int], bool]:
        """Return a function that says of each token of one row whether it ends the completion."""
        return _Ends(self.end_ids, StopFinder(self.codec, sampling.stop) if sampling.stop else None)

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

    def close(self) -> None:
        """End the engine."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _refuse_control(self, prompt: Prompt) -> Refused | None:
        token = self.codec.control_token(prompt)
        if token is None:
            return None
        return Refused(CONTROL_TOKEN, f"the text holds {token}, which the model takes as a command")

    def _refuse(self, tokens: int, what: str) -> Refused | None:
        if self._context is None or tokens <= self._context:
            return None
        return Refused(TOO_LONG, f"{what} are more than the {self._context} that vLLM has room for")


class _Ends:
    """Says whether a row's tokens so far are a complete text."""

    def __init__(self, end_ids: Collection[int], stops: StopFinder | None) -> None:
        self._end_ids, self._stops = end_ids, stops

    def __call__(self, token: int) -> bool:
        stopped = self._stops is not None and self._stops.add(token)
        return stopped or token in self._end_ids
