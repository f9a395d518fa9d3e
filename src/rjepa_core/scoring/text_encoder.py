"""Solutions as text in, latents out: encoded as a world model's latent space was, kept nowhere."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import attrs
import numpy as np

from ..domain.identity import LatentSpace, check_space, unknown
from ..domain.latents import LatentRecord
from ..domain.problem import GivenSolution, Problem
from ..domain.trace import Failure, Work
from ..errors import BackendError
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
        space: that the vectors belong to.
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

    @property
    def info(self) -> ModelInfo:
        """What the backend says of its model."""
        return self._backend.info

    def encode(
        self, solutions: Sequence[Solution], most_steps: int | None = None
    ) -> list[LatentRecord | Failure]:
        """A record a solution, or why there is none; in order, in as few passes as fit.

        Args:
            solutions: to be encoded; one with an empty step is a failure.
            most_steps: a solution of more is a failure, found before the LLM runs.

        Raises:
            BackendError: the backend cannot go on.
        """
        # Each has an id of its own: callers may pose the same problem at the same time.
        works = [
            Work(Problem(str(number), one.statement, one.domain), 0, one.given)
            for number, one in enumerate(solutions)
        ]
        found: dict[str, LatentRecord | Failure] = {}
        session = self._backend.open_session(attrs.evolve(self._spec, most_steps=most_steps))
        try:
            session.admit(works)
            tokens = self.encode_tokens
            while session.in_flight:
                step = session.advance(Room(0, None, 0, tokens))
                found.update((record.key.problem_id, record) for record in step.finished)
                found.update((failure.key.problem_id, failure) for failure in step.failed)
                session.admit(step.given_back)
                seen = step.observation
                if seen is not None and seen.out_of_memory:
                    tokens = max(1, tokens // 2)
        finally:
            session.close()
        if len(found) != len(works):
            raise BackendError(
                f"the backend {self.info.name} was given {len(works)} solutions and returned "
                f"{len(found)}"
            )
        return [found[work.problem.id] for work in works]

    def close(self) -> None:
        """Let go of the LLM."""
        self._backend.close()


def sequence_of(record: LatentRecord, layer: int = 0) -> LatentSequence:
    """The latents of a record in the layer at that place, as a world model takes them."""
    return LatentSequence(
        np.asarray(record.latents[layer], np.float32),
        np.asarray(record.prompt_latent[layer], np.float32),
        record.trace.problem.domain,
    )


def open_text_encoder(
    model: ModelSettings,
    backend: AdapterSettings,
    info: WorldModelInfo,
    registry: Registry | None = None,
    encode_tokens: int = ENCODE_TOKENS,
) -> TextEncoder:
    """Load the LLM that a world model's latents came from.

    Args:
        model: the LLM; dtype `auto` is the latent space's.
        backend: the adapter that runs it.
        info: of the world model.
        registry: finds the adapter.
        encode_tokens: most tokens of one forward pass, padding included.

    Raises:
        IdentityError: its latents are of another space than the world model's; what differs is
            named.
        UsageError: anything else that the user can mend.
    """
    adapter = (registry or Registry()).find(BackendAdapter, backend.name)
    options = adapter.configure(backend.options, "backend")
    if model.dtype == "auto":
        model = attrs.evolve(model, dtype=info.space.compute_dtype)
    settings = encoder_settings(model, backend, info.space)
    loaded = adapter.create(model, options)
    try:
        ours = identity_of(settings, loaded.info).space
        check_space(ours, info.space, f"model.name {model.name}", info.location)
        _say_unknown(ours, info)
    except BaseException:
        loaded.close()
        raise
    return TextEncoder(loaded, settings, info.space, encode_tokens)


def _say_unknown(ours: LatentSpace, info: WorldModelInfo) -> None:
    found = ", ".join(unknown(info.space, ours))
    if found:
        log.warning(
            "%s did not keep the %s of its latents when it was trained: whether this model's is "
            "the same cannot be checked", info.location, found
        )  # fmt: skip


def encoder_settings(
    model: ModelSettings, backend: AdapterSettings, space: LatentSpace
) -> ExtractionSettings:
    """Settings by which given solutions get latents of that space."""
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
            layers=space.layers, pooling=space.pooling, store_dtype=space.store_dtype
        ),
        backend=backend,
    )
