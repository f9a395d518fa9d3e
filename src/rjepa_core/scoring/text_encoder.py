"""Encode solutions given as text in a world model's latent space, without storing anything."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Self

import attrs
import numpy as np

from ..domain.identity import LatentSpace, check_space, unknown
from ..domain.latents import LatentRecord
from ..domain.problem import GivenSolution, Problem
from ..domain.trace import Failure, Work
from ..errors import BackendError, UsageError
from ..extraction import identity_of, session_spec, today
from ..plugins import BackendAdapter, Registry
from ..ports.backend import LLMBackend, ModelInfo, Room
from ..ports.world_model import LatentSequence, WorldModelInfo
from ..settings import (
    AdapterSettings,
    EncodingSettings,
    ExtractionSettings,
    ModelSettings,
    ProblemSettings,
    PromptSettings,
    StepSettings,
    StoreSettings,
)
from ..text import shortened

log = logging.getLogger(__name__)
# Tokens of one forward pass of the LLM, padding included.
ENCODE_TOKENS = 4096


@attrs.frozen
class Solution:
    """A solution to be encoded.

    Attributes:
        statement: of the problem.
        given: the solution, as text or as steps.
        domain: of the problem.
    """

    statement: str
    given: GivenSolution
    domain: str


class TextEncoder:
    """A backend that encodes solutions in one latent space. Not safe for several threads.

    Args:
        backend: a loaded LLM; closed with the encoder.
        settings: how it encodes; made by `encoder_settings`.
        space: the latent space of the vectors.
        encode_tokens: most tokens of one forward pass, padding included.
    """

    def __init__(
        self,
        backend: LLMBackend,
        settings: ExtractionSettings,
        space: LatentSpace,
        encode_tokens: int = ENCODE_TOKENS,
    ) -> None:
        self._backend, self.encode_tokens = backend, encode_tokens
        self._spec = session_spec(settings, space.layers)
        self._closed = False

    def __repr__(self) -> str:
        info, layers = self.info, ", ".join(map(str, self._spec.encoding.layers))
        return (
            f"<TextEncoder {shortened(info.name, 60)} on {info.device}: layers {layers}, "
            f"{info.compute_dtype}>"
        )

    @property
    def info(self) -> ModelInfo:
        """What the backend reports about its model."""
        return self._backend.info

    def encode(
        self, solutions: Sequence[Solution], most_steps: int | None = None
    ) -> list[LatentRecord | Failure]:
        """Return one record or failure per solution, in order, using as few passes as fit.

        Args:
            solutions: one with an empty step is a failure.
            most_steps: a solution with more steps is a failure, found before the LLM runs.

        Raises:
            BackendError: the backend cannot continue.
            UsageError: the encoder is closed.
        """
        if self._closed:
            raise UsageError("model: this encoder is closed; open it again")
        # Numbers as ids, because several solutions may be of the same problem.
        works = [
            Work(Problem(str(number), solution.statement, solution.domain), 0, solution.given)
            for number, solution in enumerate(solutions)
        ]
        results: dict[str, LatentRecord | Failure] = {}
        session = self._backend.open_session(attrs.evolve(self._spec, most_steps=most_steps))
        try:
            session.admit(works)
            tokens = self.encode_tokens
            while session.in_flight:
                step = session.advance(Room(0, None, 0, tokens))
                results.update((record.key.problem_id, record) for record in step.finished)
                results.update((failure.key.problem_id, failure) for failure in step.failed)
                session.admit(step.given_back)
                if step.observation is not None and step.observation.out_of_memory:
                    tokens = max(1, tokens // 2)
        finally:
            session.close()
        if len(results) != len(works):
            raise BackendError(
                f"the backend {self.info.name} was given {len(works)} solutions and returned "
                f"{len(results)}"
            )
        return [results[work.problem.id] for work in works]

    def close(self) -> None:
        """Release the LLM; closing again does nothing."""
        if not self._closed:
            self._closed = True
            self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def sequence_of(record: LatentRecord, layer: int = 0) -> LatentSequence:
    """Return the latents of a record as a world model takes them; `layer` is an index into L."""
    return LatentSequence(
        np.asarray(record.latents[layer], np.float32),
        np.asarray(record.prompt_latent[layer], np.float32),
        record.trace.problem.domain,
        None if record.logprobs is None else np.asarray(record.logprobs, np.float32),
    )


def open_text_encoder(
    model: ModelSettings,
    backend: AdapterSettings,
    info: WorldModelInfo,
    registry: Registry | None = None,
    encode_tokens: int = ENCODE_TOKENS,
) -> TextEncoder:
    """Load the LLM that a world model's latents came from, and return its encoder.

    Args:
        model: the LLM; dtype `auto` means the latent space's.
        backend: the adapter that runs it.
        info: of the world model.
        registry: finds the adapter.
        encode_tokens: most tokens of one forward pass, padding included.

    Raises:
        IdentityError: its latents are of another space than the world model's; the message names
            the settings that differ.
        UsageError: anything else that the user can fix.
    """
    adapter = (registry or Registry()).find(BackendAdapter, backend.name)
    options = adapter.configure(backend.options, "backend")
    if model.dtype == "auto":
        model = attrs.evolve(model, dtype=info.space.compute_dtype)
    settings = encoder_settings(model, backend, info.space, info.needs_logprobs)
    loaded = adapter.create(model, options)
    try:
        ours = identity_of(settings, loaded.info).space
        check_space(ours, info.space, f"model.name {model.name}", info.location)
        _warn_of_unknown(ours, info)
    except BaseException:
        loaded.close()
        raise
    return TextEncoder(loaded, settings, info.space, encode_tokens)


def _warn_of_unknown(ours: LatentSpace, info: WorldModelInfo) -> None:
    keys = ", ".join(unknown(info.space, ours))
    if keys:
        log.warning(
            "%s did not keep the %s of its latents when it was trained: whether this model's is "
            "the same cannot be checked", info.location, keys
        )  # fmt: skip


def encoder_settings(
    model: ModelSettings, backend: AdapterSettings, space: LatentSpace, logprobs: bool = False
) -> ExtractionSettings:
    """Return settings that encode given solutions in a latent space, with log-probabilities if a
    verifier needs them."""
    return ExtractionSettings(
        model=model,
        store=StoreSettings(path="-"),
        problems=ProblemSettings(traces=("-",)),
        prompt=PromptSettings(
            templates=dict(space.prompt.templates),
            system=space.prompt.system,
            thinking=space.prompt.thinking,
            date=space.prompt.date or today(),
        ),
        steps=StepSettings.of(space.steps),
        encoding=EncodingSettings(
            layers=space.layers,
            pooling=space.pooling,
            store_dtype=space.store_dtype,
            logprobs=logprobs,
        ),
        backend=backend,
    )
